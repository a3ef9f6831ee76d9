// Charts as SVG, drawn from numbers; each says in words what it shows.

import { compact, number, svg } from "./dom.js";

const WIDTH = 320;

/** How many players have how many points; `here` is a score to point at. */
export function histogram(buckets, here) {
  const height = 116, base = height - 18, top = 18;
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count));
  const step = WIDTH / Math.max(1, buckets.length);
  // A score newer than the picture may lie beyond its ends.
  const within = buckets.findIndex(({ to }) => here <= to);
  const at = here === undefined ? -1 : within < 0 ? buckets.length - 1 : within;
  const bars = buckets.map((bucket, i) => {
    const size = bucket.count ? Math.max(2, (bucket.count / most) * (base - top)) : 0;
    return svg("rect", { class: i === at ? "bar here" : "bar", x: (i * step + 1).toFixed(1), width: Math.max(1, step - 2).toFixed(1), y: (base - size).toFixed(1), height: size.toFixed(1), rx: 2 },
      svg("title", {}, `${number(bucket.from)} to ${number(bucket.to)}: ${number(bucket.count)} players`));
  });
  const marks = [];
  if (at >= 0) {
    const x = (at + 0.5) * step;
    const anchor = x < 46 ? "start" : x > WIDTH - 46 ? "end" : "middle";
    marks.push(svg("text", { x: anchor === "middle" ? x : anchor === "start" ? at * step : (at + 1) * step, y: 10, "text-anchor": anchor, "font-weight": 650 }, "you are here"));
  }
  const label = `Distribution of scores from ${number(buckets[0]?.from ?? 0)} to ${number(buckets.at(-1)?.to ?? 0)}`;
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": at >= 0 ? `${label}; you are in bar ${at + 1} of ${buckets.length}` : label },
    ...bars, svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: base + 0.5, y2: base + 0.5 }),
    svg("text", { x: 0, y: height - 3 }, compact(buckets[0]?.from ?? 0)),
    svg("text", { x: WIDTH, y: height - 3, "text-anchor": "end" }, compact(buckets.at(-1)?.to ?? 0)), ...marks);
}

/** A line over time; `down` for values where less is better, such as ranks; `texts` are said where one points. */
export function line(values, { label, down = false, width = WIDTH, height = 72, from = "", to = "", floor, texts = [] }) {
  const known = values.filter((value) => value !== null && value !== undefined);
  const least = Math.min(...known, floor ?? Infinity), most = Math.max(...known);
  const span = most - least || 1, base = height - 18, top = 6;
  const place = (value) => (down ? (value - least) / span : 1 - (value - least) / span) * (base - top) + top;
  const points = values.map((value, i) => (value === null || value === undefined ? null : [values.length < 2 ? width : (i / (values.length - 1)) * width, place(value), texts[i]])).filter(Boolean);
  const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const area = points.length > 1 ? `${path}L${points.at(-1)[0].toFixed(1)} ${base}L${points[0][0].toFixed(1)} ${base}Z` : "";
  return svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    svg("line", { class: "axis", x1: 0, x2: width, y1: base + 0.5, y2: base + 0.5 }),
    area && svg("path", { class: "area", d: area }), path && svg("path", { class: "line", d: path }),
    points.map(([cx, cy, text]) => text && svg("circle", { class: "spot", cx: cx.toFixed(1), cy: cy.toFixed(1), r: 5 }, svg("title", {}, text))),
    points.length && svg("circle", { class: "dot", cx: points.at(-1)[0], cy: points.at(-1)[1], r: 3.5 }),
    svg("text", { x: 0, y: height - 3 }, from), svg("text", { x: width, y: height - 3, "text-anchor": "end" }, to));
}

/** A share of a hundred as a bar. */
export function meter(share, label) {
  return svg("svg", { class: "meter", viewBox: "0 0 100 4", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("rect", { x: 0, y: 0, width: Math.max(1, Math.min(100, share)).toFixed(2), height: 4 }));
}
