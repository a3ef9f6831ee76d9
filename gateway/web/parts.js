// What the parts of the admin page are made of.

import { el, problem } from "./dom.js";

export const card = (title, ...content) => el("section", { class: "card pad stack", "aria-label": title }, el("h2", {}, title), ...content);
export const field = (name, input) => el("label", {}, name, input);
export const select = (values, chosen, props = {}) => el("select", props, values.map((value) => el("option", { value, selected: value === chosen }, value)));
export const button = (text, run, style = "") => el("button", { type: "button", class: style, onclick: run }, text);
export const chip = (text, style = "") => el("span", { class: `chip ${style}` }, text);

/** Ids of games and leaderboards. */
export const SLUG = "[a-z0-9][a-z0-9_\\-]{0,63}";

/** Do something again and again for as long as a part is shown. */
export function repeat(ms, signal, run) {
  const timer = setInterval(run, ms);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** Do something; what goes wrong is said in `said`. Resolves to whether it went well. */
export async function attempt(said, run) {
  try {
    said.replaceChildren();
    await run();
    return true;
  } catch (error) {
    said.replaceChildren(problem(error));
    return false;
  }
}

/** Ask before what cannot be undone, or what others will notice; the answer may carry a reason, or, if that is "needed", must. */
export function confirm(title, text, run, { word, reason } = {}) {
  const typed = el("input", { autocomplete: "off", required: true }), why = el("input", { maxlength: 200, required: reason === "needed" });
  const said = el("div");
  const answered = async (event) => {
    event.preventDefault();
    if (word && typed.value !== word) return said.replaceChildren(problem({ message: "That is not the same." }));
    if (await attempt(said, () => run(why.value || undefined))) box.close();
    return undefined;
  };
  const box = el("dialog", { "aria-labelledby": "confirm-title" }, el("form", { class: "stack", onsubmit: answered },
    el("h2", { id: "confirm-title" }, title), el("p", {}, text),
    word && field(`Type ${word} to confirm`, typed), reason && field("Reason, kept on record", why), said,
    el("div", { class: "row" }, el("button", { class: "main" }, title), button("Cancel", () => box.close(), "plain"))));
  open(box);
}

/** Show a dialog until it is closed. */
export function open(box) {
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}
