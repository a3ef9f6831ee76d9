// Beside the standings: find a player, how scores are spread, try it, and the calls behind the page.

import { api, at, boardPath, curl, gamePath, get, hasKey, maybe } from "./api.js";
import { sessionId } from "./client.js";
import { histogram } from "./charts.js";
import { $, debounce, el, face, flag, link, nameOf, number, problem } from "./dom.js";
import { askKey } from "./header.js";
import { setMyself } from "./me.js";

const SPREAD_EVERY = 15_000;

export class Side {
  constructor(board) {
    this.board = board;
    this.where = board.where;
    this.chart = el("div", {}, el("div", { class: "bone" }));
    this.spreadBox = section("Scores", this.chart);
    $("side").replaceChildren(section("Find a player", ...this.search()), this.spreadBox, section("Try it", this.tryIt()), this.calls());
    this.timer = setInterval(() => this.spread(), SPREAD_EVERY);
    this.spread();
  }

  stop() {
    clearInterval(this.timer);
    this.stopped = true;
  }

  see(data) {
    if (this.total !== undefined && !this.total && data.total) this.spread();
    this.total = data.total;
  }

  here(score) {
    const first = this.score === undefined;
    this.score = score;
    if (first || this.buckets) this.draw();
  }

  async spread() {
    const { season } = this.where;
    const found = await maybe(get(at(`${this.board.path}/distribution`, { buckets: 32, season }))).catch(() => undefined);
    if (!found || this.stopped) return;
    this.buckets = found.buckets;
    this.board.scale(this.buckets.at(-1)?.to ?? 0);
    this.draw();
  }

  draw() {
    if (!this.buckets) return;
    this.spreadBox.hidden = !this.buckets.length;
    this.chart.replaceChildren(histogram(this.buckets, this.score));
  }

  search() {
    const found = el("ul", { class: "found", id: "found" });
    let turn = 0;
    const look = debounce(async (text) => {
      const mine = ++turn;
      if (!text) return found.replaceChildren();
      let users = [];
      try {
        ({ users } = await get(at(`${gamePath(this.where.game)}/users`, { limit: 8, search: text })));
      } catch (error) {
        if (mine === turn) found.replaceChildren(el("li", {}, problem(error)));
        return undefined;
      }
      if (mine !== turn) return undefined;
      const items = users.map((user) => el("li", {}, el("a", { href: link({ game: this.where.game, player: user.user_id }), "data-go": true },
        face(user), el("span", { class: "names" }, el("bdi", {}, nameOf(user)), el("small", {}, user.user_id)), flag(user.country))));
      found.replaceChildren(...(items.length ? items : [el("li", { class: "soft small" }, "Nobody's name or id begins like that.")]));
      return undefined;
    }, 180);
    const input = el("input", { type: "search", maxlength: 64, autocomplete: "off", spellcheck: "false", oninput: () => look(input.value.trim()), id: "search" });
    return [el("label", {}, "Name or id, its beginning", input), found];
  }

  tryIt() {
    const { game } = this.where;
    const user = el("input", { required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9_.:@\\-]{0,63}", value: this.board.me || "you", autocomplete: "off", id: "try-user" });
    const score = el("input", { type: "number", required: true, value: 100, id: "try-score" });
    const answer = el("div", { "aria-live": "polite", class: "stack" });
    const submit = async (event) => {
      event.preventDefault();
      if (!hasKey()) return askKey("Submitting needs a key with scope submit; the local stack's is SUBMIT_KEY in local.env.");
      const body = { session_id: sessionId(), results: [{ user_id: user.value, score: Number(score.value) }] };
      try {
        const done = await api.submit(game, body.results, body);
        answer.replaceChildren(outcome(done.results[0], this.where.board), curl({ method: "POST", path: `${gamePath(game)}/sessions`, body }));
        if (this.board.me !== user.value) { setMyself(game, user.value); this.board.me = user.value; }
        this.board.askMine();
      } catch (error) {
        answer.replaceChildren(problem(error));
      }
      return undefined;
    };
    return el("form", { class: "stack", onsubmit: submit, id: "try" }, el("p", { class: "soft small" }, "Record a session and see the rank move."),
      el("div", { class: "pair" }, el("label", {}, "Player's id", user), el("label", {}, "Score", score)), el("button", { class: "main" }, "Submit result"), answer);
  }

  calls() {
    const open = this.board.games.includes(this.where.game);
    const { game, board } = this.where;
    return el("section", {}, curl({ path: this.board.page(), open }, { path: `${boardPath(game, board)}/stream?limit=25`, open }, { path: `${boardPath(game, board)}/distribution?buckets=32`, open }));
  }
}

function section(title, ...content) {
  return el("section", { class: "card pad stack", "aria-label": title }, el("h2", {}, title), ...content);
}

function outcome(result, board) {
  const lines = result.entries.map((entry) => {
    if (entry.season === null) return el("p", {}, `${entry.leaderboard}: its season is closed`);
    const from = entry.previous_rank === null ? "new" : `from #${number(entry.previous_rank)}`;
    const rank = entry.rank === null ? "recorded; its rank follows" : `#${number(entry.rank)} (${from})`;
    return el("p", {}, entry.leaderboard === board ? el("strong", {}, `${entry.leaderboard}: `) : `${entry.leaderboard}: `, rank, `, ${number(entry.score)} points`);
  });
  return el("div", { class: "moved" }, ...(lines.length ? lines : [el("p", {}, "Recorded.")]));
}
