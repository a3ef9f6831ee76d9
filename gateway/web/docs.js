// The description is plain HTML; this only narrows it down.

import { $ } from "./dom.js";
import { header } from "./header.js";

header();
$("filter-label").hidden = false;
$("filter").addEventListener("input", () => {
  const wanted = $("filter").value.toLowerCase();
  for (const call of $("calls").children) call.hidden = !call.querySelector("summary").textContent.toLowerCase().includes(wanted);
});
