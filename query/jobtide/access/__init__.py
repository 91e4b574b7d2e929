"""Who may ask what: API keys and tokens, roles, tenants, rate limits, and the record of who did it.

Stands under `query` and `gateway`, which share a port or not. `keys`, `caller` and `policy` are pure; `keyring` reads
the keys file, `oidc` checks tokens, `limits` counts, `audit` writes down, and `guard` puts them in front of an
application.
"""
