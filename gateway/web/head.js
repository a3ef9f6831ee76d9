// Above the standings: their title, which game, leaderboard and season, what is known of them, the time left.

import { at, get, maybe } from "./api.js";
import { meter } from "./charts.js";
import { $, clock, el, left, link, moment, number } from "./dom.js";

const RULES = { sum: "points add up", best: "best result counts", latest: "latest result counts", count: "sessions played" };
const TIES = { competition: "", dense: "no gaps after ties", first: "first to a score is ahead" };

const option = (value, text, chosen) => el("option", { value, selected: value === chosen }, text);

export class Head {
  /** @param board the standings below */
  constructor(board) {
    Object.assign(this, { board, where: board.where, time: el("span", { id: "as-of" }) });
    this.label = el("span", { class: "small soft" });
    this.digits = el("span", { class: "digits", role: "timer" });
    this.bar = meter(0, "how much of the season is over");
    $("left").replaceChildren(this.label, this.digits, this.bar);
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  stop() {
    clearInterval(this.ticker);
    $("left").hidden = true;
  }

  /** Show which leaderboard it is, and the choice of others. */
  open({ title, leaderboard }, boards) {
    const { game } = this.where;
    const name = title || leaderboard;
    $("title").textContent = name;
    $("game-name").textContent = game;
    document.title = `${name} · ${game}`;
    $("caption").textContent = `Standings of ${name}, best first`;
    const games = [...new Set([...this.board.games, game])];
    this.season = el("select", { id: "season", onchange: () => this.seasonChosen() });
    this.seasonLabel = el("label", { hidden: true }, "Season", this.season);
    $("pick").replaceChildren(
      el("label", {}, "Game", el("select", { id: "game", onchange: (event) => this.otherGame(event.target) }, games.map((each) => option(each, each, game)), option("", "Another game…"))),
      el("label", {}, "Leaderboard", el("select", { id: "board", onchange: (event) => this.to({ board: event.target.value, season: "" }) }, boards.map((each) => option(each.leaderboard, each.title || each.leaderboard, leaderboard)))),
      this.seasonLabel);
    this.seasons();
  }

  to(place) {
    this.board.go(link({ ...this.where, offset: 0, around: "", ...place }));
  }

  /** Offer the seasons there were, a hundred at a time. */
  async seasons(cursor = "") {
    const found = await maybe(get(at(`${this.board.path}/seasons`, { cursor }))).catch(() => undefined);
    if (!found || this.board.stopped || (!cursor && found.seasons.length < 2)) return;
    const { season } = this.where;
    const past = found.seasons.filter((each) => each.status !== "open");
    const chosen = season === "previous" ? past[0]?.id : season;
    const options = past.map((each) => option(each.id, `${moment(each.starts_at)} (${number(each.total)})`, chosen));
    if (cursor) this.season.lastChild.remove();
    else this.season.replaceChildren(option("current", "Current season", season));
    this.season.append(...options);
    if (found.next_cursor) this.season.append(option(`+${found.next_cursor}`, "Older seasons…"));
    this.seasonLabel.hidden = false;
  }

  seasonChosen() {
    const { value } = this.season;
    if (!value.startsWith("+")) return this.to({ season: value });
    this.season.value = this.where.season;
    return this.seasons(value.slice(1));
  }

  otherGame(select) {
    if (select?.value) return this.board.go(link({ game: select.value }));
    if (select) select.value = this.where.game;
    const input = el("input", { pattern: "[a-z0-9][a-z0-9_\\-]{0,63}", required: true, autocomplete: "off", id: "other-game" });
    const box = el("dialog", { "aria-labelledby": "other-title" }, el("form", { method: "dialog", class: "stack", onsubmit: () => { if (input.value) this.board.go(link({ game: input.value })); } },
      el("h2", { id: "other-title" }, "Another game"), el("label", {}, "Its id", input),
      el("div", { class: "row" }, el("button", { class: "main" }, "Open"), el("button", { type: "button", class: "plain", onclick: () => box.close() }, "Cancel"))));
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    return box.showModal();
  }

  facts(data, { order, operator, ties }) {
    this.shown = data;
    this.skew = Date.parse(data.as_of) - Date.now(); // people's clocks are wrong; the countdown is the server's
    this.time.textContent = `as of ${clock(data.as_of)}`;
    this.time.title = `${data.as_of}, from the ${data.source}`;
    const rule = [order === "asc" ? "lowest wins" : "highest wins", RULES[operator], TIES[ties]].filter(Boolean).join(" · ");
    const sealed = data.source === "sealed" || data.season.status === "sealed";
    $("facts").replaceChildren(el("span", {}, `${number(data.total)} ${data.total === 1 ? "player" : "players"}`), el("span", {}, rule),
      sealed ? el("span", { class: "chip" }, "final standings") : this.time);
    this.tick();
  }

  tick() {
    const { starts_at, ends_at, status } = this.shown?.season ?? {};
    $("left").hidden = !ends_at;
    if (!ends_at) return;
    const now = Date.now() + this.skew, end = Date.parse(ends_at), start = Date.parse(starts_at);
    const open = status === "open" && now < end;
    this.label.textContent = open ? "Season ends in" : "Season ended";
    this.digits.textContent = open ? left(end - now) : moment(ends_at);
    this.bar.firstChild.setAttribute("width", Math.min(100, (100 * (now - start)) / (end - start)).toFixed(2));
  }
}
