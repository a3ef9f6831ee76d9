// For who runs it: needs an admin key, kept in memory only. What this server does not have is not shown.

import { boardPath, call, curl, every, gamePath, get, hasKey, maybe, onKey, userPath } from "./api.js";
import { line } from "./charts.js";
import { $, el, moment, nameOf, number, problem } from "./dom.js";
import { askKey, header } from "./header.js";

const root = $("admin");
const state = { game: "", tab: "Health" };
let timer;

const table = (heads, rows, none = "Nothing here.") => rows.length
  ? el("div", { class: "wrap", tabindex: "0", role: "group", "aria-label": heads.join(", ") }, el("table", { class: "list" }, el("thead", {}, el("tr", {}, heads.map((each) => el("th", { scope: "col" }, each)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell) => el("td", {}, cell ?? "–")))))))
  : el("p", { class: "soft" }, none);

const card = (title, ...content) => el("section", { class: "card pad stack", "aria-label": title }, el("h2", {}, title), ...content);
const pick = (name, values, at, props = {}) => el("label", {}, name, el("select", props, values.map((value) => el("option", { value: value ?? "", selected: value === at }, value ?? "none"))));
const button = (text, run, style = "") => el("button", { type: "button", class: style, onclick: run }, text);

/** Ask before what cannot be undone; the answer may carry a reason. */
function confirm(title, text, run, { word, reason } = {}) {
  const typed = el("input", { autocomplete: "off", required: true }), why = el("input", { maxlength: 200 });
  const said = el("div");
  const form = el("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    if (word && typed.value !== word) return said.replaceChildren(problem({ message: "That is not the same." }));
    try { await run(why.value || undefined); box.close(); } catch (error) { said.replaceChildren(problem(error)); }
    return undefined;
  } }, el("h2", { id: "confirm-title" }, title), el("p", {}, text), word && el("label", {}, `Type ${word} to confirm`, typed), reason && el("label", {}, "Reason, kept on record", why), said,
  el("div", { class: "row" }, el("button", { class: "main" }, title), button("Cancel", () => box.close(), "plain")));
  const box = el("dialog", { "aria-labelledby": "confirm-title" }, form);
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

