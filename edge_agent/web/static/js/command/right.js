// SPDX-License-Identifier: Apache-2.0
/** Right column: orders, what waits in the field, latest events; on a laptop these are tabs, with links and readings. */

import { age, clock, size } from "../age.js";
import { h } from "../dom.js";
import { shape, squares } from "../shapes.js";
import { hasWord } from "../words.js";
import { aged, alsoText, forecast, linkName, linkNames, unitName, unitNumber, whatWord, who } from "./naming.js";
import { rollText } from "./order_detail.js";
import { moreButton } from "./units.js";
import { linksPart, picturesPart, readingsPart } from "./wall.js";

const FILLED = { accepted: 1, forwarded: 2, delivered: 3, read: 4, done: 5 };
const KINDS = ["sos_alarm", "immediate_report", "position_reading", "routine_report", "picture", "history"];

export function wallColumn(ctx) {
  return h("div", { class: "right", key: "right" }, ordersPart(ctx), waitingPart(ctx), eventsPart(ctx));
}

const TABS = {
  orders: (ctx) => [ordersPart(ctx, true), waitingPart(ctx)],
  waiting: (ctx) => [waitingPart(ctx, true)],
  links: (ctx) => [linksPart(ctx, true)],
  readings: (ctx) => [readingsPart(ctx, true), picturesPart(ctx)],
  latest: (ctx) => [eventsPart(ctx)],
};

export function tabbedColumn(ctx) {
  const { say, state, ui } = ctx;
  const waiting = backlogRows(state).reduce((sum, row) => sum + row.bundles, 0);
  const words = {
    orders: say("orders.tab", { n: state.orders.length }), waiting: say("waiting.tab", { n: waiting }), links: say("links.title"),
    readings: say("readings.tab"), latest: say("events.title"),
  };
  return h("div", { class: "right tabbed", key: "right" },
    h("div", { class: "tabs", role: "tablist" }, Object.entries(words).map(([name, word]) => h("button", {
      role: "tab", "aria-selected": String(ui.tab === name), "data-tab": name, onclick: () => ctx.openTab(name),
    }, word))),
    TABS[ui.tab](ctx));
}

function ordersPart(ctx, grows = false) {
  const { state, say, pager, time } = ctx;
  const waiting = state.orders.filter((order) => ["accepted", "forwarded"].includes(order.state)).length;
  const held = state.orders.filter((order) => order.state === "held").length;
  const cut = pager.cut("orders", state.orders);
  return h("section", { class: `panel orders${grows ? " grow" : ""}`, key: "orders" },
    h("div", { class: "panel-head" }, h("h2", {}, say("orders.title")),
      h("span", { class: "soft" }, say("orders.summary", { waiting, person: held })),
      h("button", { class: "small", "data-act": "order", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "order", to: [] }) }, say("orders.new"))),
    h("div", { class: "order-row labels" }, h("span", {}, say("orders.sent")), h("span", {}, say("orders.what")), h("span", {}, say("orders.state"))),
    state.orders.length ? null : h("p", { class: "soft none" }, say("orders.none")),
    h("ul", { class: "list", "data-list": "orders", "data-total": state.orders.length }, cut.shown.map((order) => orderRow(ctx, order))),
    moreButton(ctx, "orders", state.orders, cut, ["more", "page"]));
}

function orderRow(ctx, order) {
  const { say, state, time } = ctx;
  const to = order.to.length === 1 ? unitNumber(ctx.unit(order.to[0]) ?? { number: 0 })
    : order.group || say("orders.to_all", { n: order.to.length || state.units.length });
  const open = () => ctx.openSheet({ name: "orderDetail", id: order.id });
  return h("li", { class: "order-row", key: order.id, "data-order-state": order.state },
    h("span", { class: "soft" }, clock(order.at_ms, time.nowMs, { seconds: false })),
    h("span", {}, h("button", { class: "order-text", "data-act": "open-order", onclick: open },
      order.is_withdrawal ? h("b", {}, say("orders.withdraw"), say("sep")) : null, order.text, h("span", { class: "keep" }, ` → ${to}`))),
    h("span", {}, orderState(ctx, order), h("span", { class: "soft below" }, orderNote(ctx, order))));
}

function orderState(ctx, order) {
  const { say } = ctx;
  if (order.state === "held") return h("b", {}, say("order.held"));
  if (order.is_withdrawal) return h("b", {}, rollText(say, order));
  const counts = Object.entries(order.counts ?? {}).filter(([, n]) => n);
  const words = counts.length > 1
    ? counts.map(([name, n]) => `${orderWord(say, name, [])} ${n}`).join(say("sep"))
    : orderWord(say, order.state, order.via);
  return [FILLED[order.state] ? [squares(FILLED[order.state], 5), " "] : [shape("cross"), " "], words];
}

function orderWord(say, name, via) {
  if (name === "forwarded") return via?.length ? say("order.forwarded", { link: linkNames(say, via) }) : say("order.forwarded_plain");
  return say(`order.${name}`);
}

function orderNote(ctx, order) {
  const { say, time } = ctx;
  if (order.state === "held") return say("orders.too_late");
  if (order.cancelled) return say("orders.cancelled_by", { name: who(say, order.cancelled), at: clock(order.cancelled.at_ms, time.nowMs) }) + alsoText(say, order, time.nowMs);
  if (order.reply) return order.reply;
  if (["accepted", "forwarded"].includes(order.state) && order.expires_ms) {
    return say("orders.valid", { at: clock(order.expires_ms, time.nowMs, { seconds: false }) });
  }
  return order.state_at_ms ? clock(order.state_at_ms, time.nowMs) : "";
}

