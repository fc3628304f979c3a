// SPDX-License-Identifier: Apache-2.0
/** One order in the right column: its roll call by name, and the way to take it back. */

import { clock } from "../age.js";
import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { alsoText, unitName, who } from "./naming.js";

const KINDS = ["not_reached", "delivered", "read", "ended"]; // whom to call first
const SHAPES = { not_reached: "open", delivered: "sending", read: "check", ended: "cross" };
const OVER = ["done", "cancelled", "expired", "refused"];

/** "40 teams: 31 read, 6 delivered, 3 not reached". */
export function rollText(say, order) {
  const lists = order.roll ?? { read: [], delivered: [], not_reached: order.to, ended: [] };
  const counts = ["read", "delivered", "not_reached", "ended"].filter((name) => lists[name].length);
  return say("roll.sum", { n: order.to.length, what: counts.map((name) => say(`roll.${name}`, { n: lists[name].length })).join(say("comma")) });
}

export function orderDetail(ctx, sheet) {
  const { say, state, time } = ctx;
  const order = state.orders.find((each) => each.id === sheet.id);
  if (!order) return h("p", { class: "soft" }, say("orders.none"));
  const lists = order.roll ?? { read: [], delivered: [], not_reached: order.to, ended: [] };
  const isOver = order.cancelled || order.to.every((unit) => OVER.includes(order.states?.[unit] ?? order.state));
  return h("div", { class: "order-detail", "data-order": order.id },
    h("h2", {}, order.is_withdrawal ? [shape("alarm"), " ", say("orders.withdraw")] : say("orders.one"), order.group ? `${say("sep")}${order.group}` : ""),
    h("p", {}, order.text),
    order.where ? h("p", { class: "soft" }, say("orders.given_at", { where: order.where })) : null,
    h("p", { class: "soft" }, say("orders.valid", { at: clock(order.expires_ms, time.nowMs, { seconds: false }) })),
    order.cancelled ? h("p", { class: "strong" }, say("orders.cancelled_by", { name: who(say, order.cancelled), at: clock(order.cancelled.at_ms, time.nowMs) }), alsoText(say, order, time.nowMs)) : null,
    h("p", { class: "strong", "data-roll": "sum" }, rollText(say, order)),
    KINDS.map((name) => rollList(ctx, name, lists[name])),
    ctx.ui.refused ? h("p", { class: "strong", role: "alert" }, say("refused", { why: ctx.ui.refused })) : null,
    h("p", { class: "sheet-buttons" },
      isOver ? null : h("button", {
        "data-act": "cancel-order", disabled: !time.isLive, onclick: () => ctx.asDuty("/api/order/cancel", { order: order.id }),
      }, say("orders.cancel")),
      h("button", { onclick: () => ctx.closeSheet() }, say("unit.close"))));
}

function rollList(ctx, name, units) {
  if (!units.length) return null;
  const names = units.map((id) => (ctx.unit(id) ? unitName(ctx.unit(id)) : id)).sort();
  return h("div", { class: "roll", "data-roll": name, key: name },
    h("h3", {}, shape(SHAPES[name]), " ", ctx.say(`roll.${name}`, { n: units.length })),
    h("p", {}, names.join(ctx.say("sep"))));
}
