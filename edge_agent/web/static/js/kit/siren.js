// SPDX-License-Identifier: Apache-2.0
/** Leave now: an order that takes the screen and sounds until somebody here answers it. SOS stays in reach. */

import { running } from "../age.js";
import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { lostPart, moment, sosButton } from "./parts.js";

/** The order that sounds, or nothing. */
export function sirenOrder(state) {
  return state.siren ? state.messages.find((message) => message.id === state.siren) ?? null : null;
}

export function sirenScreen(page, order) {
  const { say, time, sound, ui } = page;
  const answer = (name, word, kind) => h("button", {
    class: kind, "data-act": `siren-${name}`, disabled: !time.isLive, onclick: () => page.act("/api/answer", { id: order.id, answer: name }),
  }, say(word));
  return h("main", { class: "kit siren", key: "siren", "data-siren": order.id },
    lostPart(page),
    h("section", { class: "siren-body", role: "alert", key: "siren-body" },
      h("h1", {}, shape("alarm"), h("span", {}, say("siren.word"))),
      h("p", { class: "siren-text" }, order.text),
      h("p", {}, [order.by, moment(page, order.at_ms)].filter(Boolean).join(say("sep"))),
      order.state === "held" ? h("p", {}, say("siren.held")) : null,
      h("p", {}, time.isLive ? say("siren.since", { time: running(time.nowMs - order.state_at_ms) }) : ""),
      sound.isRunning ? null : h("p", { class: "siren-mute" }, shape("muted"), " ", say("siren.no_sound")),
      ui.refused ? h("p", {}, say("refused", { why: ui.refused })) : null),
    h("div", { class: "siren-buttons", key: "siren-buttons" }, answer("read", "siren.received", "act"), answer("done", "siren.left", "act")),
    sosButton(page));
}
