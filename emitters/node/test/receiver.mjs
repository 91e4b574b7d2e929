// A gateway for tests: takes gzipped NDJSON over HTTP as the real one does, keeps the events, and can be told to misbehave.
import { createServer } from "node:http";
import { gunzipSync } from "node:zlib";

export async function receiver(port = 0) {
  const state = { events: [], requests: [], answers: [], hang: false };
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      if (state.hang) return;
      const answer = state.answers.shift() ?? { status: 202 };
      const body = gunzipSync(Buffer.concat(parts)).toString();
      state.requests.push({ headers: request.headers, bytes: body.length, status: answer.status });
      if (answer.status === 202) for (const line of body.split("\n")) state.events.push(JSON.parse(line));
      response.writeHead(answer.status, answer.headers ?? {});
      response.end(JSON.stringify(answer.body ?? { accepted: 1, rejected: [] }));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  state.port = server.address().port;
  state.url = `http://127.0.0.1:${state.port}/v1/events`;
  state.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return state;
}

/** Waits until `found()` is truthy and returns it; fails after the deadline with what `told()` says. */
export async function until(found, told = () => "", deadlineMs = 60_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not in time: ${found} ${JSON.stringify(told())}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
