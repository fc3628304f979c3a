// SPDX-License-Identifier: Apache-2.0
/** The chosen unit in the right column: its links, what is known of a gap, order of arrival, what still waits with it. */

import { age, clock, duration, exactDuration, loss, place, placeDms, rate, roundTrip, size } from "../age.js";
import { h } from "../dom.js";
import { hintWords } from "../hints.js";
import { linkShape, shape } from "../shapes.js";
import { isOpen } from "./alarms.js";
import { holdingsPart } from "./holdings.js";
import { ago, aged, alsoText, forecast, linkName, unitName, whatWord, who } from "./naming.js";
import { backlogRow } from "./right.js";
import { alarmOf, moreButton } from "./units.js";

export function unitPart(ctx, unit) {
  const { say } = ctx;
  return h("div", { class: "right unit-detail", key: `unit-${unit.id}` },
    h("section", { class: "panel grow" },
      h("div", { class: "panel-head" }, h("h2", { class: "unit-title" }, unitName(unit)),
        unit.back_after_s ? h("span", { class: "soft" }, say("unit.back_after", { age: exactDuration(unit.back_after_s * 1000) })) : null,
        actionsPart(ctx, unit)),
      positionLine(ctx, unit), linksTable(ctx, unit), hintsPart(ctx, unit), costsPart(ctx, unit), gapPart(ctx, unit), arrivalsPart(ctx, unit),
      messagesPart(ctx, unit), backlogPart(ctx, unit)));
}

function positionLine(ctx, unit) {
  const { say } = ctx;
  const at = unit.position;
  if (!at) return h("p", { class: "line soft" }, say("unit.no_position"));
  const text = (ctx.ui.dms ? placeDms : place)(at.lat, at.lon);
  return h("p", { class: "line" },
    h("button", { class: "coordinates", "aria-label": `${say("unit.position")} ${text}`, onclick: () => ctx.toggleDms() }, text),
    say("sep"), age(at.captured_ms, ctx.time), at.system ? `${say("sep")}${ctx.system(at.system)}` : "", say("sep"), at.datum);
}

function actionsPart(ctx, unit) {
  const { say, time, state } = ctx;
  const alarm = alarmOf(state, unit);
  const isMutable = alarm && alarm.kind !== "sos";
  const open = state.alarms.find((each) => each.kind !== "sos" && each.units.includes(unit.id) && isOpen(each));
  return h("p", { class: "unit-actions" },
    h("button", { class: "small", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "order", to: [unit.id] }) }, say("orders.new")),
    alarm?.kind === "sos" && alarm.confirmed
      ? h("button", { class: "small", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "close", alarm: alarm.id }) }, say("unit.close_sos")) : null,
    open ? h("button", { class: "small", "data-act": "acknowledge", disabled: !time.isLive, onclick: () => ctx.asDuty("/api/confirm", { alarm: open.id }) },
      say("unit.acknowledge", { what: say(`band.${open.kind}`) })) : null,
    isMutable ? h("button", { class: "small", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "mute", unit: unit.id }) }, say("unit.mute")) : null,
    h("button", { class: "small", "data-act": "unit-profile", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "profile", unit: unit.id }) }, say("profile.word")),
    h("button", { class: "small", "data-act": "close-unit", onclick: () => ctx.choose("") }, say("unit.close")));
}

function linksTable(ctx, unit) {
  const { say } = ctx;
  if (!unit.links?.length) return h("p", { class: "line soft" }, say("links.none"));
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, aged(ctx, "links.link", unit.reported_ms)), h("th", {}, say("links.state")),
      ["rate", "rtt", "loss"].map((name) => h("th", { class: "number" }, say(`links.${name}`))))),
    h("tbody", {}, unit.links.map((link) => {
      const known = unit.state === "lost" ? "unknown" : link.state;
      const isUp = known === "up" || known === "degraded";
      return h("tr", {}, h("td", {}, linkName(say, link.name)),
        h("td", { class: "keep" }, linkShape(known), " ", say(`link.${known}`)),
        h("td", { class: "number" }, isUp ? rate(link.rate_bps) : "–"), h("td", { class: "number" }, isUp ? roundTrip(link.rtt_s) : "–"),
        h("td", { class: "number" }, isUp ? loss(link.loss_ratio) : "–"));
    })));
}

