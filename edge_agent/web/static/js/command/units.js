// SPDX-License-Identifier: Apache-2.0
/** Who needs attention: exceptions as cards, units on time as compact rows, oldest report first. */

import { age, clock } from "../age.js";
import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { RANKS } from "./alarms.js";
import { dueText, linkName, unitName, who } from "./naming.js";

const STATE_RANK = { lost: 5, back: 6, late: 7, noted: 8, on_time: 9 };

/** The alarm of highest rank of `unit` that is not over. */
export function alarmOf(state, unit) {
  return state.alarms
    .filter((alarm) => alarm.units.includes(unit.id) && !alarm.cleared_ms && !alarm.closed)
    .sort((one, other) => RANKS[one.kind] - RANKS[other.kind] || Number(Boolean(one.confirmed)) - Number(Boolean(other.confirmed)))[0] ?? null;
}

/** `{id, unit, alarm, mark, look, rank}` of every unit: what its shape is and how it is ranked. */
export function rankedUnits(state) {
  return state.units.map((unit) => {
    const alarm = alarmOf(state, unit);
    const mark = alarm ? { sos: "sos", threat: "threat", lost: "lost", alarm: "alarm" }[alarm.kind] : unit.state;
    const look = !alarm ? "" : alarm.kind === "sos" && !alarm.confirmed ? "sos" : alarm.kind === "lost" ? "lost" : alarm.kind === "alarm" && !alarm.confirmed ? "lost" : "";
    const rank = alarm ? RANKS[alarm.kind] + (alarm.confirmed ? 0.5 : 0) : STATE_RANK[unit.state] ?? 9;
    return { id: unit.id, unit, alarm, mark, look, rank };
  }).sort((one, other) => one.rank - other.rank || (one.unit.last_heard_ms ?? 0) - (other.unit.last_heard_ms ?? 0));
}

export function unitsPart(ctx) {
  const { state, say, pager, time, ui } = ctx;
  if (!state.units.length) return emptyPart(ctx);
  const wanted = ui.search.trim().toLowerCase();
  const all = rankedUnits(state).filter((each) => !wanted || unitName(each.unit).toLowerCase().includes(wanted));
  const cards = pager.steady("cards", all.filter((each) => each.rank < 9));
  const rows = pager.steady("rows", all.filter((each) => each.rank >= 9));
  const cut = pager.cut("cards", cards);
  const cutRows = pager.cut("rows", rows);
  return h("section", { class: "panel units", key: "units", "aria-label": say("units.attention") },
    h("div", { class: "panel-head" }, h("h2", {}, `${say("units.attention")} ${cards.length}`),
      h("span", { class: "soft" }, say("units.last_heard"))),
    h("ul", { class: "cards", "data-list": "cards", "data-total": cards.length, "data-room": "share", "data-share": 0.56 }, cut.shown.map((each) => card(ctx, each))),
    cards.length ? null : h("p", { class: "soft no-exception" }, say("units.no_exception")),
    moreButton(ctx, "cards", cards, cut),
    h("div", { class: "panel-head ruled" },
      h("h2", {}, time.isLive ? `${say("units.on_time")} ${rows.length}` : `${say("units.on_time_at", { at: clock(time.nowMs) })} ${rows.length}`),
      h("input", {
        class: "search", type: "search", "aria-label": say("units.search"), placeholder: say("units.search"), "data-act": "search",
        oninput: (event) => ctx.search(event.target.value),
      }),
      h("span", { class: "soft" }, say("units.oldest_first"))),
    h("ul", { class: "rows", "data-list": "rows", "data-total": rows.length, "data-columns": time.isLive ? 2 : 1 }, cutRows.shown.map((each) => row(ctx, each))),
    moreButton(ctx, "rows", rows, cutRows));
}

function emptyPart(ctx) {
  const { say } = ctx;
  return h("section", { class: "panel units", key: "units" },
    h("div", { class: "panel-head" }, h("h2", {}, `${say("units.attention")} 0`)),
    h("p", { class: "soft no-exception" }, say("units.none")));
}

/** The button below a list that was cut: how many more, or which page of how many. */
export function moreButton(ctx, name, items, { hidden, page, pages }, words = ["units.more", "units.page"]) {
  if (!hidden) return null;
  const text = page === 1 ? ctx.say(words[0], { n: hidden }) : ctx.say(words[1], { page, pages });
  return h("button", {
    class: "more", "data-more": name, "data-hidden": hidden, onclick: () => { ctx.pager.turn(name, items); ctx.render(); },
  }, text);
}

