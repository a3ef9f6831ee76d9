// Below the standings: which places these are, and the way to others.

import { $, el, link, number } from "./dom.js";

export class Paging {
  /** @param size places on a page */
  constructor(board, size) {
    Object.assign(this, { board, where: board.where, size });
  }

  show(data) {
    const { offset, around } = this.where;
    const last = offset + data.entries.length;
    const more = !around && last < data.total && data.entries.length > 0;
    // Drawn anew only when there is something new: someone may be typing in it.
    const drawn = [offset, around, last, more].join();
    if (drawn !== this.drawn) this.draw(last, more);
    this.drawn = drawn;
    this.range.textContent = this.text(data);
  }

  draw(last, more) {
    const { offset, around } = this.where;
    const to = (place, text) => el("a", { class: "button", href: link({ ...this.where, around: "", offset: Math.max(0, place) }), "data-go": true }, text);
    const rank = el("input", { type: "number", min: 1, max: 1_000_000_001, required: true, id: "rank-input", inputmode: "numeric" });
    const jump = (event) => {
      event.preventDefault();
      this.board.go(link({ ...this.where, around: "", offset: Math.max(0, Number(rank.value) - 1) }));
    };
    this.range = el("span", { id: "range" });
    $("pages").replaceChildren(...[(around || offset > 0) && to(0, "Top"), !around && offset > 0 && to(offset - this.size, "Previous"), this.range, more && to(last, "Next"),
      el("form", { onsubmit: jump }, el("label", { class: "sr", for: "rank-input" }, "Go to place"), rank, el("button", {}, "Go to place"))].filter(Boolean));
  }

  text({ total, entries }) {
    if (!entries.length) return "";
    if (this.where.around) return `around ${this.where.around}, of ${number(total)}`;
    return `${number(this.where.offset + 1)}–${number(this.where.offset + entries.length)} of ${number(total)}`;
  }
}
