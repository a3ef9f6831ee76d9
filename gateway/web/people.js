// Admin: players: search, ban, erase.

import { at, call, curl, gamePath, get, userPath } from "./api.js";
import { el, flag, link, nameOf } from "./dom.js";
import { attempt, button, card, chip, confirm, field } from "./parts.js";
import { table } from "./tables.js";

const MOST = 100; // as many as one answer holds

export async function users(box, { game }) {
  const input = el("input", { type: "search", maxlength: 64, required: true }), said = el("div"), found = el("div"), called = el("div");
  const look = (event) => {
    event?.preventDefault();
    return attempt(said, async () => {
      const path = at(`${gamePath(game)}/users`, { limit: MOST, search: input.value });
      const { users: list } = await get(path);
      found.replaceChildren(table(["Id", "Name", "Country", "", "Now"], list.map((user) => row(game, user, look)), "Nobody's name or id begins like that."),
        list.length === MOST ? el("p", { class: "soft small" }, `The first ${MOST}. Type more of the name or id to see others.`) : "");
      called.replaceChildren(curl({ path }));
    });
  };
  box.append(card("Users", el("form", { class: "seek", onsubmit: look }, field("Name or id, its beginning", input), el("button", {}, "Search")), said, found), called);
}

function row(game, user, look) {
  const path = userPath(game, user.user_id);
  const now = el("span", { role: "status" });
  const ban = () => confirm("Ban player", `${user.user_id} is hidden from every leaderboard; the scores stay.`, async (reason) => {
    await call("POST", `${path}/ban`, { reason });
    now.replaceChildren(chip("banned", "bad"));
  }, { reason: true });
  const lift = () => attempt(now, async () => { await call("DELETE", `${path}/ban`); now.replaceChildren(chip("not banned", "good")); });
  const erase = () => confirm("Erase player", "Profile and entries are removed, results made anonymous. This cannot be undone.", async () => { await call("DELETE", path); await look(); }, { word: user.user_id });
  return [el("a", { href: link({ game, player: user.user_id }) }, user.user_id), el("bdi", {}, nameOf(user)), flag(user.country),
    el("span", { class: "row" }, button("Ban", ban), button("Lift ban", lift), button("Erase", erase, "danger")), now];
}
