// One player: who, where in every leaderboard, how the rank went, what was played.

import { api, at, boardPath, curl, gamePath, get, maybe, userPath } from "./api.js";
import { line, meter } from "./charts.js";
import { $, el, face, flag, link, moment, nameOf, number, percent, problem, risen } from "./dom.js";
import { myself, setMyself } from "./me.js";
import { paged } from "./tables.js";

const LOOK = 10_000;
const DAY = 86_400_000;

export class Player {
  constructor(where, go) {
    Object.assign(this, { where, go, root: $("player"), path: userPath(where.game, where.player), days: new Map() });
    this.root.replaceChildren(el("div", { class: "stack" }, el("div", { class: "bone" }), el("div", { class: "bone" })));
    document.title = `${where.player} · ${where.game}`;
    this.run().catch((error) => {
      this.failed = true;
      if (!this.stopped) this.root.replaceChildren(this.back(), problem(error));
    });
  }

  stop() {
    this.stopped = true;
    clearInterval(this.looker);
    this.root.replaceChildren();
  }

  back() {
    return el("a", { class: "back", href: link({ game: this.where.game }), "data-go": true }, "← Standings");
  }

  async run() {
    const [user, { leaderboards }] = await Promise.all([get(this.path), get(`${gamePath(this.where.game)}/leaderboards`)]);
    if (this.stopped) return;
    document.title = `${nameOf(user)} · ${this.where.game}`;
    this.titles = new Map(leaderboards.map((each) => [each.leaderboard, each.title || each.leaderboard]));
    this.tiles = el("div", { class: "tiles" });
    this.sessions = el("section", { class: "card pad stack", "aria-label": "Sessions" });
    this.root.replaceChildren(this.back(), this.profile(user), this.tiles, this.sessions,
      curl({ path: this.path }, { path: at(`${this.path}/sessions`, { limit: 20 }) }));
    await Promise.all([this.show(user), this.played()]);
    this.looker = setInterval(() => this.look(), LOOK);
  }

  /** Show it anew if anything moved. */
  async look() {
    const user = await maybe(get(this.path)).catch(() => undefined);
    if (!user || this.stopped || this.seen === JSON.stringify(user.entries)) return;
    await this.show(user);
    if (this.sessions.querySelectorAll("tbody tr").length <= 20) await this.played();
  }

  profile(user) {
    const isMe = myself(this.where.game) === user.user_id;
    const toggle = () => { setMyself(this.where.game, isMe ? "" : user.user_id); this.go(location.href); };
    return el("div", { class: "profile" }, face(user),
      el("div", {}, el("h1", {}, el("bdi", {}, nameOf(user))), el("p", { class: "row soft" }, el("span", { class: "code" }, user.user_id), flag(user.country))),
      el("span", { class: "row" }, el("button", { type: "button", "aria-pressed": String(isMe), onclick: toggle }, isMe ? "✓ This is me" : "This is me")));
  }

  async show(user) {
    this.seen = JSON.stringify(user.entries);
    const tiles = await Promise.all(user.entries.map((entry) => this.tile(entry)));
    if (!this.stopped) this.tiles.replaceChildren(...(tiles.length ? tiles : [el("p", { class: "soft" }, "Not ranked on any leaderboard now.")]));
  }

  async tile({ leaderboard, ...known }) {
    const { game, player } = this.where;
    const [found, days] = await Promise.all([maybe(api.entry(game, leaderboard, player)).catch(() => undefined), this.history(leaderboard)]);
    const { rank, score, ties, percentile, rank_change: change } = { ...known, ...found?.entry };
    const total = found?.total ?? known.total;
    const share = percentile ?? (100 * (total - rank + 1)) / total;
    const title = this.titles.get(leaderboard) ?? leaderboard;
    return el("section", { class: "card pad tile", "aria-label": title },
      el("h2", {}, el("a", { href: link({ game, board: leaderboard, around: player }), "data-go": true }, title)),
      el("div", { class: "row" }, el("span", { class: "large" }, `#${number(rank)}`), risen(change ?? 0, "since yesterday"), ties > 1 && el("span", { class: "chip" }, `${number(ties)} tied`)),
      meter(share, `percentile ${percent(share)}`),
      el("p", { class: "soft small" }, el("strong", {}, number(score)), ` points · top ${percent(100 - share + 100 / total)} of ${number(total)} players`), chart(days, rank));
  }

  /** Ranks at the end of each day, asked for once. */
  async history(leaderboard) {
    if (!this.days.has(leaderboard)) {
      const path = `${boardPath(this.where.game, leaderboard)}/users/${encodeURIComponent(this.where.player)}/history`;
      const found = await maybe(get(at(path, { days: 30 }))).catch(() => undefined);
      this.days.set(leaderboard, found?.days ?? []);
    }
    return this.days.get(leaderboard);
  }

  async played() {
    const row = (each) => [moment(each.played_at), each.mode, el("span", { class: "code soft" }, each.session_id), number(each.score),
      el("span", { class: each.voided ? "chip bad" : "chip good" }, each.voided ? "voided" : "counts")];
    const ask = async (cursor) => {
      const { sessions, next_cursor: next } = await get(at(`${this.path}/sessions`, { limit: 20, cursor }));
      return { rows: sessions.map(row), next };
    };
    const list = await paged(["Played", "Mode", "Session", "Score", "Status"], ask, "No sessions recorded.");
    if (!this.stopped) this.sessions.replaceChildren(el("h2", {}, "Sessions"), list);
  }
}

/** The way of a rank; a day nobody noted is a gap that the line crosses. */
function chart(days, rank) {
  if (!days.length) return "";
  const short = (time) => new Date(time).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
  const from = Date.parse(days[0].date);
  const points = [];
  for (const day of days) points[(Date.parse(day.date) - from) / DAY] = { value: day.rank, text: `${short(day.date)}: #${number(day.rank)}` };
  points.push({ value: rank, text: `now: #${number(rank)}` });
  const first = `#${number(days[0].rank)} on ${short(from)}`;
  return line(Array.from(points, (each) => each?.value), {
    down: true, width: 220, texts: Array.from(points, (each) => each?.text), from: first, to: "now",
    label: `Rank over time: ${first}, now #${number(rank)}`,
  });
}
