// SPDX-License-Identifier: Apache-2.0
/** How the command page names units, links, waiting things and moments. */

import { age, clock, duration } from "../age.js";
import { hasWord } from "../words.js";

/** "07". */
export function unitNumber(unit) {
  return String(unit.number || 0).padStart(2, "0");
}

/** "07 大陈岛前突队"; the id where the unit has not said its name. */
export function unitName(unit) {
  if (!unit) return "";
  return unit.number ? `${unitNumber(unit)} ${unit.name || unit.id}` : unit.name || unit.id;
}

/** The page's word for a link, or its own name where the deployment chose one. */
export function linkName(say, name) {
  const key = `transport.${String(name).toLowerCase()}`;
  return hasWord(key) ? say(key) : String(name);
}

export function linkNames(say, names) {
  return (names ?? []).map((name) => linkName(say, name)).join(" + ");
}

/** Key for `word` with an age, `word_at` with a clock time once the page is not live. */
export function aged(ctx, key, atMs, values = {}) {
  const text = age(atMs, ctx.time);
  const isClock = !ctx.time.isLive || !/\d\s(s|min|h)/.test(text);
  return ctx.say(isClock ? `${key}_at` : key, { ...values, age: text });
}

/** "6 s ago" while live, else the clock time. */
export function ago(ctx, atMs) {
  return ctx.time.isLive ? ctx.say("band.ago", { age: age(atMs, ctx.time) }) : clock(atMs, ctx.time.nowMs);
}

/** "< 1 min", "22 min": a forecast. */
export function forecast(seconds) {
  if (seconds === null || seconds === undefined) return null;
  return seconds < 60 ? "<\u00a01\u00a0min" : duration(Math.round(seconds / 60) * 60_000);
}

/** "60 s", "5 min": the interval at which a unit is due. */
export function dueText(seconds) {
  return seconds < 120 ? `${Math.round(seconds)}\u00a0s` : duration(seconds * 1000);
}

/** Who did something, with the post where it was another one than this. */
export function who(say, said) {
  return said.where ? `${said.by}${say("sep")}${said.where}` : said.by;
}

/** Who did the same at another post, where each could not know of the other: ", also confirmed by ...". */
export function alsoText(say, said, nowMs) {
  return (said.also ?? []).map((each) => say("comma") + say(`also.${each.did}`, { name: who(say, each), at: clock(each.at_ms, nowMs) })).join("");
}

/** What a short record calls `code`: a kind of message. */
export function whatWord(say, what) {
  return say(hasWord(`what.${what}`) ? `what.${what}` : "what.other");
}
