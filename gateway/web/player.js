// One player: who, where in every leaderboard, how the rank went, what was played.

import { boardPath, curl, get, maybe, userPath } from "./api.js";
import { line, meter } from "./charts.js";
import { $, el, face, flag, link, moment, nameOf, number, percent, problem } from "./dom.js";
import { myself, setMyself } from "./me.js";

export class Player {
  constructor(where, go) {
    Object.assign(this, { where, go, root: $("player"), path: userPath(where.game, where.player) });
    this.root.replaceChildren(el("div", { class: "stack" }, el("div", { class: "bone" }), el("div", { class: "bone" })));
    document.title = `${where.player} · ${where.game}`;
    this.run().catch((error) => {
      this.failed = true;
      if (!this.stopped) this.root.replaceChildren(this.back(), problem(error));
    });
  }

  stop() {
    this.stopped = true;
    this.root.replaceChildren();
  }

  back() {
    return el("a", { class: "back", href: link({ game: this.where.game }), "data-go": true }, "← Standings");
  }

  async run() {
    const user = await get(this.path);
    if (this.stopped) return;
    document.title = `${nameOf(user)} · ${this.where.game}`;
    const tiles = user.entries.map((entry) => this.tile(entry));
    const sessions = el("section", { class: "card pad stack", "aria-label": "Sessions" }, el("h2", {}, "Sessions"));
    this.root.replaceChildren(this.back(), this.profile(user),
      el("div", { class: "tiles" }, ...(tiles.length ? tiles : [el("p", { class: "soft" }, "Not ranked on any leaderboard now.")])),
      sessions, el("p", {}), curl({ path: this.path }, { path: `${this.path}/sessions?limit=20` }));
    await this.sessions(sessions);
  }

  profile(user) {
    const isMe = myself(this.where.game) === user.user_id;
    const toggle = () => { setMyself(this.where.game, isMe ? "" : user.user_id); this.go(location.href); };
    return el("div", { class: "profile" }, face(user),
      el("div", {}, el("h1", {}, el("bdi", {}, nameOf(user))), el("p", { class: "row soft" }, el("span", { class: "code" }, user.user_id), flag(user.country))),
      el("span", { class: "row" }, el("button", { type: "button", "aria-pressed": String(isMe), onclick: toggle }, isMe ? "✓ This is me" : "This is me")));
  }

  tile(entry) {
    const share = 100 * (entry.total - entry.rank + 1) / entry.total;
    const standing = el("p", { class: "soft small" }, `better than or equal to ${percent(share)} of ${number(entry.total)}`);
    const chart = el("div", {});
    const bar = meter(share, `percentile ${percent(share)}`);
    this.refine(entry, standing, bar);
    this.history(entry, chart);
    return el("section", { class: "card pad tile", "aria-label": entry.leaderboard },
      el("div", { class: "spread" }, el("h2", {}, el("a", { href: link({ game: this.where.game, board: entry.leaderboard }), "data-go": true }, entry.leaderboard)), entry.ties > 1 && el("span", { class: "chip" }, `=${number(entry.ties)}`)),
      el("div", { class: "spread" }, el("span", { class: "large" }, `#${number(entry.rank)}`), el("strong", {}, number(entry.score))), bar, standing, chart);
  }

  async refine(entry, standing, bar) {
    const found = await maybe(get(`${boardPath(this.where.game, entry.leaderboard)}/users/${encodeURIComponent(this.where.player)}`)).catch(() => undefined);
    if (!found?.entry) return;
    const share = found.entry.percentile;
    standing.textContent = `top ${percent(100 - share + 100 / found.total)} of ${number(found.total)} players`;
    bar.replaceWith(meter(share, `percentile ${percent(share)}`));
  }

  /** Ranks at the end of each day; servers that keep none say 404. */
  async history(entry, box) {
    const path = `${boardPath(this.where.game, entry.leaderboard)}/users/${encodeURIComponent(this.where.player)}/history?days=30`;
    const found = await maybe(get(path)).catch(() => undefined);
    const days = found?.days ?? [];
    if (!days.length || this.stopped) return;
    const ranks = [...days.map((each) => each.rank), entry.rank];
    const day = new Date(days[0].date).toLocaleDateString("en", { day: "numeric", month: "short" });
    box.replaceChildren(line(ranks, { down: true, label: `Rank over time, from ${number(ranks[0])} to ${number(ranks.at(-1))}`, from: `#${number(ranks[0])} on ${day}`, to: "now" }));
  }

  async sessions(box, cursor = "") {
    const page = await get(`${this.path}/sessions?limit=20${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    if (this.stopped) return;
    let body = box.querySelector("tbody");
    if (!body) {
      if (!page.sessions.length) return void box.append(el("p", { class: "soft" }, "No sessions recorded."));
      body = el("tbody");
      box.append(el("table", { class: "list" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Played"), el("th", { scope: "col" }, "Mode"), el("th", { scope: "col", class: "wide" }, "Session"), el("th", { scope: "col", class: "right" }, "Score"), el("th", { scope: "col" }, "Status"))), body));
    }
    body.append(...page.sessions.map((each) => el("tr", {}, el("td", {}, moment(each.played_at)), el("td", {}, each.mode ?? "–"), el("td", { class: "wide code soft" }, each.session_id), el("td", { class: "right" }, number(each.score)),
      el("td", {}, each.voided ? el("span", { class: "chip bad" }, "voided") : el("span", { class: "chip good" }, "counts")))));
    box.querySelector("button")?.remove();
    if (page.next_cursor) box.append(el("button", { type: "button", onclick: () => this.sessions(box, page.next_cursor) }, "Show older"));
  }
}
