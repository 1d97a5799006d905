// Server-sent events over fetch: unlike EventSource it can send the token in a header, and it notices a silent server.

/** A server that says nothing for so long is gone; it promises to say something every five seconds. */
const SILENCE_MS = 12000;
const RETRY_MAX_MS = 8000;

/**
 * Follows `path` for ever. `on.message(event, data)` gets parsed messages, `on.state(state, text)` how the connection is:
 * `live`, `wait` or `refused`. A refusal of the token ends it.
 */
export async function follow(path, token, on) {
  let retry = 1000;
  for (;;) {
    const abort = new AbortController();
    try {
      const response = await fetch(path, { headers: bearer(token), signal: abort.signal, cache: 'no-store' });
      if (response.status === 401) {
        on.state('refused', (await response.json()).error);
        return;
      }
      if (!response.ok) throw new Error((await response.json()).error);
      on.state('live', 'Live');
      retry = await read(response.body.getReader(), abort, on.message) ?? retry;
    } catch (error) {
      on.state('wait', error instanceof TypeError || error.name === 'AbortError' ? 'Reconnecting' : error.message);
      retry = Math.min(retry * 1.5, RETRY_MAX_MS);
    }
    abort.abort();
    on.state('wait', 'Reconnecting');
    await new Promise((done) => setTimeout(done, retry));
  }
}

/** The headers that carry the token. */
export function bearer(token) {
  return { authorization: `Bearer ${token}` };
}

/** Reads messages until the stream ends; the server's wish for the wait before the next try. */
async function read(reader, abort, message) {
  const decoder = new TextDecoder();
  let rest = '';
  let retry;
  for (;;) {
    const alarm = setTimeout(() => abort.abort(), SILENCE_MS);
    const { value, done } = await reader.read();
    clearTimeout(alarm);
    if (done) return retry;
    rest += decoder.decode(value, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map(field));
      if (fields.retry) retry = Number(fields.retry);
      if (fields.data) message(fields.event, JSON.parse(fields.data));
    }
  }
}

function field(line) {
  const at = line.indexOf(':');
  return [line.slice(0, at), line.slice(at + 1).trimStart()];
}
