// The standings of one leaderboard: a page of them, live, with what surrounds it.

import { api, at, boardPath, gamePath, get, maybe } from "./api.js";
import { $, el, link, nameOf, number, percent, risen } from "./dom.js";
import { Head } from "./head.js";
import { askKey, shine } from "./header.js";
import { Live } from "./live.js";
import { myself } from "./me.js";
import { Paging } from "./paging.js";
import { Rows } from "./rows.js";
import { Side } from "./side.js";

const SIZE = 25; // places on a page, as many as the gateway writes
const AROUND = 12; // places on each side of a player
const LOOK = 10_000; // milliseconds between two looks at a page that has no stream of its own

const rows = new Rows($("rows"));

export class Board {
  constructor(where, games, go) {
    Object.assign(this, { where, games, go, stopped: false, me: myself(where.game), sayAt: 0 });
    this.head = new Head(this);
    this.paging = new Paging(this, SIZE);
    this.run().catch((error) => this.fail(error));
  }

  stop() {
    this.stopped = true;
    this.live?.stop();
    this.side?.stop();
    this.head.stop();
    clearInterval(this.looker);
    clearTimeout(this.later);
  }

  async run() {
    const { game } = this.where;
    if (!game) return this.fail({ message: "This server has no public game. Name one, and use a key.", code: "unauthorized" });
    const same = rows.key === this.key() || $("rows").querySelector("tr[data-user]") === null;
    if (rows.key && rows.key !== this.key()) rows.forget();
    if (same && !$("rows").children.length) rows.waiting();
    const { leaderboards } = await get(`${gamePath(game)}/leaderboards`);
    if (this.stopped) return undefined;
    const named = (name) => leaderboards.find((each) => each.leaderboard === name);
    this.board = this.where.board ? named(this.where.board) : named("global") ?? leaderboards[0];
    if (!this.board) return this.fail({ message: leaderboards.length ? `There is no leaderboard ${this.where.board} here.` : "This game has no leaderboard yet." });
    this.where.board = this.board.leaderboard;
    rows.key = this.key();
    this.path = boardPath(game, this.where.board);
    this.head.open(this.board, leaderboards);
    this.side = new Side(this);
    return this.begin();
  }

  key() {
    return [this.where.game, this.where.board, this.where.season].join("/");
  }

  /** The call that answers what is shown. */
  page() {
    const { around, offset, season } = this.where;
    if (around) return at(`${this.path}/users/${encodeURIComponent(around)}/around`, { radius: AROUND, season });
    return at(`${this.path}/top`, { limit: SIZE, offset, season });
  }

  begin() {
    const { game, board, offset, season, around } = this.where;
    const first = !offset && !around;
    if (this.me) this.askMine();
    if (season !== "current") {
      shine("sealed");
      return this.fetch();
    }
    if (!first) {
      this.fetch();
      this.looker = setInterval(() => this.soon(), LOOK);
    }
    // Other pages than the first have no stream of their own: the top's changes, and one's own, tell when to look.
    this.live = new Live({ game, board, limit: SIZE, user_id: this.me, poll: this.page() }, {
      state: (state) => shine(state),
      event: (name, data) => this.event(name, data, first),
    });
    return undefined;
  }

  event(name, data, first) {
    if (name === "entry") this.mine(data);
    if (name === "season") this.newSeason();
    if (first && name !== "entry") this.show(data);
    else if (!first) this.soon();
  }

  newSeason() {
    rows.forget();
    this.entry = undefined;
    $("mine").hidden = true;
    $("say").textContent = "A new season has begun";
    this.head.seasons();
    // It may have begun because the leaderboard was defined anew.
    get(this.path).then((board) => { this.board = board; }, () => {});
  }

  soon() {
    if (this.later) return;
    this.later = setTimeout(() => { this.later = 0; this.fetch(); }, 1000);
  }

  async fetch() {
    try {
      const data = await get(this.page());
      if (!this.stopped) this.show(data);
    } catch (error) {
      if (!this.stopped && !this.data) this.fail(error);
    }
  }

