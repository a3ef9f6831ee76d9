// Tables, whole or page by page.

import { el, problem } from "./dom.js";

const head = (names) => el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name || el("span", { class: "sr" }, "What to do")))));
const line = (cells) => el("tr", {}, cells.map((cell) => el("td", {}, cell ?? "–")));
const frame = (names, body) => el("div", { class: "wrap", tabindex: "0", role: "group", "aria-label": names.filter(Boolean).join(", ") }, el("table", { class: "list" }, head(names), body));

/** A table, or what to say when it would have no rows. A column without a name holds buttons. */
export const table = (names, rows, none = "Nothing here.") => (rows.length
  ? frame(names, el("tbody", {}, rows.map(line)))
  : el("p", { class: "soft" }, none));

/** A table that grows: `ask(cursor)` resolves to {rows, next}, `next` being the cursor of the page that follows. */
export async function paged(names, ask, none = "Nothing here.") {
  const body = el("tbody"), said = el("div");
  let cursor = "";
  const grow = async () => {
    const { rows, next } = await ask(cursor);
    body.append(...rows.map(line));
    cursor = next;
    more.hidden = !next;
  };
  const more = el("button", { type: "button", onclick: () => {
    more.disabled = true;
    said.replaceChildren();
    grow().catch((error) => said.replaceChildren(problem(error))).finally(() => { more.disabled = false; });
  } }, "More");
  await grow();
  return body.children.length ? el("div", { class: "stack" }, frame(names, body), said, more) : el("p", { class: "soft" }, none);
}
