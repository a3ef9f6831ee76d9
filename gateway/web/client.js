// The leaderboard's API from JavaScript: one file, no dependencies, for browsers, Node 18 and newer, Deno, Bun.
//
//   const board = new Leaderboard("https://scores.example.com", { key });
//   await board.submit("chess", { ada: 120, bob: 80 });
//   for await (const event of board.events("chess", "global")) console.log(event.name, event.data);
//
// A call that may have been lost is made again with the same session_id: a session counts once. Never put a key
// with the scope submit or admin into a page or an app: what players hold, players can use.

const AGAIN = new Set([429, 502, 503, 504]);
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 10_000;
const SILENCE_MS = 40_000; // a stream says something at least every 15 s

/** The API answered with a problem; `code` is stable, the message is for people. */
export class Refused extends Error {
  constructor(status, body) {
    const fields = (body?.errors ?? []).map((each) => `${each.path}: ${each.message}`).join("; ");
    super([body?.detail ?? `the answer was ${status}`, fields].filter(Boolean).join(" - "));
    this.status = status;
    this.code = body?.code ?? "unknown";
  }
}

/** No answer could be had, or only "not now" (then status, code and message are that answer's), as often as we asked. */
export class Away extends Error {
  constructor(last) {
    const refused = last instanceof Refused;
    super(refused ? last.message : "The server cannot be reached.", { cause: last });
    this.status = refused ? last.status : 0;
    this.code = refused ? last.code : "offline";
  }
}

const pause = (attempt) =>
  new Promise((done) => setTimeout(done, Math.min(FIRST_WAIT_MS * 2 ** attempt, MAX_WAIT_MS) * (0.5 + Math.random() / 2)));

/** A UUIDv7: its time first, so that what is recorded together lies together. */
export function sessionId(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(now / 2 ** (8 * (5 - i))) % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export const gamePath = (game) => `/v1/games/${encodeURIComponent(game)}`;
export const boardPath = (game, board) => `${gamePath(game)}/leaderboards/${encodeURIComponent(board)}`;
export const userPath = (game, user) => `${gamePath(game)}/users/${encodeURIComponent(user)}`;

/** What ends a call: its caller, or silence. */
function guard(signal, timeout) {
  const end = new AbortController();
  const stop = () => end.abort();
  let timer = setTimeout(stop, timeout);
  signal?.addEventListener("abort", stop);
  return {
    signal: end.signal,
    heard(patience) { clearTimeout(timer); timer = setTimeout(stop, patience); },
    done() { clearTimeout(timer); signal?.removeEventListener("abort", stop); },
  };
}

export class Leaderboard {
  /**
   * `attempts`: times a call is made before Away is thrown; `timeout`: milliseconds one of them, and a stream's
   * first words, may take; `silence`: milliseconds after which a silent stream counts as broken off.
   */
  constructor(url, { key = "", attempts = 6, timeout = 15_000, silence = SILENCE_MS } = {}) {
    this.url = url.replace(/\/$/, "");
    this.headers = key ? { authorization: `Bearer ${key}` } : {};
    Object.assign(this, { attempts, timeout, silence });
  }

  /** Make one call; every call of the API may be repeated but a session without an id: use submit. */
  async call(method, path, body) {
    let last;
    for (let attempt = 0; attempt < this.attempts; attempt++) {
      if (attempt) await pause(attempt - 1);
      let reply, text;
      try {
        reply = await fetch(this.url + path, {
          method,
          headers: body === undefined ? this.headers : { ...this.headers, "content-type": "application/json" },
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(this.timeout),
          cache: "no-store",
        });
        text = await reply.text();
      } catch (error) {
        last = error;
        continue;
      }
      const isJson = (reply.headers.get("content-type") ?? "").includes("json");
      const answer = isJson && text ? JSON.parse(text) : null;
      if (reply.ok) return answer;
      last = new Refused(reply.status, answer);
      if (!AGAIN.has(reply.status)) throw last;
    }
    throw new Away(last);
  }

  /** Record a session; `results` are scores by user id, or results as the API has them. */
  submit(game, results, { session_id = sessionId(), mode, played_at } = {}) {
    const list = Array.isArray(results)
      ? results
      : Object.entries(results).map(([user_id, score]) => ({ user_id, score }));
    return this.call("POST", `${gamePath(game)}/sessions`, { session_id, mode, played_at, results: list });
  }

  top(game, board, { limit = 10, offset = 0, season = "current" } = {}) {
    return this.call("GET", `${boardPath(game, board)}/top?${new URLSearchParams({ limit, offset, season })}`);
  }

  entry(game, board, user, { season = "current" } = {}) {
    const path = `${boardPath(game, board)}/users/${encodeURIComponent(user)}`;
    return this.call("GET", `${path}?${new URLSearchParams({ season })}`);
  }

  around(game, board, user, { radius = 5, season = "current" } = {}) {
    const path = `${boardPath(game, board)}/users/${encodeURIComponent(user)}/around`;
    return this.call("GET", `${path}?${new URLSearchParams({ radius, season })}`);
  }

  lookup(game, board, user_ids) {
    return this.call("POST", `${boardPath(game, board)}/lookup`, { user_ids });
  }

  /** What happens on a leaderboard, for ever: {name, id, data}; a stream that breaks off is taken up again. */
  async *events(game, board, { limit = 10, user_id, signal } = {}) {
    const query = new URLSearchParams({ limit, ...(user_id ? { user_id } : {}) });
    let seen = "", last;
    for (let failed = 0; failed < this.attempts && !signal?.aborted; failed++) {
      if (failed) await pause(failed);
      const watch = guard(signal, this.timeout);
      try {
        const reply = await fetch(`${this.url}${boardPath(game, board)}/stream?${query}`, {
          headers: seen ? { ...this.headers, "last-event-id": seen } : this.headers,
          signal: watch.signal,
          cache: "no-store",
        });
        if (!reply.ok) {
          last = new Refused(reply.status, await reply.json().catch(() => null));
          if (!AGAIN.has(reply.status)) throw last;
          continue;
        }
        for await (const event of parsed(reply.body, () => watch.heard(this.silence))) {
          failed = 0;
          seen = event.id || seen;
          yield event;
        }
        last = undefined;
      } catch (error) {
        if (error instanceof Refused) throw error;
        if (signal?.aborted) return;
        last = error;
      } finally {
        watch.done();
      }
    }
    if (!signal?.aborted) throw new Away(last);
  }
}

async function* parsed(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = "", fields = {}; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (fields.data) yield { name: fields.event ?? "message", id: fields.id ?? "", data: JSON.parse(fields.data) };
          fields = {};
        } else if (!line.startsWith(":")) {
          const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
          fields[field] = text;
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
