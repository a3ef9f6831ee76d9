// Which page is shown: the address says it, and the back button works.

import { onKey } from "./api.js";
import { Board } from "./board.js";
import { $ } from "./dom.js";
import { header, shine } from "./header.js";
import { Player } from "./player.js";

const games = document.querySelector('meta[name="public-games"]').content.split(",").filter(Boolean);
let shown;

export function place() {
  const query = new URLSearchParams(location.search);
  const get = (name, fallback = "") => query.get(name) || fallback;
  return {
    game: get("game", games[0] ?? ""), board: get("board"), season: get("season", "current"),
    offset: Math.max(0, Number.parseInt(get("offset", "0"), 10) || 0), around: get("around"), player: get("player"),
  };
}

function go(address) {
  if (new URL(address, location.href).href !== location.href) history.pushState(null, "", address);
  show();
}

function show() {
  shown?.stop();
  const where = place();
  $("player").hidden = !where.player;
  $("standings").hidden = Boolean(where.player);
  shine("none");
  shown = where.player ? new Player(where, go) : new Board(where, games, go);
}

addEventListener("popstate", show);
addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-go]");
  if (!anchor || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
  $("main").focus({ preventScroll: true });
  scrollTo({ top: 0 });
});
onKey(() => { if (shown?.failed) show(); });
header();
show();
