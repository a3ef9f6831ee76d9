// The right end of the bar at the top: the connection's light, the key, light or dark.

import { hasKey, onKey, setKey } from "./api.js";
import { $, el } from "./dom.js";

const LIGHTS = {
  connecting: ["", "Connecting"],
  live: ["live", "Live"],
  polling: ["slow", "Every 10 s"],
  offline: ["off", "Offline"],
  sealed: ["", "Final"],
  none: ["", ""],
};

const light = el("span", { class: "light", id: "light", role: "status", hidden: true });

export function shine(state) {
  const [style, text] = LIGHTS[state];
  light.hidden = !text;
  light.className = `light ${style}`;
  light.textContent = text;
}

function themeButton() {
  const root = document.documentElement;
  const stored = localStorage.getItem("theme");
  if (stored) root.dataset.theme = stored;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = el("button", { type: "button", class: "plain icon", onclick: () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    say();
  } });
  const say = () => {
    button.textContent = isDark() ? "☀" : "☾";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  };
  say();
  return button;
}

export function askKey(reason = "Reading games that are not public, and submitting, needs an API key.") {
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", maxlength: 4096, id: "key-input" });
  const box = el("dialog", { "aria-labelledby": "key-title" },
    el("form", { method: "dialog", class: "stack", onsubmit: () => { if (input.value) setKey(input.value); } },
      el("h2", { id: "key-title" }, "API key"),
      el("p", { class: "soft small" }, `${reason} It stays in this tab's memory: it is stored nowhere, and gone when you close or reload the page.`),
      el("label", {}, "Key", input),
      el("div", { class: "row" },
        el("button", { class: "main" }, "Use this key"),
        hasKey() && el("button", { type: "button", class: "danger", onclick: () => { setKey(""); box.close(); } }, "Forget it"),
        el("button", { type: "button", class: "plain", onclick: () => box.close() }, "Cancel"))));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

export function header() {
  const button = el("button", { type: "button", class: "plain", title: "Use an API key", onclick: () => askKey() });
  const say = () => { button.textContent = hasKey() ? "Key ✓" : "Key"; };
  onKey(say);
  say();
  $("tools").replaceChildren(light, button, themeButton());
}
