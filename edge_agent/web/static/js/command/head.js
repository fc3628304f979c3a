// SPDX-License-Identifier: Apache-2.0
/** Head: clock with zone, operation, counts of exceptions, live mark, sound, duty, view, language. */

import { clock, zoneText } from "../age.js";
import { h } from "../dom.js";
import { linkShape, shape } from "../shapes.js";
import { headCounts } from "./alarms.js";

const COUNTED = [["sos", "sos"], ["threat", "threat"], ["lost", "lost"], ["late", "late"], ["back", "back"]];

export function headPart(ctx) {
  const { state, time, say, prefs, sound } = ctx;
  const counts = headCounts(state);
  const operation = state.operation ? [state.operation, say("sep"), state.node.name] : [state.node.name];
  return h("header", { class: "head", key: "head" },
    h("div", { class: "clock" }, h("time", { datetime: new Date(time.nowMs).toISOString() }, clock(time.nowMs)),
      h("span", { class: "zone" }, ` ${zoneText(time.nowMs)}`)),
    h("h1", { class: "operation" }, ...operation),
    h("div", { class: "counts" },
      COUNTED.filter(([name]) => counts[name] > 0).map(([name, mark]) =>
        h("span", { class: name === "late" || name === "back" ? "" : "strong" }, shape(mark), " ", say(`head.${name}`, { n: counts[name] }))),
      h("span", { class: "soft" }, say("head.total", { n: state.units.length }))),
    h("div", { class: "tools" },
      time.isLive
        ? h("span", { class: "live" }, linkShape("up"), " ", say("head.live", { age: `${(time.silentMs / 1000).toFixed(1)} s` }))
        : h("span", { class: "live strong" }, linkShape("down"), " ", say("head.not_live")),
      h("button", { "data-act": "sound", onclick: () => ctx.enableSound() },
        say(sound.isRunning ? "head.sound_on" : "head.sound_off")),
      h("button", { "data-act": "duty", disabled: !time.isLive, onclick: () => ctx.openSheet({ name: "duty" }) },
        state.duty ? say("head.duty", { name: state.duty.name }) : say("head.duty_none")),
      h("button", { "data-act": "view", onclick: () => ctx.switchView() }, say(`view.${prefs.nextView}`)),
      h("button", { "data-act": "language", "data-other-language": "", onclick: () => ctx.switchLanguage() }, say("language.other"))));
}

/** Foot: what the shapes mean. */
export function footPart(ctx) {
  const { say } = ctx;
  return h("footer", { class: "foot", key: "foot" },
    h("span", {}, ctx.state.node.name),
    h("span", {}, ["on_time", "late", "lost", "sos"].map((name) => h("span", { class: "keep" }, shape(name), " ", say(`legend.${name}`), "  ")),
      say("legend.note")));
}
