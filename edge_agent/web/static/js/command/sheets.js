// SPDX-License-Identifier: Apache-2.0
/** Forms of the command page: they stand in the right column, so that none ever covers an alarm. */

import { clock } from "../age.js";
import { h } from "../dom.js";
import { unitName } from "./naming.js";
import { orderDetail } from "./order_detail.js";
import { pictureItem } from "./wall.js";

const ORDER_LIFETIME_S = 1800;
const MUTE_MINUTES = 30;
const PROFILES = ["normal", "quiet", "emergency", "low-power"];
const GROUP_MARK = "group:"; // no unit's id holds a colon

export function sheetPart(ctx) {
  const part = { duty, order, orderDetail, close, mute, profile, picture, pictures }[ctx.ui.sheet.name];
  return h("div", { class: "right", key: `sheet-${ctx.ui.sheet.name}` }, h("section", { class: "panel grow sheet" }, part(ctx, ctx.ui.sheet)));
}

function form(ctx, { title, note, fields, submit, send }) {
  const { say } = ctx;
  return h("form", {
    onsubmit: (event) => {
      event.preventDefault();
      send(new FormData(event.target));
    },
  }, h("h2", {}, title), note ? h("p", { class: "soft" }, note) : null, fields,
  ctx.ui.refused ? h("p", { class: "strong", role: "alert" }, say("refused", { why: ctx.ui.refused })) : null,
  h("p", { class: "sheet-buttons" }, h("button", { class: "primary", type: "submit", disabled: !ctx.time.isLive }, submit),
    h("button", { type: "button", onclick: () => ctx.closeSheet() }, say("sheet.cancel"))));
}

function duty(ctx) {
  const { say, state } = ctx;
  return form(ctx, {
    title: say("duty.title"), note: say("duty.why"), submit: say("duty.take"),
    fields: [
      h("label", {}, say("duty.name"), h("input", { name: "name", required: true, maxlength: 40, autocomplete: "off", mounted: (node) => { node.value = state.duty?.name ?? ""; queueMicrotask(() => node.focus()); } })),
      h("button", { type: "button", onclick: () => { ctx.enableSound(); ctx.sound.test(); } }, say("sound.test")),
    ],
    send: (given) => ctx.act("/api/duty", { name: given.get("name").trim() }),
  });
}

function order(ctx, sheet) {
  const { say, state } = ctx;
  return form(ctx, {
    title: say("orders.new"), submit: say("orders.send"),
    note: state.duty ? say("band.as", { name: state.duty.name }) : say("band.as_nobody"),
    fields: [
      h("label", {}, say("orders.to"), h("select", { name: "to", mounted: (node) => queueMicrotask(() => { node.value = sheet.to[0] ?? ""; }) },
        h("option", { value: "" }, say("orders.to_all", { n: state.units.length })),
        (state.groups ?? []).map((group) => h("option", { value: `${GROUP_MARK}${group.name}` }, say("orders.to_group", { name: group.name, n: group.units.length }))),
        [...state.units].sort((one, other) => one.number - other.number).map((unit) => h("option", { value: unit.id }, unitName(unit))))),
      h("label", {}, say("orders.text"), h("textarea", { name: "text", required: true, rows: 4, maxlength: 1000, mounted: (node) => { node.value = sheet.text ?? ""; queueMicrotask(() => node.focus()); } })),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "withdraw" }), h("span", {}, say("orders.withdraw_note"))),
    ],
    send: (given) => ctx.asDuty("/api/order", {
      ...receiver(given.get("to")), text: given.get("text").trim(), lifetime_s: ORDER_LIFETIME_S, flow: given.get("withdraw") ? "withdraw" : "order",
    }),
  });
}

/** Whom an order is for: a group by its name, one unit, or all. */
function receiver(wanted) {
  if (wanted.startsWith(GROUP_MARK)) return { group: wanted.slice(GROUP_MARK.length) };
  return { to: wanted ? [wanted] : [] };
}

function reasonField(say, word) {
  return h("label", {}, say(word), h("textarea", { name: "reason", required: true, rows: 3, maxlength: 400, mounted: (node) => queueMicrotask(() => node.focus()) }));
}

function close(ctx, sheet) {
  const { say } = ctx;
  return form(ctx, {
    title: say("unit.close_sos"), submit: say("unit.close_sos"), fields: reasonField(say, "unit.close_reason"),
    send: (given) => ctx.asDuty("/api/close", { alarm: sheet.alarm, reason: given.get("reason").trim() }),
  });
}

function mute(ctx, sheet) {
  const { say } = ctx;
  return form(ctx, {
    title: say("unit.mute"), note: unitName(ctx.unit(sheet.unit)), submit: say("unit.mute"), fields: reasonField(say, "unit.mute_reason"),
    send: (given) => ctx.asDuty("/api/mute", { unit: sheet.unit, reason: given.get("reason").trim(), minutes: MUTE_MINUTES }),
  });
}

function profile(ctx, sheet) {
  const { say } = ctx;
  const now = ctx.unit(sheet.unit).profile || "normal";
  return form(ctx, {
    title: say("profile.title"), note: unitName(ctx.unit(sheet.unit)), submit: say("orders.send"),
    fields: h("label", {}, say("profile.choose"), h("select", { name: "profile", mounted: (node) => queueMicrotask(() => { node.value = now; node.focus(); }) },
      PROFILES.map((name) => h("option", { value: name }, `${say(`profile.${name}`)}${say("sep")}${say(`profile.${name}.note`)}`)))),
    send: (given) => ctx.asDuty("/api/profile", { unit: sheet.unit, profile: given.get("profile") }),
  });
}

function picture(ctx, sheet) {
  const { say, state } = ctx;
  const shown = state.pictures.find((each) => each.id === sheet.id);
  if (!shown) return h("p", { class: "soft" }, say("pictures.none"));
  return h("div", { class: "one-picture" },
    h("h2", {}, unitName(ctx.unit(shown.unit)), say("sep"), clock(shown.captured_ms, ctx.time.nowMs)),
    h("p", { class: "soft" }, say(shown.is_small ? "picture.small" : "picture.full"), shown.caption ? `${say("sep")}${shown.caption}` : ""),
    h("img", { class: ctx.ui.trueColours ? "true-colours" : "", src: shown.url, alt: shown.caption || unitName(ctx.unit(shown.unit)) }),
    h("p", { class: "sheet-buttons" },
      ctx.prefs.view === "night" ? h("button", { onclick: () => ctx.toggleColours() }, say("picture.true_colours")) : null,
      h("button", { onclick: () => ctx.closeSheet() }, say("unit.close"))));
}

function pictures(ctx) {
  const { say, state, pager } = ctx;
  const cut = pager.cut("pictures-all", state.pictures);
  return h("div", {}, h("h2", {}, say("pictures.title")),
    h("ul", { class: "picture-list", "data-list": "pictures-all", "data-total": state.pictures.length, "data-columns": 2 }, cut.shown.map((each) => pictureItem(ctx, each))),
    cut.hidden ? h("button", { class: "more", onclick: () => { pager.turn("pictures-all", state.pictures); ctx.render(); } },
      cut.page === 1 ? say("more", { n: cut.hidden }) : say("page", { page: cut.page, pages: cut.pages })) : null,
    h("p", { class: "sheet-buttons" }, h("button", { onclick: () => ctx.closeSheet() }, say("unit.close"))));
}
