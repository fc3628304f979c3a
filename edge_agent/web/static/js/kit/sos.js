// SPDX-License-Identifier: Apache-2.0
/** The SOS screen: what has happened to the call, step by step, and for ten seconds the way back. */

import { clock, place, running } from "../age.js";
import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { linkNames, lostPart, moment, spelledAge } from "./parts.js";

export function sosScreen(page, sos, isUndoable) {
  const { say } = page;
  return h("main", { class: "sos-screen", key: "sos-screen", "data-sos": sos.confirmed ? "confirmed" : sos.received_ms ? "received" : "stored" },
    lostPart(page),
    h("h1", {}, shape("sos"), h("span", {}, say("sos.word"))),
    h("h2", { "aria-live": "assertive" }, headline(page, sos)),
    h("p", {}, positionText(page)),
    sos.withdrawn_ms || isUndoable ? null : h("p", {}, say(page.state.position ? "sos.keep_calling" : "sos.say_where")),
    stepsPart(page, sos),
    page.ui.refused ? h("p", { role: "alert" }, say("refused", { why: page.ui.refused })) : null,
    h("div", { class: "space" }),
    isUndoable ? undoButton(page, sos) : laterButtons(page, sos));
}

/** The one sentence on where the call stands. */
export function headline(page, sos) {
  const { say, time } = page;
  if (sos.closed) return say("sos.closed", { name: sos.closed.by, at: clock(sos.closed.at_ms, time.nowMs), reason: sos.closed.reason });
  if (sos.confirmed) return say("sos.confirmed", { name: sos.confirmed.by, at: clock(sos.confirmed.at_ms, time.nowMs) });
  if (sos.withdrawn_ms) return say(sos.received_ms ? "sos.withdrawn_sees" : "sos.withdrawn");
  if (sos.received_ms) return say("sos.received");
  return sos.sending?.length ? say("sos.sent") : say("sos.stored_no_link");
}

function positionText(page) {
  const { state, say } = page;
  const at = state.position;
  if (!at) return say("sos.no_position");
  const source = at.system ? `${page.system(at.system)} ` : "";
  return `${say("sos.position", { place: place(at.lat, at.lon) })}${say("sep")}${source}${spelledAge(page, at.captured_ms)}`;
}

function stepsPart(page, sos) {
  const { say, time } = page;
  const times = (atMs) => moment(page, atMs, { seconds: true });
  const received = sos.received_ms
    ? step("check", sos.via.length ? say("sos.at_command_by", { link: linkNames(say, sos.via) }) : say("sos.at_command"), times(sos.received_ms))
    : step("open", say("sos.at_command"), "–");
  const sending = sos.received_ms ? null
    : sos.sending?.length ? step("sending", say("sos.sending", { link: linkNames(say, sos.sending) }), "")
      : step("open", say("sos.no_link"), "–");
  const person = sos.confirmed ? step("check", say("sos.confirmed", { name: sos.confirmed.by, at: "" }).replace("  ", " "), times(sos.confirmed.at_ms))
    : sos.received_ms ? step("sending", say("sos.waiting_person"), time.isLive ? running(time.nowMs - sos.received_ms) : "")
      : step("open", say("sos.person"), "–");
  return h("ol", { class: "sos-steps" }, step("check", say("sos.stored"), times(sos.stored_ms)), sending, received, person);
}

function step(mark, text, at) {
  return h("li", { class: mark === "open" ? "" : "reached", "data-step": mark }, shape(mark), h("span", {}, text), h("span", {}, at));
}

function undoButton(page, sos) {
  const { say, time } = page;
  const left = Math.max(1, Math.ceil((sos.undo_until_ms - time.nowMs) / 1000));
  return h("button", {
    class: "undo", "data-act": "withdraw", disabled: !time.isLive, onclick: () => page.act("/api/sos/withdraw", { id: sos.id }),
  }, say("sos.undo"), h("small", {}, say("sos.undo_note", { n: left })));
}

function laterButtons(page, sos) {
  const { say, time } = page;
  const add = (name, word, run) => h("button", { "data-act": name, disabled: !time.isLive, onclick: run }, say(word));
  const text = (words) => () => page.act("/api/text", { text: words, precedence: "flash" });
  return h("div", { class: "later" },
    add("add-injured", "sos.add_injured", text(say("sos.add_injured"))),
    add("add-text", "sos.add_text", () => page.open("write")),
    add("safe", "sos.safe", text(say("sos.safe"))),
    h("button", { "data-act": "fold", onclick: () => page.fold(sos.id) }, say("sos.fold")));
}