const tabs = {
  async Health(box) {
    const seen = { postgres: [], redis: [], outbox: [] };
    const look = async () => {
      const status = await get("/v1/status");
      seen.postgres.push(status.postgres.milliseconds);
      seen.redis.push(status.redis.milliseconds);
      seen.outbox.push(status.outbox?.age_seconds);
      Object.values(seen).forEach((values) => values.splice(0, values.length - 60));
      const light = (ok) => el("span", { class: `chip ${ok ? "good" : "bad"}` }, ok ? "well" : "down");
      const tile = (title, ok, text, values) => el("section", { class: "card pad tile", "aria-label": title }, el("div", { class: "spread" }, el("h2", {}, title), light(ok)), el("span", { class: "large" }, text), line(values, { label: `${title} over the last two minutes`, floor: 0 }));
      box.replaceChildren(el("div", { class: "tiles" },
        tile("Postgres", status.postgres.ok, `${status.postgres.milliseconds ?? "–"} ms`, seen.postgres),
        tile("Redis", status.redis.ok, `${status.redis.milliseconds ?? "–"} ms`, seen.redis),
        tile("Outbox", Boolean(status.outbox), `${number(status.outbox?.batches ?? 0)} behind`, seen.outbox)),
      card("Services", table(["Service", "Instance", "Up since", "Figures"], status.services.map((each) => [each.service, each.instance, moment(each.started_at), Object.entries(each.facts).map(([name, value]) => `${name} ${number(value)}`).join(" · ")]))), curl({ path: "/v1/status" }));
    };
    await look();
    timer = setInterval(() => look().catch((error) => box.prepend(problem(error))), 2000);
  },

  async Leaderboards(box) {
    const { leaderboards } = await get(`${gamePath(state.game)}/leaderboards`);
    const edit = el("div", {});
    const rows = leaderboards.map((each) => [each.leaderboard, each.title, `${each.operator}, ${each.order}`, each.ties, each.schedule,
      el("span", { class: `chip ${each.status === "ready" ? "good" : "warn"}` }, each.status), number(each.total ?? 0),
      el("span", { class: "row" }, button("Edit", () => edit.replaceChildren(editor(each, box))),
        button("Drop", () => confirm("Drop leaderboard", `${each.leaderboard} disappears; the recorded sessions stay.`, async () => { await call("DELETE", boardPath(state.game, each.leaderboard)); show(); }, { word: each.leaderboard }), "danger"))]);
    const id = el("input", { required: true, pattern: "[a-z0-9][a-z0-9_\\-]{0,63}", autocomplete: "off" }), title = el("input", { maxlength: 200 });
    box.replaceChildren(card("Leaderboards", table(["Id", "Title", "Rule", "Ties", "Schedule", "Status", "Players", "Do"], rows), button("New leaderboard", () => edit.replaceChildren(editor({}, box)))), edit,
      card("New game", el("form", { class: "stack", onsubmit: async (event) => { event.preventDefault(); await done(box, () => call("PUT", gamePath(id.value), title.value ? { title: title.value } : {}), () => { state.game = id.value; start(); }); } }, el("div", { class: "fields" }, el("label", {}, "Id", id), el("label", {}, "Title", title)), el("div", {}, el("button", {}, "Create game")))));
    if (leaderboards.some((each) => each.status === "building")) timer = setTimeout(show, 2000);
  },

  async Users(box) {
    const found = el("div");
    const input = el("input", { type: "search", maxlength: 64, required: true });
    const look = async (event) => {
      event?.preventDefault();
      await done(found, async () => {
        const { users } = await get(`${gamePath(state.game)}/users?limit=50&search=${encodeURIComponent(input.value)}`);
        found.replaceChildren(table(["Id", "Name", "Country", "Do"], users.map((user) => {
          const path = userPath(state.game, user.user_id);
          return [user.user_id, el("bdi", {}, nameOf(user)), user.country, el("span", { class: "row" },
            button("Ban", () => confirm("Ban player", `${user.user_id} is hidden from every leaderboard; the scores stay.`, (reason) => call("POST", `${path}/ban`, { reason }), { reason: true })),
            button("Lift ban", () => done(found, () => call("DELETE", `${path}/ban`), look)),
            button("Erase", () => confirm("Erase player", "Profile and entries are removed, results made anonymous. This cannot be undone.", () => call("DELETE", path), { word: user.user_id }), "danger"))];
        }), "Nobody's name or id begins like that."));
      });
    };
    box.replaceChildren(card("Users", el("form", { class: "stack", onsubmit: look }, el("label", {}, "Name or id, its beginning", input), el("div", {}, el("button", {}, "Search"))), found));
  },

  async Sessions(box) {
    const user = el("input", { maxlength: 64 }), found = el("div");
    const look = async (event) => {
      event?.preventDefault();
      await done(found, async () => {
        const { sessions } = await get(`${gamePath(state.game)}/sessions${user.value ? `?user_id=${encodeURIComponent(user.value)}` : ""}`);
        found.replaceChildren(table(["Played", "Session", "Mode", "Status"], sessions.map((each) => [moment(each.played_at), el("span", { class: "code" }, each.session_id), each.mode,
          each.voided_at ? el("span", { class: "chip bad" }, "voided") : button("Void", () => confirm("Void session", "It is taken out of every leaderboard; the record stays.", async (reason) => { await call("POST", `${gamePath(state.game)}/sessions/${each.session_id}/void`, { reason: reason ?? "" }); look(); }, { reason: true }), "danger")])));
      });
    };
    box.replaceChildren(card("Sessions", el("form", { class: "stack", onsubmit: look }, el("label", {}, "Of a player (id), or all", user), el("div", {}, el("button", {}, "Find"))), found));
    await look();
  },

  async Seasons(box) {
    const { leaderboards } = await get(`${gamePath(state.game)}/leaderboards`);
    const all = await Promise.all(leaderboards.map(async (each) => [each.leaderboard, await maybe(get(`${boardPath(state.game, each.leaderboard)}/seasons`))]));
    box.replaceChildren(...all.filter(([, found]) => found).map(([name, found]) => card(name, table(["Season", "Ends", "Status", "Players", "Digest"],
      found.seasons.map((each) => [each.starts_at ? moment(each.starts_at) : each.id, each.ends_at && moment(each.ends_at), each.status, number(each.total ?? 0), each.digest && el("span", { class: "code" }, each.digest)])))));
  },

  async Audit(box) {
    const found = await maybe(get(`${gamePath(state.game)}/audit?limit=100`));
    box.replaceChildren(card("Audit", found ? table(["When", "Key", "Action", "Whom or what", "Reason"], found.audit.map((each) => [moment(each.at), each.key_id, each.action, each.subject, each.reason])) : el("p", {}, "This server keeps no list."), curl({ path: `${gamePath(state.game)}/audit` })));
  },
};