  async askMine() {
    const { game, board, season } = this.where;
    const data = await maybe(api.entry(game, board, this.me, { season })).catch(() => undefined);
    if (!data || this.stopped) return;
    const { rank, rank_change: change } = data.entry;
    this.yesterday = change === null ? undefined : rank + change;
    this.mine(data);
  }

  show(data) {
    const glide = Boolean(this.data);
    this.data = data;
    $("state").hidden = data.entries.length > 0;
    if (!data.entries.length) this.empty(data);
    this.scale(Math.max(0, ...data.entries.map((entry) => entry.score)));
    rows.show(data.entries, { game: this.where.game, me: this.me, marked: this.where.around, glide });
    this.head.facts(data, this.board);
    this.paging.show(data);
    // One's own row moves as soon as it is seen to; the event that tells more comes a little later.
    const mine = this.entry && data.entries.find((entry) => entry.user_id === this.me);
    if (mine) this.mine({ ...data, entry: { ...this.entry, ...mine } });
    this.side?.see(data);
  }

  /** Bars in the rows are as long as their score is great, compared with the greatest. */
  scale(score) {
    const bars = this.board.order === "desc" && this.board.min_score >= 0;
    rows.most = bars ? Math.max(rows.most ?? 0, score) : 0;
  }

  empty(data) {
    rows.clear();
    const beyond = this.where.offset > 0 && data.total > 0;
    $("state").replaceChildren(
      el("strong", {}, beyond ? "Nobody is ranked this low" : "Nobody is here yet"),
      el("span", {}, beyond ? `There are ${number(data.total)} players.` : "The first result that counts opens the standings. Try it: submit one."),
      beyond ? el("a", { class: "button", href: link({ ...this.where, offset: 0 }), "data-go": true }, "Back to the top") : "");
  }

  mine(data) {
    const { entry } = data;
    if (!entry) return;
    this.entry = entry;
    const moved = data.previous_rank && data.previous_rank !== entry.rank;
    const share = entry.percentile === undefined ? "" : `top ${percent(100 - entry.percentile + 100 / data.total)}`;
    const tied = entry.ties > 1 ? `${number(entry.ties)} tied` : "";
    $("mine").hidden = false;
    $("mine").replaceChildren(
      el("span", { class: "big" }, el("small", {}, "You"), `#${number(entry.rank)}`),
      el("span", { class: "names" }, el("bdi", {}, nameOf(entry)), el("small", {}, [share, `${number(entry.score)} points`, tied].filter(Boolean).join(" · "))),
      risen(this.yesterday === undefined ? 0 : this.yesterday - entry.rank, "since yesterday"),
      el("a", { class: "button", href: link({ ...this.where, offset: 0, around: entry.user_id }), "data-go": true }, "Around me"));
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
    for (const id of ["pages", "facts", "pick", "side"]) $(id).replaceChildren();
    $("mine").hidden = true;
    const locked = ["unauthorized", "forbidden"].includes(error.code);
    const building = error.code === "leaderboard_building";
    $("state").hidden = false;
    if (locked || !this.board) { $("title").textContent = this.where.game || "Leaderboard"; $("game-name").textContent = ""; }
    $("state").replaceChildren(...[
      el("strong", {}, locked ? "This game is not public" : building ? "This leaderboard is being built" : "Nothing to show"),
      el("span", {}, error.message),
      building && el("progress", { "aria-label": "How much of it is built", max: 1, value: this.board?.progress }),
      el("span", { class: "row" }, locked && el("button", { class: "main", type: "button", onclick: () => askKey() }, "Use a key"),
        !locked && el("button", { type: "button", onclick: () => this.go(location.href) }, "Try again"),
        el("button", { type: "button", class: "plain", onclick: () => this.head.otherGame() }, "Another game"))].filter(Boolean));
    if (error.code === "offline") shine("offline");
    if (error.code === "offline" || building) this.later = setTimeout(() => this.go(location.href), 3000);
  }
}
