// SPDX-License-Identifier: Apache-2.0
/** Readings nearest their limit, pictures, links counted by state: under the map on the wall, tabs on a laptop. */

import { age, amount, clock } from "../age.js";
import { h } from "../dom.js";
import { linkName, unitNumber } from "./naming.js";
import { moreButton } from "./units.js";

const STATES = ["up", "degraded", "down", "unknown"];
const PICTURES_SHOWN = 2;
const GAP_FACTOR = 2.6; // samples farther apart than this many usual steps: a gap, drawn as a gap
const [PLOT_W, PLOT_H] = [90, 26];

export function wallRow(ctx) {
  return h("div", { class: "wall-row", key: "wall" }, readingsPart(ctx), picturesPart(ctx), linksPart(ctx));
}

export function readingsPart(ctx, grows = false) {
  const { state, say, pager } = ctx;
  const readings = state.readings
    .map((each) => ({ ...each, id: `${each.unit} ${each.series}` }))
    .sort((one, other) => (other.nearness ?? -1) - (one.nearness ?? -1) || other.captured_ms - one.captured_ms);
  const cut = pager.cut("readings", readings);
  return h("section", { class: `panel readings${grows ? " grow" : ""}`, key: "readings" },
    h("div", { class: "panel-head" }, h("h2", {}, say("readings.title")), h("span", { class: "soft" }, say("readings.note"))),
    readings.length ? null : h("p", { class: "soft none" }, say("readings.none")),
    h("ul", { class: "list", "data-list": "readings", "data-total": readings.length }, cut.shown.map((reading) => readingRow(ctx, reading))),
    moreButton(ctx, "readings", readings, cut, ["more", "page"]));
}

function readingRow(ctx, reading) {
  const { say } = ctx;
  const unit = ctx.unit(reading.unit);
  const isGood = reading.value !== null && reading.value !== undefined;
  return h("li", { class: "reading", key: reading.id, "data-reading": reading.id },
    h("span", {}, `${unit ? unitNumber(unit) : ""} ${reading.series} `, h("span", { class: "soft keep" }, age(reading.captured_ms, ctx.time))),
    plot(reading),
    h("b", { class: "number" }, isGood ? `${amount(reading.value)} ${reading.unit_text}` : say("readings.invalid")));
}

/** A small plot: ends where the data ends, a gap stays a gap, the limit is a dashed line. */
export function plot({ history, limit }) {
  const known = (history ?? []).filter(([, value]) => typeof value === "number");
  if (known.length < 2) return h("span", {});
  const times = known.map(([at]) => at);
  const values = known.map(([, value]) => value);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const low = Math.min(...values);
  const high = Math.max(...values, limit ?? -Infinity);
  const x = (at) => 1 + ((at - from) / (to - from || 1)) * (PLOT_W - 2);
  const y = (value) => PLOT_H - 3 - ((value - low) / (high - low || 1)) * (PLOT_H - 6);
  const steps = times.slice(1).map((at, n) => at - times[n]).sort((one, other) => one - other);
  const usual = steps[Math.floor(steps.length / 2)];
  let path = "";
  let wasGap = true;
  let before = null;
  for (const [at, value] of history) {
    const isKnown = typeof value === "number";
    if (isKnown) path += `${wasGap || at - before > usual * GAP_FACTOR ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)} `;
    wasGap = !isKnown;
    before = at;
  }
  return h("svg", { class: "plot", viewBox: `0 0 ${PLOT_W} ${PLOT_H}`, "aria-hidden": "true" },
    limit === null || limit === undefined ? null : h("line", { class: "limit", x1: 0, x2: PLOT_W, y1: y(limit), y2: y(limit) }),
    h("path", { class: "curve", d: path }));
}

export function picturesPart(ctx) {
  const { state, say } = ctx;
  return h("section", { class: "panel pictures", key: "pictures" },
    h("div", { class: "panel-head" }, h("h2", {}, say("pictures.title")), h("span", { class: "soft" }, say("pictures.note"))),
    state.pictures.length
      ? h("ul", { class: "picture-list", key: "list" }, state.pictures.slice(0, PICTURES_SHOWN).map((picture) => pictureItem(ctx, picture)))
      : h("p", { class: "soft none", key: "none" }, say("pictures.none")),
    state.pictures.length > PICTURES_SHOWN
      ? h("button", { class: "more", "data-hidden": state.pictures.length - PICTURES_SHOWN, onclick: () => ctx.openSheet({ name: "pictures" }) },
        say("more", { n: state.pictures.length - PICTURES_SHOWN }))
      : null);
}

export function pictureItem(ctx, picture) {
  const { say, time } = ctx;
  const unit = ctx.unit(picture.unit);
  const words = [
    `${unit ? unitNumber(unit) : ""} ${clock(picture.captured_ms, time.nowMs, { seconds: false })}`,
    say(picture.is_small ? "picture.small" : "picture.full"),
  ].join(" ");
  return h("li", { key: picture.id },
    h("button", { class: "picture", onclick: () => ctx.openSheet({ name: "picture", id: picture.id }) },
      h("img", { src: picture.url, alt: picture.caption, loading: "lazy" }), h("span", {}, words)));
}

/** Of this node's own links: a page of its own, to read and to print. */
function openReport() {
  window.open("/report", "_blank", "noopener");
}

export function linksPart(ctx, grows = false) {
  const { state, say, time } = ctx;
  const names = [...new Set(state.units.flatMap((unit) => (unit.links ?? []).map((link) => link.name)))].sort();
  const count = (name, wanted) => state.units.filter((unit) =>
    (unit.links ?? []).some((link) => link.name === name && (unit.state === "lost" ? "unknown" : link.state) === wanted)).length;
  return h("section", { class: `panel links${grows ? " grow" : ""}`, key: "links" },
    h("div", { class: "panel-head" }, h("h2", {}, say("links.title")), h("span", { class: "soft" }, say("links.note")),
      h("button", { class: "small", "data-act": "report", disabled: !time.isLive, onclick: openReport }, say("links.report_own"))),
    names.length ? h("table", {},
      h("thead", {}, h("tr", {}, h("td", {}), STATES.map((name) => h("th", { class: "number" }, say(`link.${name}`))))),
      h("tbody", {}, names.map((name) => h("tr", {}, h("td", { class: "keep" }, linkName(say, name)), STATES.map((each) => h("td", { class: "number" }, count(name, each)))))))
      : h("p", { class: "soft none" }, say("links.none")));
}
