// Admin: a leaderboard's definition, what it would change, and saving it.

import { boardPath, call, curl, maybe } from "./api.js";
import { el } from "./dom.js";
import { SLUG, attempt, button, card, field, select } from "./parts.js";
import { preview } from "./preview.js";

/** @param saved run once it is saved */
export function editor(game, board, saved) {
  const isNew = !board.leaderboard;
  const id = el("input", { required: true, value: board.leaderboard ?? "", readonly: !isNew, pattern: SLUG, autocomplete: "off" });
  const title = el("input", { maxlength: 200, value: board.title ?? "" });
  const operator = select(["sum", "best", "latest", "count"], board.operator ?? "sum");
  const order = select(["desc", "asc"], board.order ?? "desc");
  const ties = select(["competition", "dense", "first"], board.ties ?? "competition");
  const schedule = el("input", { value: board.schedule ?? "", placeholder: "never", list: "schedules" });
  const timezone = el("input", { value: board.timezone ?? "UTC" });
  const modes = el("input", { value: (board.modes ?? []).join(", "), placeholder: "all" });
  const least = el("input", { type: "number", value: board.min_score ?? 0 });
  const most = el("input", { type: "number", value: board.max_score ?? Number.MAX_SAFE_INTEGER });
  const webhook = el("input", { type: "url", maxlength: 2048, value: board.webhook ?? "", placeholder: "none" });
  const said = el("div", { "aria-live": "polite" }), called = el("div");

  const body = () => ({
    title: title.value || null, operator: operator.value, order: order.value, ties: ties.value,
    schedule: schedule.value || null, timezone: timezone.value || "UTC",
    modes: modes.value.trim() ? modes.value.split(",").map((each) => each.trim()) : null,
    min_score: Number(least.value), max_score: Number(most.value), webhook: webhook.value || null,
  });
  const path = () => boardPath(game, id.value);
  const look = () => form.reportValidity() && attempt(said, async () => {
    const found = await maybe(call("POST", `${path()}/preview`, body()));
    said.replaceChildren(found ? preview(found) : el("p", { class: "soft" }, "This server cannot preview."));
    called.replaceChildren(curl({ method: "POST", path: `${path()}/preview`, body: body() }, { method: "PUT", path: path(), body: body() }));
  });
  const save = (event) => {
    event.preventDefault();
    attempt(said, async () => { await call("PUT", path(), body()); await saved(); });
  };
  const form = el("form", { class: "stack", onsubmit: save, oninput: () => said.replaceChildren() },
    el("div", { class: "fields" }, field("Id", id), field("Title", title), field("Operator", operator), field("Order", order), field("Ties", ties),
      field("Schedule", schedule), field("Time zone", timezone), field("Modes, by commas", modes), field("Least score", least), field("Most score", most), field("Webhook", webhook)),
    el("datalist", { id: "schedules" }, ["hourly", "daily", "weekly", "monthly", "0 18 * * 5"].map((value) => el("option", { value }))),
    el("div", { class: "row" }, button("Preview", look), el("button", { class: "main" }, "Save"), el("span", { class: "soft small" }, "A preview folds the whole history by these rules and changes nothing.")), said, called);
  return card(isNew ? "New leaderboard" : `Edit ${board.leaderboard}`, form);
}
