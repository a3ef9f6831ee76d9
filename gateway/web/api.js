// The API as this page calls it: client.js, with the key held here. The key lives in this variable and nowhere
// else: not in storage, not in the address.

import { Leaderboard } from "./client.js";
import { el } from "./dom.js";

export { boardPath, gamePath, userPath } from "./client.js";

let key = "";
const listeners = new Set();

/** A client with the key of the moment. A page has someone looking at it: it gives up sooner than a game would. */
export const client = (options) => new Leaderboard("", { key, attempts: 3, ...options });
export let api = client();

export const hasKey = () => key !== "";
export const onKey = (run) => listeners.add(run);
export function setKey(value) {
  key = value.trim();
  api = client();
  for (const run of listeners) run();
}

export const call = (method, path, body) => api.call(method, path, body);
export const get = (path) => api.call("GET", path);

/** A path with a query of what has a value. */
export const at = (path, query) => {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return given.size ? `${path}?${given}` : path;
};

/** The whole of a list that comes in pages, at most 50 of them. */
export async function every(path, name) {
  const all = [];
  for (let page = 0, cursor = ""; page < 50; page += 1) {
    const found = await get(at(path, { cursor }));
    all.push(...found[name]);
    cursor = found.next_cursor;
    if (!cursor) break;
  }
  return all;
}

/** Ask for what may not be there; undefined when it is not. */
export async function maybe(promise) {
  try {
    return await promise;
  } catch (error) {
    if ([404, 405, 501].includes(error.status)) return undefined;
    throw error;
  }
}

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