/** What devices there say of its links; nothing where a gap needs the room. */
function hintsPart(ctx, unit) {
  const hints = unit.arrivals?.length ? [] : unit.hints ?? [];
  return hints.length ? h("div", { class: "costs" }, hints.map((hint) => h("p", { class: "line", key: `${hint.link} ${hint.source}`, "data-hint": hint.source },
    h("b", {}, linkName(ctx.say, hint.link)), " ", [...hintWords(ctx.say, hint), ago(ctx, hint.at_ms)].join(ctx.say("sep"))))) : null;
}

/** What its links have cost as it told, and a profile that is not the usual one; in short where a gap needs the room. */
function costsPart(ctx, unit) {
  const { say } = ctx;
  const costs = unit.costs ?? [];
  if (unit.arrivals?.length) {
    const words = costs.filter(isSpent).map((cost) => say("cost.used_up", { link: linkName(say, cost.link) }));
    if (unit.profile) words.unshift(say("profile.now", { profile: say(`profile.${unit.profile}`) }));
    return words.length ? h("p", { class: "line", "data-profile": unit.profile }, words.join(say("sep"))) : null;
  }
  const profile = unit.profile
    ? h("p", { class: "line", key: "profile", "data-profile": unit.profile },
      say("profile.now", { profile: say(`profile.${unit.profile}`) }), say("sep"), say(`profile.${unit.profile}.note`)) : null;
  return costs.length || profile ? h("div", { class: "costs" }, profile, costs.map((cost) => costLine(ctx, unit, cost))) : null;
}

function costLine({ say, time }, unit, cost) {
  const spent = (bytes, budget) => (budget === null ? size(bytes) : say("cost.of", { spent: size(bytes), budget: size(budget) }));
  const until = cost.until_ms ? say("cost.until", { at: clock(cost.until_ms, time.nowMs, { seconds: false }) }) : "";
  const end = isSpent(cost) ? say(unit.profile === "emergency" ? "cost.spent_urgent" : "cost.spent") : until;
  return h("p", { class: "line", key: cost.link, "data-cost": cost.link }, h("b", {}, linkName(say, cost.link)),
    [say("cost.day", { spent: spent(cost.day_bytes, cost.day_budget_bytes) }),
      say("cost.month", { spent: spent(cost.month_bytes, cost.month_budget_bytes) }), end].filter(Boolean).join(say("sep")));
}

function isSpent(cost) {
  const isOver = (bytes, budget) => budget !== null && bytes >= budget;
  return isOver(cost.day_bytes, cost.day_budget_bytes) || isOver(cost.month_bytes, cost.month_budget_bytes);
}

const GAP_WORDS = { received: "unit.received_then", late: "unit.filled_late", missing: "unit.still_there" };

function gapPart(ctx, unit) {
  const { say, time } = ctx;
  const { gap } = unit;
  if (!gap) return null;
  const all = gap.parts.reduce((total, part) => total + part.ms, 0) || 1;
  const missing = gap.parts.filter((part) => part.state === "missing").reduce((total, part) => total + part.ms, 0);
  const span = `${clock(gap.from_ms, time.nowMs, { seconds: false })} – ${clock(gap.to_ms, time.nowMs, { seconds: false })}`;
  const expected = forecast(gap.complete_in_s);
  return h("div", { class: "gap", "data-gap-ms": gap.to_ms - gap.from_ms, "data-parts-ms": all },
    h("div", { class: "panel-head" }, h("h3", {}, say("unit.gap")), h("span", { class: "soft" }, span)),
    h("div", { class: "gap-bar" }, gap.parts.map((part) => h("i", { class: part.state, style: { width: `${(part.ms / all) * 100}%` } }))),
    h("p", { class: "gap-legend" }, ["received", "late", "missing"].map((name) => h("span", {},
      h("i", { class: name }), " ", say(GAP_WORDS[name], { time: duration(missing) }),
      name === "missing" && missing && expected ? `${say("comma")}${say("about")}${expected}` : ""))));
}