/** Backlog of all units that speak, by kind in sending order: `{kind, bundles, bytes, expected_s}`. */
export function backlogRows(state) {
  const speaking = state.units.filter((unit) => unit.state !== "lost" && unit.reported_ms);
  return KINDS.map((kind) => {
    const rows = speaking.flatMap((unit) => unit.backlog ?? []).filter((row) => row.kind === kind);
    const waiting = rows.filter((row) => row.bundles > 0);
    const isKnown = waiting.every((row) => row.expected_s !== null && row.expected_s !== undefined);
    return {
      kind, bundles: sum(rows, "bundles"), bytes: sum(rows, "bytes"),
      expected_s: !waiting.length ? undefined : isKnown ? Math.max(...waiting.map((row) => row.expected_s)) : null,
    };
  });
}

function sum(rows, name) {
  return rows.reduce((total, row) => total + row[name], 0);
}

function waitingPart(ctx, isAlone = false) {
  const { state, say } = ctx;
  const reported = state.units.filter((unit) => unit.reported_ms && unit.state !== "lost");
  const oldest = Math.min(...reported.map((unit) => unit.reported_ms));
  const note = reported.length ? aged(ctx, "waiting.age", oldest) : say("waiting.none");
  return h("section", { class: `panel waiting${isAlone ? " grow" : ""}`, key: "waiting" },
    h("div", { class: "panel-head" }, h("h2", {}, say("waiting.title")), h("span", { class: "soft" }, note)),
    h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, say("waiting.order")), h("th", { class: "number" }, say("waiting.items")),
        h("th", { class: "number" }, say("waiting.size")), h("th", { class: "number" }, say("waiting.expected")))),
      h("tbody", {}, backlogRows(state).map((row) => backlogRow(ctx, row)))),
    unknownPart(ctx));
}

export function backlogRow(ctx, row) {
  const { say } = ctx;
  return h("tr", {}, h("td", {}, say(hasWord(`kind.${row.kind}`) ? `kind.${row.kind}` : "what.other")),
    h("td", { class: "number" }, row.bundles), h("td", { class: "number" }, row.bundles ? size(row.bytes) : "–"),
    h("td", { class: "number wraps" }, row.bundles ? forecast(row.expected_s) ?? say("waiting.no_forecast") : "–"));
}

/** Silent units: their backlog is not known, with what they last said. */
function unknownPart(ctx) {
  const { state, say } = ctx;
  const silent = state.units.filter((unit) => unit.state === "lost" || !unit.reported_ms);
  if (!silent.length) return state.units.length ? h("p", { class: "unknown soft" }, say("waiting.all", { n: state.units.length })) : null;
  const [first] = silent;
  const last = first.reported_ms
    ? aged(ctx, "waiting.unknown", first.reported_ms, {}) && waitingLast(ctx, first) : "";
  return h("p", { class: "unknown" }, h("b", {}, say("waiting.unknown", { unit: unitName(first) })), " ", h("span", { class: "soft" }, last),
    silent.length > 1 ? h("span", { class: "soft below" }, say("waiting.unknown_more", { n: silent.length - 1 })) : null);
}

function waitingLast(ctx, unit) {
  const n = sum(unit.backlog ?? [], "bundles");
  const bytes = size(sum(unit.backlog ?? [], "bytes"));
  const text = age(unit.reported_ms, ctx.time);
  return ctx.say(ctx.time.isLive ? "waiting.unknown_last" : "waiting.unknown_at", { age: text, n, size: bytes });
}

function eventsPart(ctx) {
  const { state, say, pager } = ctx;
  const cut = pager.cut("events", state.events);
  return h("section", { class: "panel events grow", key: "events" },
    h("div", { class: "panel-head" }, h("h2", {}, say("events.title"))),
    state.events.length ? null : h("p", { class: "soft none" }, say("events.none")),
    h("ul", { class: "list", "data-list": "events", "data-total": state.events.length }, cut.shown.map((event) => eventRow(ctx, event))),
    moreButton(ctx, "events", state.events, cut, ["more", "page"]));
}

function eventRow(ctx, event) {
  const unit = ctx.unit(event.unit);
  return h("li", { class: "event", key: event.id },
    h("span", { class: "soft" }, clock(event.at_ms, ctx.time.nowMs)),
    h("span", { class: event.code === "sos" ? "strong" : "" }, unit ? `${unitNumber(unit)} ` : "", eventText(ctx, event)));
}

function eventText(ctx, event) {
  const { say } = ctx;
  const values = { ...event.values };
  if (event.code === "link") {
    Object.assign(values, { link: linkName(say, values.link), from: say(`link.${values.from}`), to: say(`link.${values.to}`) });
  }
  if (event.code === "picture") values.size = say(`picture.${values.size ?? "full"}`);
  if (event.code === "order") values.state = orderWord(say, values.state, values.via);
  if (event.code === "text" && values.phrase) values.text = say(`phrase.${values.phrase}`);
  const key = `event.${event.code}`;
  const text = hasWord(key) ? say(key, values) : whatWord(say, event.code);
  return values.where ? text + say("sep") + values.where : text;
}
