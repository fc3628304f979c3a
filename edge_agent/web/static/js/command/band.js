// SPDX-License-Identifier: Apache-2.0
/** The alarm band: one alarm large, the others in one line; a quiet line when there is none. It covers nothing. */

import { age, clock, exactDuration, place, placeDms, running } from "../age.js";
import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { bandAlarm, isLate, lastAlarm, openAlarms, takenAlarms } from "./alarms.js";
import { ago, alsoText, aged, dueText, linkNames, unitName, whatWord, who } from "./naming.js";

const SHAPES = { sos: "sos", threat: "threat", lost: "lost", alarm: "alarm" };

export function bandParts(ctx) {
  const { state, time } = ctx;
  const alarm = bandAlarm(state);
  const parts = [];
  if (!time.isLive) parts.push(lostServerBand(ctx));
  else if (ctx.line.gap) parts.push(reconnectedBand(ctx));
  if (alarm) parts.push(alarm.kind === "lost" ? lostBand(ctx, alarm) : urgentBand(ctx, alarm));
  if (time.isLive && !ctx.sound.isRunning) parts.push(soundBand(ctx));
  const others = othersLine(ctx, alarm);
  if (others) parts.push(others);
  else if (!alarm && time.isLive) parts.push(quietLine(ctx));
  const spoken = alarm ? `${ctx.say(`band.${alarm.kind}`)} ${unitsText(ctx, alarm)}` : "";
  return h("section", { class: "bands", key: "bands", "data-band": alarm?.kind ?? "none", "aria-label": ctx.say("band.region") },
    h("p", { class: "only-heard", role: "alert", "aria-live": alarm?.kind === "sos" ? "assertive" : "polite" }, spoken), ...parts);
}

function unitsText(ctx, alarm) {
  const names = alarm.units.map((id) => unitName(ctx.unit(id)) || id);
  return names.length > 2 ? names.slice(0, 6).join(ctx.say("comma")) + (names.length > 6 ? ` +${names.length - 6}` : "") : names.join(" · ");
}

function urgentBand(ctx, alarm) {
  const { say, time } = ctx;
  const isSos = alarm.kind === "sos";
  const waitedMs = time.nowMs - alarm.received_ms;
  return h("div", { class: `band ${alarm.kind}`, key: `band-${alarm.id}`, "data-alarm": alarm.id },
    h("div", { class: "word" }, shape(SHAPES[alarm.kind]), h("span", {}, say(`band.${alarm.kind}`))),
    h("div", { class: "facts" },
      h("p", { class: "unit" }, unitsText(ctx, alarm)),
      h("p", {}, [
        isSos ? say("band.pressed", { at: `${alarm.is_estimated ? say("about") : ""}${clock(alarm.raised_ms, time.nowMs)}` }) : clock(alarm.raised_ms, time.nowMs),
        ago(ctx, alarm.raised_ms), arrivedText(ctx, alarm),
      ].filter(Boolean).join(say("sep"))),
      positionLine(ctx, alarm),
      alarm.text ? h("p", { class: "strong" }, alarm.text) : null,
      alarm.back_ms ? h("p", { class: "strong" }, say("band.value_back", { at: clock(alarm.back_ms, time.nowMs) })) : null,
      alarm.withdrawn_ms ? h("p", { class: "strong" }, say("band.withdrawn", { at: clock(alarm.withdrawn_ms, time.nowMs) }))
        : isSos ? h("p", { class: "strong" }, say("band.team_sees", { what: say("sos.received") })) : null),
    h("div", { class: "waited" }, h("span", {}, say("band.unconfirmed")),
      h("b", {}, time.isLive ? running(waitedMs) : clock(alarm.received_ms, time.nowMs)),
      isLate(alarm, time.nowMs) ? h("span", { class: "strong" }, say("band.unconfirmed_60")) : null),
    confirmButton(ctx, alarm, isSos ? "band.confirm" : "band.acknowledge"));
}