async function done(box, run, then) {
  try { await run(); then?.(); } catch (error) { box.prepend(problem(error)); }
}

function editor(board, box) {
  const input = {
    title: el("input", { value: board.title ?? "" }), modes: el("input", { value: (board.modes ?? []).join(", ") }), timezone: el("input", { value: board.timezone ?? "UTC" }),
    min_score: el("input", { type: "number", value: board.min_score ?? 0 }), max_score: el("input", { type: "number", value: board.max_score ?? Number.MAX_SAFE_INTEGER }), schedule: el("input", { value: board.schedule ?? "" }),
  };
  const id = el("input", { required: true, value: board.leaderboard ?? "", readonly: Boolean(board.leaderboard), pattern: "[a-z0-9][a-z0-9_\\-]{0,63}" });
  const operator = pick("Operator", ["sum", "best", "latest", "count"], board.operator ?? "sum"), order = pick("Order", ["desc", "asc"], board.order ?? "desc"), ties = pick("Ties", ["competition", "dense", "first"], board.ties ?? "competition");
  const said = el("div", { "aria-live": "polite" });
  const body = () => ({ title: input.title.value || null, operator: operator.lastChild.value, order: order.lastChild.value, ties: ties.lastChild.value, schedule: input.schedule.value || null, timezone: input.timezone.value || "UTC",
    modes: input.modes.value.trim() ? input.modes.value.split(",").map((each) => each.trim()) : null, min_score: Number(input.min_score.value), max_score: Number(input.max_score.value) });
  const preview = () => done(said, async () => {
    const found = await maybe(call("POST", `${boardPath(state.game, id.value)}/preview`, body()));
    said.replaceChildren(found ? el("pre", { tabindex: "0" }, JSON.stringify(found, null, 2)) : el("p", { class: "soft" }, "This server cannot preview."));
  });
  const save = (event) => { event.preventDefault(); done(said, () => call("PUT", boardPath(state.game, id.value), body()), show); };
  return card(board.leaderboard ? `Edit ${board.leaderboard}` : "New leaderboard", el("form", { class: "stack", onsubmit: save },
    el("div", { class: "fields" }, el("label", {}, "Id", id), el("label", {}, "Title", input.title), operator, order, ties, el("label", {}, "Schedule", input.schedule), el("label", {}, "Time zone", input.timezone),
      el("label", {}, "Modes, by commas; none: all", input.modes), el("label", {}, "Least score", input.min_score), el("label", {}, "Most score", input.max_score)),
    el("div", { class: "row" }, el("button", { class: "main" }, "Save"), button("Preview", preview)), said));
}

async function show() {
  clearInterval(timer);
  clearTimeout(timer);
  const box = el("div", { class: "stack", role: "tabpanel", "aria-label": state.tab });
  const game = pick("Game", state.games, state.game, { onchange: (event) => { state.game = event.target.value; show(); } });
  root.replaceChildren(el("div", { class: "tabs", role: "tablist", "aria-label": "Parts" }, Object.keys(tabs).map((name) => el("button", { type: "button", role: "tab", "aria-selected": String(name === state.tab), onclick: () => { state.tab = name; show(); } }, name))),
    state.tab === "Health" ? "" : el("div", { class: "fields" }, game), box);
  try { await tabs[state.tab](box); } catch (error) { box.replaceChildren(problem(error)); }
}

async function start() {
  if (!hasKey()) {
    clearInterval(timer);
    return root.replaceChildren(card("This needs an admin key", el("p", { class: "soft" }, "The local stack's is ADMIN_KEY in local.env. It stays in this tab's memory."), el("div", {}, button("Use a key", () => askKey("This page needs a key with scope admin."), "main"))));
  }
  try {
    state.games = (await every("/v1/games", "games")).map((each) => each.game);
    if (!state.games.includes(state.game)) state.game = state.games[0] ?? "";
  } catch (error) {
    return root.replaceChildren(problem(error));
  }
  return show();
}

onKey(start);
header();
start();
