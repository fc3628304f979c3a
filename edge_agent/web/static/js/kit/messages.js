// SPDX-License-Identifier: Apache-2.0
/** One row of my messages: what, when, squares with the word of the state, and why it waits. */

import { rate, size } from "../age.js";
import { h } from "../dom.js";
import { shape, squares } from "../shapes.js";
import { hasWord } from "../words.js";
import { linkName, linkNames, moment } from "./parts.js";
import { headline } from "./sos.js";

const FILLED = { accepted: 1, forwarded: 2, delivered: 3, read: 4, done: 4 };
const GRADES = ["flash", "immediate", "priority", "routine", "deferred"];

export function messageRow(page, message) {
  const { say } = page;
  const isOrder = message.kind === "order";
  const opens = isTakenBack(message);
  const isOpened = opens && page.ui.opened === message.id;
  return h("li", { class: `kit-row${isOrder ? " order" : ""}${opens ? " opens" : ""}`, key: message.id, "data-message": message.id, "data-state": message.state },
    h("div", { class: "line" }, h("p", { class: "what" }, titleOf(say, message)), h("p", { class: "at" }, moment(page, message.at_ms, { seconds: false, isEstimated: message.is_estimated }))),
    h("p", {}, FILLED[message.state] ? squares(FILLED[message.state], 4) : shape("cross"), " ", stateText(page, message)),
    message.state === "refused" ? h("p", { class: "why" }, say("message.refused_do", { why: message.reason })) : null,
    message.why ? h("p", { class: "why" }, whyText(page, message)) : null,
    isOrder && isOpenOrder(message) ? answers(page, message) : null,
    isOpened ? takeBack(page, message) : null,
    opens && !isOpened ? opener(page, message) : null);
}

function isOpenOrder(message) {
  return !message.answer && message.state !== "cancelled" && message.state !== "expired";
}

/** Whether this message can still be taken back: it has not been seen to arrive. */
function isTakenBack(message) {
  return message.kind !== "order" && !message.undo_until_ms && (message.state === "accepted" || message.state === "forwarded");
}

/** The whole row is the target: a press shows what can be done with it. */
function opener(page, message) {
  return h("button", {
    class: "row-open", "data-act": "open-row", "aria-label": page.say("message.more", { text: titleOf(page.say, message) }), "aria-expanded": "false",
    onclick: () => page.openRow(message.id),
  });
}

function takeBack(page, message) {
  return h("button", {
    class: "plain-act take-back", "data-act": "take-back", disabled: !page.time.isLive, onclick: () => page.act("/api/cancel", { id: message.id }),
  }, page.say("message.take_back"));
}

function titleOf(say, message) {
  const text = message.phrase ? say(`phrase.${message.phrase}`) : message.text;
  if (message.kind === "photo") return text ? say("kit.photo_of", { text }) : say("kit.photo");
  if (message.kind !== "order") return text;
  return say(message.is_withdrawal ? "kit.withdrawal_of" : "kit.order_of", { text });
}

function stateText(page, message) {
  const { say } = page;
  const at = moment(page, message.state_at_ms);
  if (message.kind === "order" && message.state === "cancelled") {
    return say("answer.cancelled", { name: message.cancelled?.by ?? "", at });
  }
  if (message.kind === "order" && message.state === "expired") return say("answer.expired");
  if (message.kind === "order" && message.answer) {
    return say("answer.said", { what: say(message.answer === "done" ? "answer.done" : "answer.received"), at });
  }
  if (message.kind === "photo" && message.small_state === "delivered" && ["accepted", "forwarded"].includes(message.state)) {
    return say("message.small_delivered");
  }
  if (message.state === "forwarded") {
    return message.via.length ? say("message.forwarded", { link: linkNames(say, message.via) }) : say("message.forwarded_plain");
  }
  const word = say(`message.${message.state}`);
  if (message.state === "read" || message.state === "done") return [word, message.by, at].filter(Boolean).join(say("sep"));
  if (message.state !== "delivered") return word;
  const by = message.via.length ? `${say("sep")}${say("by_link", { link: linkNames(say, message.via) })}` : "";
  const level = hasWord(`level.${message.by}`) ? `${say("sep")}${say(`level.${message.by}`)}` : "";
  return `${word} ${at}${by}${level}${message.kind === "photo" ? say("sep") + say("picture.full") : ""}`;
}

/** One sentence: by which link, what is ahead, when it is expected to leave; no time without a link. */
export function whyText(page, message) {
  const { say } = page;
  const { why } = message;
  if (why.code === "no_link") {
    return message.kind === "photo" && message.bytes ? `${say("why.no_link")}${say("comma")}${size(message.bytes)}` : say("why.no_link");
  }
  const parts = [];
  if (why.code === "not_allowed") parts.push(say("why.not_allowed", { grade: say(`grade.${message.precedence}`) }));
  if (why.code === "peer_full") parts.push(say("why.peer_full"));
  if (why.link) parts.push(linkWords(say, why));
  if (why.ahead_sos) parts.push(say("why.sos_ahead", { n: why.ahead_sos }));
  for (const grade of GRADES) if (why.ahead?.[grade]) parts.push(say("why.ahead_count", { n: why.ahead[grade], grade: say(`grade.${grade}`) }));
  if (why.code === "sending") parts.push(say("why.sending"));
  if (why.expected_ms) parts.push(say("why.expected", { at: moment(page, why.expected_ms) }));
  return say("why.waiting", { what: parts.join(say("comma")) });
}

function linkWords(say, why) {
  const link = linkName(say, why.link);
  if (why.code === "only") return why.rate_bps ? say("why.only", { link, rate: rate(why.rate_bps) }) : say("why.only_plain", { link });
  return why.rate_bps ? say("why.by", { link, rate: rate(why.rate_bps) }) : say("by_link", { link });
}

function answers(page, message) {
  const { say, time } = page;
  const button = (answer, word) => h("button", {
    class: "plain-act", disabled: !time.isLive, onclick: () => page.act("/api/answer", { id: message.id, answer }),
  }, say(word));
  return h("div", { class: "answers" }, button("read", "answer.received"), button("done", "answer.done"));
}

/** The open SOS, folded to the first row: red, never hidden, one tap opens it. */
export function sosRow(page, sos) {
  const { say } = page;
  const step = sos.confirmed ? 4 : sos.received_ms ? 3 : sos.sending?.length ? 2 : 1;
  return h("button", { class: "kit-row sos", key: "sos-row", "data-act": "sos-row", onclick: () => page.unfold() },
    h("span", { class: "line" }, h("span", { class: "what" }, say("kit.sos_of")), h("span", { class: "at" }, moment(page, sos.at_ms))),
    h("span", { class: "line" }, h("span", {}, squares(step, 4), " ", headline(page, sos))));
}