function card(ctx, { unit, alarm, mark, look }) {
  const isChosen = ctx.ui.chosen === unit.id;
  return h("li", { key: unit.id },
    h("button", {
      class: `card ${look}${isChosen ? " chosen" : ""}`, "data-unit": unit.id, "data-state": alarm?.kind ?? unit.state, onclick: () => ctx.choose(unit.id),
    },
    shape(ctx.time.isLive || alarm ? mark : staleMark(mark)),
    h("span", { class: "name" }, unitName(unit)),
    h("span", { class: "age" }, ageText(ctx, unit)),
    h("span", { class: "reason" }, reasons(ctx, unit, alarm).join(ctx.say("sep")))));
}

function row(ctx, { unit, mark }) {
  return h("li", { key: unit.id },
    h("button", {
      class: `row${ctx.ui.chosen === unit.id ? " chosen" : ""}`, "data-unit": unit.id, "data-state": unit.state, onclick: () => ctx.choose(unit.id),
    },
    shape(ctx.time.isLive ? mark : staleMark(mark)), h("span", { class: "name" }, unitName(unit)),
    h("span", { class: "age" }, ageText(ctx, unit))));
}

export function staleMark(mark) {
  return mark === "on_time" || mark === "back" ? "stale" : mark;
}

function ageText(ctx, unit) {
  return unit.last_heard_ms ? age(unit.last_heard_ms, ctx.time) : ctx.say("units.never");
}

/** Why a unit needs attention, the most important first; at most three. */
function reasons(ctx, unit, alarm) {
  const { say } = ctx;
  const out = [stateWord(ctx, unit, alarm)];
  if (alarm?.text) out.push(alarm.text);
  if (["late", "lost"].includes(unit.state)) out.push(say("state.due", { due: dueText(unit.due_s) }));
  if (unit.state === "lost" && unit.last_link) out.push(say("state.last_by", { link: linkName(say, unit.last_link) }));
  if (unit.store?.is_full) out.push(say("held.store_full"));
  if (unit.note) out.push(unit.note);
  const near = ctx.state.readings.find((reading) => reading.unit === unit.id && reading.nearness >= 0.8);
  if (near) out.push(`${near.series} ${near.value} ${near.unit_text} ${say("readings.limit", { limit: near.limit })}`);
  out.push(...linkReasons(say, unit));
  const waiting = (unit.backlog ?? []).filter((each) => ["picture", "immediate_report", "sos_alarm", "routine_report"].includes(each.kind) && each.bundles);
  if (unit.state !== "lost" && waiting.length) {
    const [most] = waiting;
    out.push(say("state.waiting", { kind: say(`kind.${most.kind}`), n: most.bundles }));
  }
  if (unit.muted_until_ms > ctx.time.nowMs) out.push(say("state.muted", { at: clock(unit.muted_until_ms) }));
  return out.slice(0, 3);
}

function stateWord(ctx, unit, alarm) {
  const { say } = ctx;
  if (alarm?.kind === "sos") {
    if (alarm.confirmed) return say("state.sos_confirmed", { name: who(say, alarm.confirmed) });
    return say(alarm.withdrawn_ms ? "state.sos_withdrawn" : "state.sos");
  }
  if (alarm?.kind === "lost") return alarm.confirmed ? say("state.lost_acked", { name: who(say, alarm.confirmed) }) : say("state.lost");
  if (alarm?.confirmed) return say("state.acked", { what: say(`band.${alarm.kind}`), name: who(say, alarm.confirmed) });
  if (alarm) return say(`band.${alarm.kind}`);
  return say(`state.${unit.state}`);
}

function linkReasons(say, unit) {
  if (unit.state === "lost") return [];
  const links = unit.links ?? [];
  const up = links.filter((link) => link.state === "up");
  const poor = links.filter((link) => link.state !== "up" && link.state !== "unknown");
  if (!poor.length) return [];
  if (up.length === 1 && links.length > 1) return [say("state.only", { link: linkName(say, up[0].name) })];
  return poor.slice(0, 2).map((link) => `${linkName(say, link.name)} ${say(`link.${link.state}`)}`);
}
