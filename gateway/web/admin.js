// For who runs it: needs an admin key, kept in memory only.

import { every, hasKey, onKey } from "./api.js";
import { boards } from "./boards.js";
import { $, el, problem } from "./dom.js";
import { askKey, header } from "./header.js";
import { health } from "./health.js";
import { button, card, field, select } from "./parts.js";
import { users } from "./people.js";
import { audit, seasons, sessions } from "./records.js";

const PARTS = { Health: health, Leaderboards: boards, Users: users, Sessions: sessions, Seasons: seasons, Audit: audit };

const root = $("admin");
const named = () => Object.keys(PARTS).find((name) => `#${name.toLowerCase()}` === location.hash) ?? "Health";
const state = { game: "", games: [] };
let stay = new AbortController(); // ends with the part that is shown

const tabs = Object.keys(PARTS).map((name) => el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "part", onclick: () => { location.hash = name.toLowerCase(); } }, name));
const strip = el("div", { class: "tabs", role: "tablist", "aria-label": "Parts", onkeydown: (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) tabs.at((tabs.indexOf(document.activeElement) + step) % tabs.length).focus();
} }, tabs);
const picker = el("div", { class: "fields" });
const part = el("div", { role: "tabpanel", id: "part" });

async function show() {
  stay.abort();
  stay = new AbortController();
  const { signal } = stay;
  const name = named();
  for (const tab of tabs) {
    const chosen = tab.textContent === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  part.setAttribute("aria-labelledby", `tab-${name}`);
  picker.hidden = name === "Health";
  const box = el("div", { class: "stack" });
  part.replaceChildren(box);
  const title = state.games.find((each) => each.game === state.game)?.title;
  try { await PARTS[name](box, { game: state.game, title, signal, reload }); } catch (error) { box.replaceChildren(problem(error)); }
}

/** Ask which games there are; go to one of them, or stay. */
async function reload(game = state.game) {
  const known = (await every("/v1/games", "games")).filter((each) => !each.archived_at);
  const ids = known.map((each) => each.game);
  Object.assign(state, { games: known, game: ids.includes(game) ? game : ids[0] ?? "" });
  picker.replaceChildren(field("Game", select(ids, state.game, { id: "game", onchange: (event) => { state.game = event.target.value; show(); } })));
  await show();
}

async function start() {
  stay.abort();
  if (!hasKey()) {
    return root.replaceChildren(card("This needs an admin key", el("p", { class: "soft" }, "The local stack's is ADMIN_KEY in local.env. It stays in this tab's memory."), el("div", {}, button("Use a key", () => askKey("This page needs a key with scope admin."), "main"))));
  }
  root.replaceChildren(strip, picker, part);
  try { await reload(); } catch (error) { root.replaceChildren(problem(error)); }
  return undefined;
}

onKey(start);
addEventListener("hashchange", () => { if (hasKey()) show(); });
header();
start();