function arrivalsPart(ctx, unit) {
  const { say, pager, time } = ctx;
  const arrivals = (unit.arrivals ?? []).map((each) => ({ ...each, id: each.n }));
  if (!arrivals.length) return null;
  const name = "arrivals";
  const cut = pager.cut(name, arrivals);
  return h("div", { class: "arrivals-part" },
    h("div", { class: "panel-head" }, h("h3", {}, say("unit.arrivals")), h("span", { class: "soft" }, say("unit.arrivals_note"))),
    h("div", { class: "arrival-row labels" }, h("span", {}, "#"), h("span", {}, say("unit.arrived")), h("span", {}, say("unit.happened")),
      h("span", {}, say("unit.what")), h("span", { class: "number" }, say("unit.late_by"))),
    h("ul", { class: "list", "data-list": name, "data-total": arrivals.length }, cut.shown.map((each) => h("li", {
      class: "arrival-row", key: each.n, "data-class": each.class,
    }, h("span", {}, each.n), h("span", {}, clock(each.arrived_ms, time.nowMs)), h("span", {}, clock(each.captured_ms, time.nowMs)),
    h("span", {}, h("b", {}, whatWord(say, each.what)), ` ${each.text ?? ""}`, each.count > 1 ? ` ${each.count}` : "", " ",
      h("span", { class: "soft" }, say(`class.${each.class}`))),
    h("span", { class: "number" }, each.arrived_ms - each.captured_ms >= 60_000 ? duration(each.arrived_ms - each.captured_ms) : "")))),
    moreButton(ctx, name, arrivals, cut, ["more", "page"]));
}

function messagesPart(ctx, unit) {
  const { say, pager, time } = ctx;
  const messages = unit.messages ?? [];
  if (!messages.length) return null;
  const cut = pager.cut("messages", messages);
  return h("div", { class: `messages-part${messages.length > 1 ? " many" : ""}` },
    h("div", { class: "panel-head" }, h("h3", {}, say("unit.messages"))),
    h("ul", { class: "list", "data-list": "messages", "data-total": messages.length }, cut.shown.map((each) => h("li", { class: "message", key: each.id },
      h("span", { class: "soft" }, each.is_estimated ? say("about") : "", clock(each.at_ms, time.nowMs)),
      h("span", {}, each.phrase ? say(`phrase.${each.phrase}`) : each.text, " ", h("span", { class: "soft" }, say(`grade.${each.precedence}`)),
        each.cancelled_ms ? h("b", {}, " ", say("unit.message_cancelled", { at: clock(each.cancelled_ms, time.nowMs, { seconds: false }) })) : null),
      each.read
        ? h("span", { class: "soft" }, shape("check"), " ", say("unit.message_is_read", { by: who(say, each.read), at: clock(each.read.at_ms, time.nowMs, { seconds: false }) }), alsoText(say, each, time.nowMs))
        : h("button", { class: "small", disabled: !time.isLive, onclick: () => ctx.asDuty("/api/read", { message: each.id }) }, say("unit.message_read"))))),
    moreButton(ctx, "messages", messages, cut, ["more", "page"]));
}

function backlogPart(ctx, unit) {
  const { say } = ctx;
  const rows = (unit.backlog ?? []).filter((row) => row.bundles);
  const isSilent = unit.state === "lost";
  const note = unit.reported_ms ? aged(ctx, "unit.reported", unit.reported_ms) : say("unit.not_reported");
  return h("div", {},
    h("div", { class: "panel-head ruled" }, h("h3", {}, isSilent ? say("waiting.unknown", { unit: say("unit.still_with") }) : say("unit.still_with")),
      h("span", { class: "soft" }, note)),
    rows.length ? h("table", {}, h("tbody", {}, rows.map((row) => backlogRow(ctx, isSilent ? { ...row, expected_s: null } : row))))
      : h("p", { class: "line soft" }, unit.reported_ms ? say("unit.nothing_waits") : ""),
    holdingsPart(ctx, unit));
}
