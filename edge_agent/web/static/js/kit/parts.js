// SPDX-License-Identifier: Apache-2.0
/** Parts that several screens of the kit share: head, the SOS button, links, ages as a kit spells them. */

import { clock, rate, running, zoneText } from "../age.js";
import { h } from "../dom.js";
import { linkShape } from "../shapes.js";
import { hasWord } from "../words.js";
import { HOLD_MS } from "./hold.js";

/** "3 秒前", "7 min ago": a kit spells ages out; a clock time once the page is not live or beyond 24 h. */
export function spelledAge(page, atMs) {
  const { say, time } = page;
  const seconds = Math.max(0, Math.floor((time.nowMs - atMs) / 1000));
  if (!time.isLive || seconds >= 86_400) return clock(atMs, time.nowMs);
  if (seconds < 60) return say("kit.ago_s", { n: seconds });
  return seconds < 3600 ? say("kit.ago_min", { n: Math.floor(seconds / 60) }) : say("kit.ago_h", { n: Math.floor(seconds / 3600) });
}

/** "14:02", with "about" where the kit's clock was not set, then or now. */
export function moment(page, atMs, options = { seconds: false }) {
  const text = clock(atMs, page.time.nowMs, options);
  return page.state.is_clock_set === false || options.isEstimated ? `${page.say("about")}${text}` : text;
}

export function linkName(say, name) {
  const key = `transport.${String(name).toLowerCase()}`;
  return hasWord(key) ? say(key) : String(name);
}

export function linkNames(say, names) {
  return names.map((name) => linkName(say, name)).join(" + ");
}

export function headPart(page) {
  const { state, say, prefs, time } = page;
  const number = state.node.number ? `${String(state.node.number).padStart(2, "0")} ` : "";
  return h("header", { class: "kit-head", key: "head" },
    h("div", { class: "who" },
      h("h1", { class: "unit" }, `${number}${state.node.name}`),
      h("p", {}, h("time", {}, moment(page, time.nowMs, { seconds: true })), h("span", { class: "soft" }, ` ${zoneText(time.nowMs)}`))),
    h("button", { "data-act": "view", onclick: () => { prefs.switchView(); page.render(); } }, lines(say(`kit.view.${prefs.nextView}`))),
    h("button", { "data-act": "language", "data-other-language": "", onclick: () => { prefs.switchLanguage(); page.render(); } }, say("language.other")));
}

/** The page lost the kit itself: said at once, above everything. */
export function lostPart(page) {
  const { say, time } = page;
  if (time.isLive) return null;
  return h("div", { class: "kit-lost", role: "alert", key: "lost" },
    h("b", {}, say("lost_server.kit", { time: running(time.silentMs) })), say("lost_server.kit_what"));
}

export function linksPart(page) {
  const { state, say } = page;
  return h("ul", { class: "kit-links" }, state.links.map((link) => h("li", { key: link.name },
    linkShape(link.state), ` ${linkName(say, link.name)} ${say(`link.${link.state}`)}`,
    link.state === "up" && link.rate_bps ? ` ${rate(link.rate_bps)}` : "",
    link.state !== "up" && hasWord(`missing.${link.reason}`) ? ` ${say(`missing.${link.reason}`)}` : "")));
}

/** The SOS button: hold two seconds. While one is on its way a tap opens its screen; one that was withdrawn or that a
 *  person has confirmed does not stand in the way of another. */
export function sosButton(page) {
  const { say, hold, state, ui } = page;
  if (state.sos && !state.sos.withdrawn_ms && !state.sos.confirmed) {
    return h("div", { class: "kit-sos", key: "sos" }, h("button", { class: "sos-button", "data-act": "sos-open", onclick: () => page.unfold() },
      h("span", { class: "word" }, say("sos.word")), h("span", { class: "hint" }, say("sos.open"))));
  }
  const { share } = hold;
  const isHeld = hold.fromMs !== null;
  const length = 2 * Math.PI * 20;
  return h("div", { class: "kit-sos", key: "sos" }, h("button", {
    class: "sos-button", "data-act": "sos", "data-held": isHeld ? share.toFixed(2) : null,
    onpointerdown: (event) => hold.begin(event), onpointerup: (event) => hold.release(event), onpointercancel: () => hold.end(),
    onlostpointercapture: () => hold.end(), onkeydown: (event) => hold.key(event), onkeyup: (event) => hold.key(event),
    oncontextmenu: (event) => event.preventDefault(),
  },
  isHeld ? h("svg", { class: "ring", viewBox: "0 0 48 48", "aria-hidden": "true", key: "ring" },
    h("circle", { cx: 24, cy: 24, r: 20, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
    h("circle", {
      cx: 24, cy: 24, r: 20, fill: "none", stroke: "currentColor", "stroke-width": 7, transform: "rotate(-90 24 24)",
      "stroke-dasharray": `${length * share} ${length}`,
    })) : null,
  h("span", { class: "word" }, say("sos.word")),
  h("span", { class: "hint" }, ui.refused && !ui.sheet ? say("sos.failed", { why: ui.refused })
    : isHeld ? say("sos.holding", { n: ((HOLD_MS * (1 - share)) / 1000).toFixed(1) }) : say("sos.hold"))));
}

/** Words of a small button, one below the other. */
function lines(text) {
  return text.split(" ").map((word) => h("span", { class: "below keep" }, word));
}

export function backButton(page) {
  return h("button", { class: "plain-act", "data-act": "back", onclick: () => page.open("") }, page.say("kit.back"));
}

export function refusedPart(page) {
  return page.ui.refused ? h("p", { class: "strong", role: "alert" }, page.say("refused", { why: page.ui.refused })) : null;
}
