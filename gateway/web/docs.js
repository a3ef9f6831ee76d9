// The description is plain HTML; this narrows it down, and opens a type that a call refers to.

import { $ } from "./dom.js";
import { header } from "./header.js";

const show = () => {
  const type = $(location.hash.slice(1));
  if (type) type.open = true;
};

header();
$("filter-label").hidden = false;
$("filter").addEventListener("input", () => {
  const wanted = $("filter").value.toLowerCase();
  for (const call of $("calls").children) call.hidden = !call.querySelector("summary").textContent.toLowerCase().includes(wanted);
});
addEventListener("hashchange", show);
show();
