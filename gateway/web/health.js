// Admin: how everything does, at a glance, and how it did in the last two minutes.

import { curl, get } from "./api.js";
import { line } from "./charts.js";
import { el, moment, number, problem } from "./dom.js";
import { card, chip, repeat } from "./parts.js";
import { table } from "./tables.js";

const LOOK = 2000;
const KEPT = 60;
const LATE = 2; // seconds after which batches that wait to be applied are worth a look

const words = (name) => name.replaceAll("_", " ");
const ms = (value) => (value === undefined || value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

export async function health(box, { signal }) {
  const seen = new Map(), said = el("div"), tiles = el("div", { class: "tiles three" }), services = el("div");
  box.append(said, tiles, services, curl({ path: "/v1/status" }));

  const tile = ({ title, light, text, small, value }) => {
    const values = seen.get(title) ?? [];
    seen.set(title, [...values, value].slice(-KEPT));
    const ago = (seen.get(title).length - 1) * (LOOK / 1000);
    return el("section", { class: "card pad tile", "aria-label": title }, el("div", { class: "spread" }, el("h2", {}, title), light),
      el("div", { class: "row" }, el("span", { class: "large" }, text), el("span", { class: "soft small" }, small)),
      line(seen.get(title), { label: `${title} over the last ${ago} seconds: now ${text}`, floor: 0, from: ago ? `${ago} s ago` : "", to: "now" }));
  };

  const look = async () => {
    const began = performance.now();
    await get("/healthz");
    const trip = performance.now() - began;
    const status = await get("/v1/status");
    if (!signal.aborted) {
      tiles.replaceChildren(...figures(status, trip).map(tile));
      services.replaceChildren(card("Services", table(["Service", "Instance", "Up since", "Figures"], status.services.map(row))));
    }
  };
  // The same trouble is said once, not every two seconds.
  const turn = () => look().then(() => said.replaceChildren(), (error) => { if (said.textContent !== error.message) said.replaceChildren(problem(error)); });
  await turn();
  repeat(LOOK, signal, turn);
}

const row = (each) => [each.service, el("span", { class: "code" }, each.instance), moment(each.started_at),
  Object.entries(each.facts).map(([name, value]) => `${words(name)} ${number(value)}`).join(" · ")];

const light = (ok, text = ok ? "well" : "down") => chip(text, ok === true ? "good" : ok ? "warn" : "bad");

function figures({ postgres, redis, outbox, services }, trip) {
  const late = outbox && outbox.age_seconds > LATE;
  return [
    { title: "Gateway", light: light(true), text: ms(trip), small: "there and back", value: trip },
    service("score_service", services),
    service("rank_service", services),
    { title: "Postgres", light: light(postgres.ok), text: ms(postgres.milliseconds), small: "a question", value: postgres.milliseconds },
    { title: "Redis", light: light(redis.ok), text: ms(redis.milliseconds), small: "a question", value: redis.milliseconds },
    { title: "Outbox", light: !outbox ? light(false, "unknown") : late ? light("warn", "late") : light(true), text: outbox ? number(outbox.batches) : "–",
      small: outbox ? `batches to apply, the oldest ${outbox.age_seconds.toFixed(1)} s` : "", value: outbox?.age_seconds },
  ];
}

/** All replicas of a service: how many are heard of, and their figures added up. */
function service(name, services) {
  const here = services.filter((each) => each.service === name);
  const facts = new Map();
  for (const each of here) for (const [fact, value] of Object.entries(each.facts)) facts.set(fact, (facts.get(fact) ?? 0) + value);
  const [[fact, value] = ["", undefined]] = facts;
  const small = [words(fact), here.length > 1 && `${here.length} replicas`].filter(Boolean).join(" · ");
  return { title: name, light: light(here.length > 0, here.length ? "well" : "not heard of"), text: value === undefined ? "–" : number(value), small, value };
}
