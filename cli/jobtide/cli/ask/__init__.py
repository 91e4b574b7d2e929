"""What the asking commands (`stats`, `queues`, `failed`, `job`, `top`, …) share: `api` asks over HTTP, `pictures` are pure."""
