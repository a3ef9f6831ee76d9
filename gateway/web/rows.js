// The rows of the standings: they keep their identity, so that they can glide to a new place.

import { el, face, flag, link, nameOf, number } from "./dom.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Rows {
  constructor(body) {
    this.body = body;
    this.rows = new Map();
    this.began = new Map(); // the rank each had when this page first saw it
    this.most = 0; // the score of a full bar; 0: no bars
  }

  clear() {
    this.rows.clear();
    this.body.replaceChildren();
  }

  /** Forget what ranks moved from: other standings begin. */
  forget() {
    this.began.clear();
    this.most = 0;
    this.clear();
  }

  waiting(count = 8) {
    this.clear();
    this.body.append(...Array.from({ length: count }, () => el("tr", { "aria-hidden": "true" },
      el("td", { class: "rank" }, el("div", { class: "bone" })), el("td", {}, el("div", { class: "bone" })), el("td", { class: "score" }, el("div", { class: "bone" })))));
  }

  show(entries, { game, me, marked, glide }) {
    const moves = glide && !document.hidden && !calm.matches;
    const before = moves ? this.tops() : new Map();
    const focused = document.activeElement;
    const shown = new Map();
    for (const entry of entries) {
      const row = this.rows.get(entry.user_id) ?? this.make(entry, game);
      this.update(row, entry, me, marked);
      shown.set(entry.user_id, row);
    }
    for (const child of [...this.body.children]) if (![...shown.values()].some((row) => row.tr === child)) child.remove();
    let at = this.body.firstElementChild;
    for (const { tr } of shown.values()) {
      if (tr === at) at = at.nextElementSibling;
      else this.body.insertBefore(tr, at);
    }
    this.rows = shown;
    if (focused && this.body.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
    if (moves) this.glide(before);
  }

  tops() {
    return new Map([...this.rows].map(([user, { tr }]) => [user, tr.getBoundingClientRect().top]));
  }

  glide(before) {
    const options = { duration: 520, easing: "cubic-bezier(.2, .8, .2, 1)" };
    for (const [user, { tr }] of this.rows) {
      const from = before.get(user);
      if (from === undefined) {
        tr.animate([{ opacity: 0 }, { opacity: 1 }], options);
        continue;
      }
      const way = from - tr.getBoundingClientRect().top;
      if (way) tr.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], options);
    }
  }

  make(entry, game) {
    const row = {
      number: el("span", { class: "number" }),
      ties: el("small", { hidden: true }),
      move: el("span", { class: "move" }),
      name: el("bdi"),
      id: el("small"),
      score: el("span"),
      shown: null,
    };
    row.anchor = el("a", { href: link({ game, player: entry.user_id }), "data-go": true }, row.name);
    row.face = face(entry);
    row.line = el("span", { class: "line" }, row.anchor);
    row.bar = el("span", { class: "share", "aria-hidden": "true" }, el("span"));
    row.person = el("span", { class: "person" }, row.face, el("span", { class: "names" }, row.line, row.id), row.bar);
    row.tr = el("tr", { "data-user": entry.user_id },
      el("td", { class: "rank" }, el("span", { class: "place" }, row.number, row.move)),
      el("td", { class: "who" }, row.person), el("td", { class: "score" }, row.score, row.ties));
    return row;
  }

  update(row, entry, me, marked) {
    if (!this.began.has(entry.user_id)) this.began.set(entry.user_id, entry.rank);
    const up = this.began.get(entry.user_id) - entry.rank;
    row.tr.className = `${entry.rank <= 3 ? `r${entry.rank}` : ""}${[me, marked].includes(entry.user_id) ? " me" : ""}`;
    row.bar.hidden = !this.most;
    row.bar.firstChild.style.inlineSize = `${this.most ? Math.max(1, (100 * entry.score) / this.most).toFixed(1) : 0}%`;
    row.number.textContent = number(entry.rank);
    row.ties.hidden = entry.ties < 2;
    row.ties.textContent = entry.ties < 2 ? "" : `${number(entry.ties)} tied`;
    row.ties.title = `${number(entry.ties)} players share this score`;
    row.move.className = `move ${up > 0 ? "up" : "down"}`;
    row.move.textContent = up === 0 ? "" : `${up > 0 ? "▲" : "▼"}${number(Math.abs(up))}`;
    row.move.title = up === 0 ? "" : `${up > 0 ? "up" : "down"} ${number(Math.abs(up))} since this page was opened`;
    row.name.textContent = nameOf(entry);
    row.id.textContent = entry.display_name ? entry.user_id : "";
    if (row.country !== entry.country) {
      const sign = flag(entry.country);
      row.line.querySelector(".flag")?.remove();
      if (sign) row.line.append(sign);
      row.country = entry.country;
    }
    if (row.shown !== null && row.shown !== entry.score && !calm.matches) {
      row.score.animate([{ color: "var(--accent)" }, {}], { duration: 1600, easing: "ease-out" });
    }
    row.shown = entry.score;
    row.score.textContent = number(entry.score);
  }
}
