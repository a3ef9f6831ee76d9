// Admin: what is on record: sessions, seasons with their digests, the audit.

import { at, boardPath, call, curl, gamePath, get } from "./api.js";
import { el, link, moment, number } from "./dom.js";
import { attempt, button, card, chip, confirm, field, open } from "./parts.js";
import { paged, table } from "./tables.js";

const UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
const code = (text) => el("span", { class: "code" }, text);
const utc = (input) => (input.value ? `${input.value}:00Z` : "");

export async function sessions(box, { game }) {
  const path = `${gamePath(game)}/sessions`;
  const id = el("input", { pattern: UUID, autocomplete: "off" }), user = el("input", { maxlength: 64, autocomplete: "off" });
  const from = el("input", { type: "datetime-local" }), to = el("input", { type: "datetime-local" });
  const said = el("div"), found = el("div"), called = el("div");
  const row = (each) => {
    const voided = () => chip("voided", "bad");
    const state = el("span", {}, each.voided_at ? voided() : button("Void", () => confirm("Void session", "It is taken out of every leaderboard; the record stays.", async (reason) => {
      await call("POST", `${path}/${each.session_id}/void`, { reason });
      state.replaceChildren(voided());
    }, { reason: "needed" }), "danger"));
    return [moment(each.played_at), code(each.session_id), each.mode, each.void_reason, el("span", { class: "row" }, button("Results", () => attempt(said, () => results(game, path, each.session_id))), state)];
  };
  const look = (event) => {
    event?.preventDefault();
    return attempt(said, async () => {
      const query = { user_id: user.value, from: utc(from), to: utc(to), limit: 50 };
      const ask = async (cursor) => {
        if (id.value) return { rows: [row(await get(`${path}/${id.value}`))], next: null };
        const { sessions: list, next_cursor: next } = await get(at(path, { ...query, cursor }));
        return { rows: list.map(row), next };
      };
      found.replaceChildren(await paged(["Played", "Session", "Mode", "Reason of void", ""], ask, "No session is like that."));
      called.replaceChildren(curl({ path: id.value ? `${path}/${id.value}` : at(path, query) }));
    });
  };
  box.append(card("Sessions", el("form", { class: "seek", onsubmit: look }, field("Session id", id), field("Player's id", user), field("Played from (UTC)", from), field("Until (UTC)", to), el("button", {}, "Find")), said, found), called);
  await look();
}

async function results(game, path, id) {
  const session = await get(`${path}/${id}`);
  const box = el("dialog", { "aria-labelledby": "session-title" }, el("div", { class: "stack" }, el("h2", { id: "session-title" }, "Session"), code(id),
    el("p", { class: "soft small" }, `played ${moment(session.played_at)}, recorded ${moment(session.recorded_at)}`),
    table(["Player", "Score"], session.results.map((each) => [el("a", { href: link({ game, player: each.user_id }) }, each.user_id), number(each.score)])),
    el("div", {}, button("Close", () => box.close()))));
  open(box);
}

export async function seasons(box, { game }) {
  const { leaderboards } = await get(`${gamePath(game)}/leaderboards`);
  const scheduled = leaderboards.filter((each) => each.schedule);
  const row = (each) => [moment(each.starts_at), moment(each.ends_at), chip(each.status, each.status === "open" ? "good" : ""), number(each.total ?? 0), each.digest && code(each.digest),
    each.previous_digests?.length ? `sealed anew ${number(each.previous_digests.length)} ×` : ""];
  const cards = await Promise.all(scheduled.map(async ({ leaderboard, title, schedule, timezone }) => {
    const path = `${boardPath(game, leaderboard)}/seasons`;
    const ask = async (cursor) => {
      const { seasons: list, next_cursor: next } = await get(at(path, { limit: 20, cursor }));
      return { rows: list.map(row), next };
    };
    const list = await paged(["Begins", "Ends", "Status", "Players", "Digest (SHA-256)", "Changed"], ask);
    return card(title || leaderboard, el("p", { class: "soft small" }, `${leaderboard}: ${schedule}, ${timezone}`), list, await announced(game, leaderboard), curl({ path: at(path, { limit: 20 }) }, { path: `${boardPath(game, leaderboard)}/webhook` }));
  }));
  box.append(...(cards.length ? cards : [card("Seasons", el("p", { class: "soft" }, "No leaderboard of this game has a schedule."))]));
}

/** Where sealed seasons are announced, and what became of that. */
async function announced(game, leaderboard) {
  const { webhook, announcements } = await get(`${boardPath(game, leaderboard)}/webhook`);
  if (!webhook && !announcements.length) return "";
  const row = (each) => [each.season === "all" ? each.season : moment(each.season), chip(each.status, each.error ? "warn" : ""), number(each.attempts), each.ended_at ? moment(each.ended_at) : each.next_at && `again ${moment(each.next_at)}`, each.error];
  return el("div", { class: "stack" }, el("h3", {}, "Announcements"), el("p", { class: "soft small" }, webhook ? `to ${webhook}` : "to nobody any more"),
    table(["Season", "Status", "Attempts", "Ended", "Error"], announcements.map(row), "No season has been announced yet."));
}

export async function audit(box, { game }) {
  const path = `${gamePath(game)}/audit`;
  const row = (each) => [moment(each.at), code(each.key_id), each.action.replaceAll("_", " "), code(each.subject), each.reason];
  const ask = async (cursor) => {
    const { audit: list, next_cursor: next } = await get(at(path, { limit: 50, cursor }));
    return { rows: list.map(row), next };
  };
  box.append(card("Audit", await paged(["When", "Key", "Action", "Whom or what", "Reason"], ask, "Nothing was done by hand yet.")), curl({ path: at(path, { limit: 50 }) }));
}
