// SPDX-License-Identifier: Apache-2.0
/** First screen of the kit: when command last heard it, links, one sentence why, my messages, actions, SOS. */

import { duration } from "../age.js";
import { h } from "../dom.js";
import { linkShape, shape } from "../shapes.js";
import { hasWord } from "../words.js";
import { messageRow, sosRow } from "./messages.js";
import { headPart, linkName, linksPart, lostPart, sosButton, spelledAge } from "./parts.js";

const UNHEARD_MS = 180_000; // three reports of a minute: from then on the headline turns amber
const STARTING_MS = 300_000;
const STORE_LOW_RATIO = 0.9;
const SLOW_BPS = 64_000; // below this pictures wait while text and positions go as usual

export function normalScreen(page) {
  return h("main", { class: "kit", key: "home" }, headPart(page), lostPart(page), contactPart(page), messagesPart(page), undoPart(page),
    actionsPart(page), sosButton(page));
}

function contactPart(page) {
  const { state, say, time } = page;
  const isNever = !state.command_heard_ms;
  const isDown = state.links.length > 0 && state.links.every((link) => link.state === "down");
  const isUnheard = !isNever && (isDown || time.nowMs - state.command_heard_ms > UNHEARD_MS);
  const mark = isDown || isUnheard ? "down" : isNever ? "unknown" : state.links.some((link) => link.state === "up") ? "up" : "degraded";
  return h("section", { class: "kit-contact", key: "contact" },
    h("div", { class: `kit-heard${isUnheard ? " alert" : ""}`, "data-heard": isNever ? "never" : isUnheard ? "long" : "lately" },
      linkShape(mark),
      isNever ? h("p", { class: "big words" }, say("kit.heard_never"))
        : [h("p", {}, say("kit.heard")), h("p", { class: "big" }, spelledAge(page, state.command_heard_ms))]),
    h("div", { class: "kit-more" },
      h("button", { class: "plain-act", "data-act": "links", onclick: () => page.open("links") }, linksWord(page)),
      linksPart(page), h("p", { class: "kit-why" }, storeText(page) || clockText(page) || whyText(page))));
}

/** What a person should know of the links before opening their sheet: a cost nobody said, a profile that is on. */
function linksWord({ state, say }) {
  if (state.links.some((link) => link.asks_cost && !link.tariff)) return say("cost.ask_short");
  return state.profile && state.profile !== "normal" ? say(`profile.${state.profile}`) : say("cost.links");
}

/** A store that fails, takes nothing more, or hardly anything, is said before all else. */
function storeText({ state, say }) {
  const { store } = state;
  if (!store?.quota_bytes) return "";
  if (store.failure) return say("kit.store_failing", { why: store.failure });
  if (store.is_full) return say("kit.store_full");
  return store.used_bytes >= STORE_LOW_RATIO * store.quota_bytes ? say("kit.store_low", { n: Math.floor((100 * store.used_bytes) / store.quota_bytes) }) : "";
}

/** Times on this page were taken by a clock that somebody has moved since. */
function clockText({ state, say }) {
  return state.clock_step_s ? say("kit.clock_moved", { n: duration(1000 * Math.abs(state.clock_step_s)) }) : "";
}

function whyText(page) {
  const { state, say, time } = page;
  const sinceStart = time.nowMs - state.started_ms;
  if (!state.command_heard_ms && sinceStart < STARTING_MS) return say("kit.just_started", { age: duration(sinceStart) });
  const usable = state.links.filter((link) => link.state === "up" || link.state === "degraded");
  if (!usable.length) return say("kit.all_down");
  if (usable.length === 1 && state.links.length > 1 && (usable[0].rate_bps ?? 0) < SLOW_BPS) {
    return say("kit.only_slow", { link: linkName(say, usable[0].name) });
  }
  return state.waiting ? say("kit.some_wait", { n: state.waiting }) : say("kit.nothing_waits");
}

function messagesPart(page) {
  const { state, say, pager, ui } = page;
  if (state.missing.length && !state.messages.length) return missingPart(page);
  const total = state.messages.length + (state.sos ? 1 : 0);
  const note = state.waiting ? say("kit.waiting", { n: state.waiting }) : say("kit.all", { n: total });
  const cut = pager.cut("messages", state.messages);
  return h("section", { class: "kit-messages", key: "messages" },
    h("h2", {}, say("kit.messages"), h("span", {}, note)),
    ui.refused ? h("p", { class: "kit-row", role: "alert" }, say("refused", { why: ui.refused })) : null,
    state.sos ? sosRow(page, state.sos) : null,
    h("ul", { class: "kit-rows", "data-list": "messages", "data-total": state.messages.length }, cut.shown.map((message) => messageRow(page, message))),
    state.messages.length || state.sos ? null : h("p", { class: "kit-row soft" }, say("kit.no_messages")),
    cut.hidden ? h("button", {
      class: "page-button", "data-more": "messages", "data-hidden": cut.hidden, onclick: () => { pager.turn("messages", state.messages); page.render(); },
    }, cut.page === 1 ? say("kit.earlier", { n: cut.hidden }) : say("page", { page: cut.page, pages: cut.pages }), " ",
    shape("down_arrow")) : null);
}

function missingPart({ state, say }) {
  return h("section", { class: "kit-messages", key: "messages" },
    h("h2", {}, say("kit.missing", { n: state.missing.length })),
    h("ul", { class: "kit-rows" }, state.missing.map((each) => h("li", { class: "kit-row", key: each.what },
      h("p", { class: "what" }, say(hasWord(`missing.${each.what}`) ? `missing.${each.what}` : "what.other")),
      h("p", {}, hasWord(`missing.${each.reason}`) ? say(`missing.${each.reason}`) : each.reason)))));
}

/** Five seconds in which a phrase can be taken back; it is stored already. */
function undoPart(page) {
  const { ui, say, time } = page;
  if (!ui.undo) return null;
  const left = Math.max(1, Math.ceil((ui.undo.untilMs - time.nowMs) / 1000));
  return h("div", { class: "kit-toast", role: "status", key: "undo" },
    h("span", {}, say("kit.phrase_sent", { text: say(`phrase.${ui.undo.phrase}`) })),
    h("button", { class: "plain-act", "data-act": "undo-phrase", onclick: () => page.undoPhrase() }, say("kit.phrase_undo", { n: left })));
}

function actionsPart(page) {
  const { say, time } = page;
  const action = (name) => h("button", { class: "act", "data-act": name, disabled: !time.isLive && name !== "write", onclick: () => page.open(name) }, say(`kit.${name}`));
  return h("div", { class: "kit-actions", key: "actions" }, action("write"), action("phrases"), action("photo"));
}
