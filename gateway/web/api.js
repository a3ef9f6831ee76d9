// The API as this page calls it. The key lives in this variable and nowhere else: not in storage, not in the address.

import { el } from "./dom.js";

let key = "";
const listeners = new Set();

export const hasKey = () => key !== "";
export const onKey = (run) => listeners.add(run);
export function setKey(value) {
  key = value.trim();
  for (const run of listeners) run();
}

export class Problem extends Error {
  constructor(status, body) {
    const fields = (body.errors ?? []).map((each) => `${each.path}: ${each.message}`).join("; ");
    super([body.detail ?? `the answer was ${status}`, fields].filter(Boolean).join(" — "));
    this.status = status;
    this.code = body.code ?? "";
  }
}

export const headers = (more = {}) => (key ? { authorization: `Bearer ${key}`, ...more } : more);

export async function call(method, path, body, options = {}) {
  const given = body === undefined ? {} : { "content-type": "application/json" };
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers: headers({ ...given, ...options.headers }),
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal ?? AbortSignal.timeout(15000),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached.", code: "offline" });
  }
  if (reply.status === 304) return null;
  const text = await reply.text();
  const isJson = (reply.headers.get("content-type") ?? "").includes("json");
  const answer = isJson && text ? JSON.parse(text) : {};
  if (!reply.ok) throw new Problem(reply.status, answer);
  if (options.full) return { answer, etag: reply.headers.get("etag"), status: reply.status };
  return answer;
}

export const get = (path, options) => call("GET", path, undefined, options);

/** The whole of a list that comes in pages, at most 50 of them. */
export async function every(path, name) {
  const all = [];
  let cursor = null;
  for (let page = 0; page < 50; page += 1) {
    const found = await get(cursor ? `${path}?cursor=${encodeURIComponent(cursor)}` : path);
    all.push(...found[name]);
    cursor = found.next_cursor;
    if (!cursor) break;
  }
  return all;
}

/** Ask for what this server may not have yet; undefined when it has not. */
export async function maybe(promise) {
  try {
    return await promise;
  } catch (error) {
    if ([404, 405, 501].includes(error.status)) return undefined;
    throw error;
  }
}

export const gamePath = (game) => `/v1/games/${encodeURIComponent(game)}`;
export const boardPath = (game, board) => `${gamePath(game)}/leaderboards/${encodeURIComponent(board)}`;
export const userPath = (game, user) => `${gamePath(game)}/users/${encodeURIComponent(user)}`;

/** The calls behind what is shown, for a terminal. */
export function curl(...calls) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = calls.map(({ method = "GET", path, body, open }) => {
    const parts = ["curl"];
    if (method !== "GET") parts.push("-X", method);
    if (!open) parts.push('-H "Authorization: Bearer $KEY"');
    if (body !== undefined) parts.push("-H 'Content-Type: application/json'", "-d", quote(JSON.stringify(body)));
    parts.push(quote(location.origin + path));
    return parts.join(" ");
  });
  const pre = el("pre", { tabindex: "0" }, lines.join("\n"));
  const copy = el("button", { type: "button", onclick: async () => {
    await navigator.clipboard?.writeText(pre.textContent);
    copy.textContent = "Copied";
  } }, "Copy");
  return el("details", { class: "curl" }, el("summary", {}, "As curl"), pre, copy);
}