function arrivedText({ say }, alarm) {
  if (typeof alarm.latency_s !== "number") return "";
  const link = alarm.via.length ? `${say("by_link", { link: linkNames(say, alarm.via) })} ` : "";
  return say("band.arrived", { link, latency: `${alarm.latency_s.toFixed(1)}\u00a0s` });
}

function positionLine(ctx, alarm) {
  const { say } = ctx;
  const at = alarm.position ?? ctx.unit(alarm.units[0])?.position;
  if (!at) return h("p", {}, say("band.no_position"));
  const isDms = ctx.ui.dms;
  return h("p", {},
    h("button", { class: "coordinates", onclick: () => ctx.toggleDms() }, (isDms ? placeDms : place)(at.lat, at.lon)),
    say("sep"), aged(ctx, "band.position", at.captured_ms), at.system ? [say("sep"), ctx.system(at.system)] : null, say("sep"), at.datum);
}

function confirmButton(ctx, alarm, word) {
  const { say, state, time } = ctx;
  const why = !time.isLive ? say("lost_server.confirm") : state.duty ? say("band.as", { name: state.duty.name }) : say("band.as_nobody");
  return h("button", {
    class: "confirm", "data-act": "confirm", disabled: !time.isLive,
    onclick: () => (state.duty ? ctx.act("/api/confirm", { alarm: alarm.id }) : ctx.openSheet({ name: "duty" })),
  }, h("b", {}, say(word)), h("span", {}, why));
}

function lostBand(ctx, alarm) {
  const { say, time } = ctx;
  const unit = ctx.unit(alarm.units[0]);
  const isGroup = alarm.units.length > 1;
  const headline = isGroup || !unit ? say("band.group", { n: alarm.units.length, at: clock(alarm.raised_ms, time.nowMs, { seconds: false }) })
    : [unitName(unit), say("sep"), time.isLive
      ? say("band.silent_for", { age: exactDuration(time.nowMs - unit.last_heard_ms) })
      : say("band.silent_since", { at: clock(unit.last_heard_ms, time.nowMs) })];
  const allBy = alarm.via.length === 1 ? [say("band.all_by", { link: linkNames(say, alarm.via) })] : [];
  const details = isGroup || !unit ? [...allBy, unitsText(ctx, alarm)].join(say("sep")) : lostDetails(ctx, unit).join(say("sep"));
  return h("div", { class: "band lost", key: `band-${alarm.id}`, "data-alarm": alarm.id },
    h("div", { class: "word" }, shape("lost"), h("span", {}, say("band.lost"))),
    h("div", { class: "facts" }, h("p", { class: "unit" }, headline), h("p", {}, details),
      isLate(alarm, time.nowMs) ? h("p", { class: "strong" }, say("band.unconfirmed_60")) : null),
    h("button", {
      class: "other", disabled: !time.isLive,
      onclick: () => ctx.openSheet({ name: "order", to: alarm.units, text: say("orders.report_in") }),
    }, say("band.order_report")),
    confirmButton(ctx, alarm, "band.acknowledge"));
}

function lostDetails(ctx, unit) {
  const { say, time } = ctx;
  const at = unit.position;
  return [
    say("band.due", { due: dueText(unit.due_s) }),
    at ? say("band.last_position", { at: clock(at.captured_ms, time.nowMs), place: place(at.lat, at.lon) }) : say("band.no_position"),
    unit.last_link ? say("band.last_link", { link: linkNames(say, [unit.last_link]) }) : null,
    unit.last_received ? say("band.last_received", { what: unit.last_received.text || whatWord(say, unit.last_received.what) }) : null,
  ].filter(Boolean);
}

function soundBand(ctx) {
  const { say } = ctx;
  return h("div", { class: "band lost thin", key: "band-sound", "data-band-sound": "" },
    h("div", { class: "word" }, shape("muted"), h("span", {}, say("band.sound"))),
    h("div", { class: "facts" }, h("p", {}, say("band.sound_why"))),
    h("button", { class: "confirm", onclick: () => ctx.enableSound() }, h("b", {}, say("band.sound_enable"))));
}

