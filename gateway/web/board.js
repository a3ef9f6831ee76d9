// The standings of one leaderboard: a page of them, live, with what surrounds it.

import { boardPath, gamePath, get, maybe } from "./api.js";
import { $, clock, el, left, link, moment, nameOf, number, percent } from "./dom.js";
import { askKey, shine } from "./header.js";
import { Live } from "./live.js";
import { myself } from "./me.js";
import { Rows } from "./rows.js";
import { Side } from "./side.js";

const SIZE = 25; // places on a page, as many as the gateway writes
const RULES = { sum: "points add up", best: "best result counts", latest: "latest result counts", count: "sessions played" };
const TIES = { competition: "", dense: "no gaps after ties", first: "first to a score is ahead" };

const rows = new Rows($("rows"));

export class Board {
  constructor(where, games, go) {
    Object.assign(this, { where, games, go, stopped: false, me: myself(where.game), sayAt: 0 });
    this.run().catch((error) => this.fail(error));
  }

  stop() {
    this.stopped = true;
    this.live?.stop();
    this.side?.stop();
    clearInterval(this.ticker);
    clearTimeout(this.later);
  }

  async run() {
    const { game } = this.where;
    if (!game) return this.fail({ message: "This server has no public game. Name one, and use a key.", code: "unauthorized" });
    const same = rows.key === this.key() || $("rows").querySelector("tr[data-user]") === null;
    if (rows.key && rows.key !== this.key()) rows.forget();
    if (same && !$("rows").children.length) rows.waiting();
    const { leaderboards } = await get(`${gamePath(game)}/leaderboards`);
    if (this.stopped) return;
    this.boards = leaderboards;
    const named = (name) => leaderboards.find((each) => each.leaderboard === name);
    this.board = this.where.board ? named(this.where.board) : named("global") ?? leaderboards[0];
    if (!this.board) return this.fail({ message: leaderboards.length ? `There is no leaderboard ${this.where.board} here.` : "This game has no leaderboard yet." });
    this.where.board = this.board.leaderboard;
    rows.key = this.key();
    this.path = boardPath(game, this.where.board);
    this.head();
    this.side = new Side(this);
    this.seasons();
    this.begin();
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  key() {
    return [this.where.game, this.where.board, this.where.season].join("/");
  }

  top(offset = this.where.offset) {
    return `${this.path}/top?limit=${SIZE}&offset=${offset}&season=${encodeURIComponent(this.where.season)}`;
  }

  begin() {
    const { offset, season } = this.where;
    if (season !== "current") {
      shine("sealed");
      return this.fetch();
    }
    if (offset) this.fetch();
    // Other pages than the first have no stream of their own: the top's changes tell when to look again.
    const query = new URLSearchParams({ limit: offset ? 1 : SIZE, ...(this.me && { user_id: this.me }) });
    this.live = new Live({ stream: `${this.path}/stream?${query}`, poll: this.top() }, {
      state: (state) => shine(state),
      event: (name, data) => this.event(name, data),
    });
    return undefined;
  }

  event(name, data) {
    if (name === "entry") this.mine(data);
    else if (name === "season") location.reload();
    else if (!this.where.offset || data.entries.length > 1) this.show(data);
    else this.soon();
  }

  soon() {
    if (this.later) return;
    this.later = setTimeout(() => { this.later = 0; this.fetch(); }, 2000);
  }

  async fetch() {
    try {
      const data = await get(this.top());
      if (!this.stopped) this.show(data);
      if (!this.stopped && this.me && !this.live) this.askMine();
    } catch (error) {
      if (!this.stopped && !this.data) this.fail(error);
    }
  }

  async askMine() {
    const data = await maybe(get(`${this.path}/users/${this.me}?season=${encodeURIComponent(this.where.season)}`));
    if (data && !this.stopped) this.mine(data);
  }

  head() {
    const { game, season } = this.where;
    const title = this.board.title || this.board.leaderboard;
    $("title").textContent = title;
    document.title = `${title} · ${game}`;
    $("caption").textContent = `Standings of ${title}, best first`;
    const chosen = (name) => (event) => this.go(link({ ...this.where, offset: 0, season: "", [name]: event.target.value }));
    const option = (value, text, at) => el("option", { value, selected: value === at }, text);
    const games = [...new Set([...this.games, game])];
    this.season = el("select", { id: "season", onchange: chosen("season") }, option("current", "Current season", season), option("previous", "Previous season", season));
    this.seasonLabel = el("label", { hidden: true }, "Season", this.season);
    $("pick").replaceChildren(
      el("label", {}, "Game", el("select", { id: "game", onchange: (event) => this.otherGame(event.target) }, games.map((each) => option(each, each, game)), option("", "Another game…"))),
      el("label", {}, "Leaderboard", el("select", { id: "board", onchange: chosen("board") }, this.boards.map((each) => option(each.leaderboard, each.title || each.leaderboard, this.where.board)))),
      this.seasonLabel);
  }

  otherGame(select) {
    if (select.value) return this.go(link({ game: select.value }));
    select.value = this.where.game;
    const input = el("input", { pattern: "[a-z0-9][a-z0-9_\\-]{0,63}", required: true, autocomplete: "off", id: "other-game" });
    const box = el("dialog", { "aria-labelledby": "other-title" }, el("form", { method: "dialog", class: "stack", onsubmit: () => { if (input.value) this.go(link({ game: input.value })); } },
      el("h2", { id: "other-title" }, "Another game"), el("label", {}, "Its id", input),
      el("div", { class: "row" }, el("button", { class: "main" }, "Open"), el("button", { type: "button", class: "plain", onclick: () => box.close() }, "Cancel"))));
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    return box.showModal();
  }

  async seasons() {
    const found = await maybe(get(`${this.path}/seasons`)).catch(() => undefined);
    const seasons = found?.seasons ?? [];
    if (this.stopped || seasons.length < 2) return;
    const { season } = this.where;
    const past = seasons.filter((each) => each.status !== "open").map((each) => el("option", { value: each.id, selected: each.id === season }, `${moment(each.starts_at)} (${number(each.total)})`));
    this.season.replaceChildren(el("option", { value: "current", selected: season === "current" }, "Current season"), ...past);
    if (season === "previous" && past[0]) past[0].selected = true;
    this.seasonLabel.hidden = false;
  }

  show(data) {
    const glide = Boolean(this.data);
    this.data = data;
    this.as_of = data.as_of;
    $("state").hidden = data.entries.length > 0;
    if (!data.entries.length) this.empty(data);
    rows.show(data.entries, { game: this.where.game, me: this.me, glide });
    this.facts();
    this.pages();
    this.side?.see(data);
  }

  empty(data) {
    rows.clear();
    const beyond = this.where.offset > 0 && data.total > 0;
    $("state").replaceChildren(
      el("strong", {}, beyond ? "Nobody is ranked this low" : "Nobody is here yet"),
      el("span", {}, beyond ? `There are ${number(data.total)} players.` : "The first result that counts opens the standings. Try it: submit one."),
      beyond && el("a", { class: "button", href: link({ ...this.where, offset: 0 }), "data-go": true }, "Back to the top"));
  }

  facts() {
    const { data, board } = this;
    const rule = [board.order === "asc" ? "lowest wins" : "highest wins", RULES[board.operator], TIES[board.ties]].filter(Boolean).join(" · ");
    this.countdown ??= el("span", { class: "count" });
    this.time ??= el("span", { id: "as-of" });
    this.time.textContent = `as of ${clock(this.as_of)}`;
    this.time.title = `${this.as_of}, from the ${data.source}`;
    const sealed = data.source === "sealed" || data.season.status === "sealed";
    $("facts").replaceChildren(el("span", {}, `${number(data.total)} ${data.total === 1 ? "player" : "players"}`), el("span", {}, rule),
      sealed ? el("span", { class: "chip" }, "final standings") : this.time, this.countdown);
    this.tick();
  }

  tick() {
    const end = this.data?.season.ends_at;
    if (!end || !this.countdown) return;
    const ms = new Date(end) - Date.now();
    this.countdown.textContent = this.data.season.status === "open" && ms > 0 ? `ends in ${left(ms)}` : `ended ${moment(end)}`;
  }

  pages() {
    const { offset } = this.where;
    const { total, entries } = this.data;
    const to = (at, text) => el("a", { class: "button", href: link({ ...this.where, offset: Math.max(0, at) }), "data-go": true }, text);
    const last = offset + entries.length;
    if (this.pagesAt === `${offset} ${last} ${last < total}`) {
      this.range.textContent = this.rangeText();
      return;
    }
    this.pagesAt = `${offset} ${last} ${last < total}`;
    const rank = el("input", { type: "number", min: 1, max: 1_000_000_001, required: true, id: "rank-input", inputmode: "numeric" });
    const jump = (event) => { event.preventDefault(); this.go(link({ ...this.where, offset: Math.max(0, Number(rank.value) - 1) })); };
    this.range = el("span", { id: "range" }, this.rangeText());
    $("pages").replaceChildren(...[offset > 0 && to(0, "Top"), offset > 0 && to(offset - SIZE, "Previous"), this.range, last < total && entries.length > 0 && to(last, "Next"),
      el("form", { onsubmit: jump }, el("label", { class: "sr", for: "rank-input" }, "Go to place"), rank, el("button", {}, "Go to place"))].filter(Boolean));
  }

  rangeText() {
    const { total, entries } = this.data;
    const from = this.where.offset;
    return entries.length ? `${number(from + 1)}–${number(from + entries.length)} of ${number(total)}` : "";
  }

  mine(data) {
    const { entry } = data;
    if (!entry) return;
    this.entry = entry;
    const moved = data.previous_rank && data.previous_rank !== entry.rank;
    const at = Math.max(0, entry.rank - 1 - 12);
    $("mine").hidden = false;
    $("mine").replaceChildren(
      el("span", { class: "chip" }, "You"),
      el("span", { class: "big" }, `#${number(entry.rank)}`, entry.ties > 1 ? ` (shared by ${number(entry.ties)})` : ""),
      el("span", {}, el("bdi", {}, nameOf(entry))), el("span", {}, number(entry.score)),
      entry.percentile !== undefined && el("span", { class: "soft small" }, `top ${percent(100 - entry.percentile + 100 / data.total)}`),
      el("span", { class: "row" }, el("a", { class: "button", href: link({ ...this.where, offset: at }), "data-go": true }, "Around me")));
    this.side?.here(entry.score);
    if (moved && Date.now() - this.sayAt > 10_000) {
      this.sayAt = Date.now();
      $("say").textContent = `You are now at rank ${number(entry.rank)}`;
    }
  }

  fail(error) {
    if (this.stopped) return;
    this.failed = true;
    rows.clear();
    $("pages").replaceChildren();
    $("facts").replaceChildren();
    $("mine").hidden = true;
    const locked = ["unauthorized", "forbidden"].includes(error.code);
    $("state").hidden = false;
    if (locked) $("title").textContent = this.where.game || "Leaderboard";
    $("state").replaceChildren(
      el("strong", {}, locked ? "This game is not public" : error.code === "leaderboard_building" ? "This leaderboard is being built" : "Nothing to show"),
      el("span", {}, error.message),
      el("span", { class: "row" }, locked && el("button", { class: "main", type: "button", onclick: () => askKey() }, "Use a key"),
        !locked && el("button", { type: "button", onclick: () => this.go(location.href) }, "Try again"),
        el("button", { type: "button", class: "plain", onclick: () => this.otherGame({ value: "" }) }, "Another game")));
    if (error.code === "offline") shine("offline");
    if (["offline", "leaderboard_building"].includes(error.code)) this.later = setTimeout(() => this.go(location.href), 3000);
  }
}
