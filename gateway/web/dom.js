// Elements and texts. Nothing here ever parses markup: whatever a player is called, it stays text.

const SVG = "http://www.w3.org/2000/svg";

export const el = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);
export const $ = (id) => document.getElementById(id);

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const numbers = new Intl.NumberFormat("en");
export const number = (value) => numbers.format(value);

const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const compact = (value) => short.format(value);

export function percent(value) {
  if (value < 0.1) return "0.1 %";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const moment = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });

/** Time left as people count it: 3 d 04:05:06. */
export function left(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days ? `${days} d ${time}` : time;
}

const regions = new Intl.DisplayNames(["en"], { type: "region", fallback: "code" });

export function flag(country) {
  if (!/^[A-Z]{2}$/.test(country ?? "")) return null;
  const letters = String.fromCodePoint(...[...country].map((letter) => 0x1f1a5 + letter.charCodeAt(0)));
  let name = country;
  try { name = regions.of(country); } catch { /* an unknown region keeps its code */ }
  return el("span", { class: "flag", role: "img", "aria-label": name, title: name }, letters);
}

export function face(user) {
  const hue = [...new TextEncoder().encode(user.user_id)].reduce((sum, byte) => sum + byte, 0) % 12;
  const first = [...(user.display_name || user.user_id)][0] ?? "?";
  return el("span", { class: `face h${hue}`, "aria-hidden": "true" }, first.toUpperCase());
}

export const nameOf = (user) => user.display_name || user.user_id;

/** How many places someone has risen or fallen; nothing when none. */
export const risen = (places, since) => (places
  ? el("span", { class: `move ${places > 0 ? "up" : "down"}`, title: `${places > 0 ? "up" : "down"} ${number(Math.abs(places))} ${since}` }, `${places > 0 ? "▲" : "▼"}${number(Math.abs(places))}`)
  : "");

/** Where things are in this page's address. */
export function link(place) {
  return `/?${new URLSearchParams(Object.entries(place).filter(([, value]) => value))}`;
}

export const debounce = (run, ms) => {
  let timer;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => run(...values), ms); };
};

export const problem = (error) => el("p", { class: "problem", role: "alert" }, error.message);