function lostServerBand(ctx) {
  const { say, line, time } = ctx;
  return h("div", { class: "band server", key: "band-server", role: "alert" },
    h("div", { class: "word" }, shape("cross"), h("span", {}, say("lost_server.title", { time: running(time.silentMs) }))),
    h("div", { class: "facts" }, h("p", {}, say("lost_server.what", { at: clock(time.nowMs) }))),
    h("button", { class: "confirm", onclick: () => line.retryNow() }, h("b", {}, say("lost_server.retry", { n: Math.max(1, line.tries) }))));
}

function reconnectedBand(ctx) {
  const { say, line, state } = ctx;
  const { gap } = line;
  const fresh = state.events.filter((event) => event.at_ms > gap.fromMs && event.at_ms <= gap.toMs).length;
  const what = fresh ? say("reconnected.events", { n: fresh }) : say("reconnected.nothing");
  return h("div", { class: "band server thin", key: "band-back", role: "status" },
    h("div", { class: "facts" }, h("p", { class: "strong" },
      say("reconnected", { time: running(gap.ms), from: clock(gap.fromMs), to: clock(gap.toMs), what }))),
    h("button", { class: "confirm", onclick: () => { line.gap = null; ctx.render(); } }, h("b", {}, say("reconnected.ok"))));
}

function othersLine(ctx, shown) {
  const { state, say } = ctx;
  const open = openAlarms(state);
  const waiting = open.filter((alarm) => alarm !== shown);
  const taken = takenAlarms(state);
  if (!waiting.length && !taken.length) return null;
  const first = waiting[0] ?? taken[0];
  const text = waiting.length
    ? say("band.more", { n: waiting.length, first: `${say(`band.${first.kind}`)} ${unitsText(ctx, first)}` })
    : `${unitsText(ctx, first)}${say("sep")}${sinceText(ctx, first)}${say("sep")}${takenText(ctx, first)}`;
  return h("p", { class: "band-line", key: "band-others" },
    shape(SHAPES[first.kind]), waiting.length ? null : h("b", {}, say(`band.${first.kind}`)), h("span", {}, text),
    h("span", { class: "end" }, say("band.taken", { open: open.length, taken: taken.length })));
}

function sinceText(ctx, alarm) {
  const unit = ctx.unit(alarm.units[0]);
  return age(alarm.kind === "lost" && unit ? unit.last_heard_ms : alarm.raised_ms, ctx.time);
}

function takenText(ctx, alarm) {
  const word = alarm.kind === "sos" ? "band.confirmed_by" : "band.acked_by";
  return ctx.say(word, { name: who(ctx.say, alarm.confirmed), at: clock(alarm.confirmed.at_ms, ctx.time.nowMs) })
    + alsoText(ctx.say, alarm, ctx.time.nowMs);
}

function quietLine(ctx) {
  const { say, time } = ctx;
  const last = lastAlarm(ctx.state);
  const words = last && [
    `${say(`band.${last.kind}`)} ${unitsText(ctx, last)} ${clock(last.raised_ms, time.nowMs)}`,
    last.cleared_ms ? say("band.heard_again", { at: clock(last.cleared_ms, time.nowMs) }) : null,
    last.closed ? say("band.closed_by", { name: who(say, last.closed), at: clock(last.closed.at_ms, time.nowMs) }) + alsoText(say, last, time.nowMs)
      : last.confirmed ? takenText(ctx, last) : null,
  ].filter(Boolean).join(say("comma"));
  return h("p", { class: "band-line quiet", key: "band-quiet" }, shape("quiet"), h("span", {}, say("band.quiet")),
    h("span", { class: "soft" }, last ? say("band.last", { what: words }) : say("band.last_none")));
}
