// Admin: games and leaderboards.

import { boardPath, call, curl, gamePath, get } from "./api.js";
import { el, link, number } from "./dom.js";
import { editor } from "./editor.js";
import { SLUG, attempt, button, card, chip, confirm, field } from "./parts.js";
import { table } from "./tables.js";

const LOOK = 1000; // milliseconds between two looks at boards that are being built

export async function boards(box, tab) {
  const { game, signal } = tab;
  const path = `${gamePath(game)}/leaderboards`;
  const list = el("div"), said = el("div"), edit = el("div");

  const look = async () => {
    const { leaderboards } = await get(path);
    if (signal.aborted) return;
    list.replaceChildren(table(["Id", "Title", "Rule", "Ties", "Schedule", "Status", "Players", ""], leaderboards.map(row)));
    if (leaderboards.some((each) => each.status === "building")) later();
  };
  const later = () => setTimeout(() => { if (!signal.aborted) attempt(said, look); }, LOOK);
  const edited = (board) => attempt(said, async () => {
    const hook = board.leaderboard && (await get(`${boardPath(game, board.leaderboard)}/webhook`)).webhook;
    edit.replaceChildren(editor(game, { ...board, ...board.next, webhook: hook }, async () => { edit.replaceChildren(); await look(); }));
    edit.querySelector("input:not([readonly])").focus();
  });
  const row = (each) => [el("a", { href: link({ game, board: each.leaderboard }) }, each.leaderboard), each.title, `${each.operator}, ${each.order}`, each.ties, each.schedule,
    status(each), each.total === null ? null : number(each.total),
    el("span", { class: "row" }, button("Edit", () => edited(each)), button("Rebuild", () => rebuild(each)), button("Drop", () => drop(each), "danger"))];
  const rebuild = ({ leaderboard }) => confirm("Rebuild leaderboard", `${leaderboard} is folded from its history once more, beside what is there; reads and sessions go on.`, async () => {
    const { status: now } = await call("POST", `${boardPath(game, leaderboard)}/rebuild`);
    await look();
    if (now === "building") later(); // who reads may not have heard of it yet
  });
  const drop = ({ leaderboard }) => confirm("Drop leaderboard", `${leaderboard} disappears; the recorded sessions stay.`, async () => {
    await call("DELETE", boardPath(game, leaderboard));
    edit.replaceChildren();
    await look();
  }, { word: leaderboard });

  if (game) {
    await look();
    box.append(card("Leaderboards", list, said, button("New leaderboard", () => edited({}))), edit, thisGame(tab));
  }
  box.append(newGame(tab), curl({ path }, { path: "/v1/games" }));
}

function status({ leaderboard, status: now, progress, failure }) {
  if (now !== "building") return el("span", { class: "row" }, chip(now, now === "ready" ? "good" : "bad"), failure && el("small", { class: "soft" }, failure));
  return el("span", { class: "building" }, chip(now, "warn"), el("progress", { "aria-label": `Building ${leaderboard}`, max: 1, value: progress }), progress === undefined ? "" : `${Math.floor(100 * progress)} %`);
}

function thisGame({ game, title, reload }) {
  const input = el("input", { maxlength: 200, value: title ?? "" }), said = el("div");
  const save = (event) => {
    event.preventDefault();
    attempt(said, async () => { await call("PUT", gamePath(game), { title: input.value || null }); await reload(); });
  };
  const archive = () => confirm("Archive game", `${game} is hidden and takes no more sessions. Creating it again brings it back as it was.`, async () => {
    await call("DELETE", gamePath(game));
    await reload();
  }, { word: game });
  return card(`Game ${game}`, el("form", { class: "stack", onsubmit: save }, el("div", { class: "fields" }, field("Title", input)), said,
    el("div", { class: "row" }, el("button", {}, "Rename"), button("Archive", archive, "danger"))));
}

function newGame({ reload }) {
  const id = el("input", { required: true, pattern: SLUG, autocomplete: "off" }), title = el("input", { maxlength: 200 }), said = el("div");
  const create = (event) => {
    event.preventDefault();
    attempt(said, async () => { await call("PUT", gamePath(id.value), title.value ? { title: title.value } : {}); await reload(id.value); });
  };
  return card("New game", el("form", { class: "stack", onsubmit: create }, el("div", { class: "fields" }, field("Id", id), field("Title", title)), said, el("div", {}, el("button", {}, "Create game"))));
}
