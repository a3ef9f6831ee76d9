// Admin: what a definition would change: the top before and after, side by side, and who moves furthest.

import { el, flag, nameOf, number, risen } from "./dom.js";

export function preview({ before, after, changed, largest_rise: rise, largest_fall: fall }) {
  const ranks = new Map(before.entries.map((entry) => [entry.user_id, entry.rank]));
  const move = (entry) => {
    if (!before.total) return "";
    const from = ranks.get(entry.user_id);
    return from === undefined ? el("span", { class: "chip" }, "new here") : risen(from - entry.rank, "by these rules");
  };
  return el("div", { class: "stack preview" },
    el("dl", { class: "figures" }, figure("Players", before.total === after.total ? number(after.total) : `${number(before.total)} → ${number(after.total)}`),
      figure("Places that change", number(changed)), figure("Largest rise", moved(rise)), figure("Largest fall", moved(fall))),
    el("div", { class: "sides" }, top("Now", before.entries, () => ""), top("By these rules", after.entries, move)));
}

const figure = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

/** A name, and whose it is. */
const named = (user) => [el("bdi", {}, nameOf(user)), user.display_name ? el("small", { class: "soft id" }, ` ${user.user_id}`) : ""];

const moved = (user) => (user
  ? [...named(user), ` #${number(user.from)} → #${number(user.to)} `, risen(user.from - user.to, "by these rules")]
  : "nobody");

function top(title, entries, move) {
  const row = (entry) => el("tr", {}, el("td", { class: "place" }, number(entry.rank)),
    el("td", {}, el("span", { class: "line" }, ...named(entry), flag(entry.country), move(entry))), el("td", { class: "end" }, number(entry.score)));
  return el("section", { "aria-label": title }, el("h3", {}, title), entries.length
    ? el("table", { class: "list" }, el("thead", {}, el("tr", {}, ["Rank", "Player", "Score"].map((name) => el("th", { scope: "col", class: name === "Score" ? "end" : "" }, name)))), el("tbody", {}, entries.map(row)))
    : el("p", { class: "soft" }, "Nobody."));
}
