// SPDX-License-Identifier: Apache-2.0
/** Screens of the links: what each has cost and until when it lasts, what a new one costs, and the profile of all. */

import { clock, rate, size } from "../age.js";
import { h } from "../dom.js";
import { hintWords } from "../hints.js";
import { linkShape, shape } from "../shapes.js";
import { backButton, linkName, refusedPart, spelledAge } from "./parts.js";

const TARIFFS = ["free", "metered", "emergency"];
const PROFILES = ["normal", "quiet", "emergency", "low-power"];

export function linksScreen(page) {
  const { state, say, pager, time } = page;
  const links = state.links.map((link) => ({ ...link, id: link.name }));
  const cut = pager.cut("costs", links);
  return h("section", { class: "kit-sheet" }, h("h1", {}, say("cost.title")), refusedPart(page),
    h("div", { class: "kit-costs" },
      h("ul", { class: "kit-rows", "data-list": "costs", "data-total": links.length }, cut.shown.map((link) => linkRow(page, link))),
      links.length ? null : h("p", { class: "kit-row soft" }, say("links.none_here")),
      cut.hidden ? h("button", {
        class: "page-button", "data-more": "costs", "data-hidden": cut.hidden, onclick: () => { pager.turn("costs", links); page.render(); },
      }, say("page", { page: cut.page, pages: cut.pages }), " ", shape("down_arrow")) : null),
    h("div", { class: "kit-actions", style: { padding: "0" } }, backButton(page),
      h("button", { class: "plain-act", "data-act": "report", disabled: !time.isLive, onclick: openReport }, say("links.report")),
      h("button", { class: "plain-act", "data-act": "profile", disabled: !time.isLive, onclick: () => page.open("profile") },
        say("profile.now", { profile: say(`profile.${state.profile ?? "normal"}`) }))));
}

function linkRow(page, link) {
  const { say, time } = page;
  const isOpen = link.state === "up" || link.state === "degraded";
  return h("li", { class: "kit-row", key: link.name, "data-link": link.name },
    h("p", { class: "what" }, linkShape(link.state), ` ${linkName(say, link.name)} ${say(`link.${link.state}`)}`,
      isOpen && link.rate_bps ? ` ${rate(link.rate_bps)}` : ""),
    link.flapping ? h("p", { class: "flapping" },
      say("link.flapping", { at: clock(link.flapping.since_ms, time.nowMs, { seconds: false }), n: link.flapping.falls })) : null,
    isOpen && link.others_ratio ? h("p", { class: "others" }, say("link.others", { percent: Math.round(100 * link.others_ratio) })) : null,
    (link.hints ?? []).map((hint) => h("p", { class: "hint", "data-hint": hint.source }, hintText(page, hint))),
    costText(page, link).map((text) => h("p", {}, text)),
    link.asks_cost ? h("div", { class: "tariffs", role: "group", "aria-label": say("cost.ask") }, TARIFFS.map((tariff) => h("button", {
      class: "plain-act", "data-tariff": tariff, "aria-pressed": String(link.tariff === tariff), disabled: !time.isLive,
      onclick: () => page.act("/api/link", { link: link.name, tariff }),
    }, say(`cost.${tariff}`)))) : null);
}

/** A page of its own, to read and to print. */
function openReport() {
  window.open("/report", "_blank", "noopener");
}

/** What a device says of the link, and when. */
function hintText(page, hint) {
  const { say } = page;
  return [...hintWords(say, hint), spelledAge(page, hint.at_ms)].join(say("sep"));
}

/** Lines on one link's cost; a free one has none. */
function costText({ say, time }, link) {
  const { spending } = link;
  if (!spending) return [];
  const lines = [];
  if (link.asks_cost && !link.tariff) lines.push(say("cost.ask"));
  const hasBudget = spending.day_budget_bytes !== null || spending.month_budget_bytes !== null;
  if (link.metered !== false || hasBudget) {
    lines.push(say("cost.day", { spent: spentOf(say, spending, "day") }) + say("sep") + say("cost.month", { spent: spentOf(say, spending, "month") }));
  }
  if (spending.is_spent) lines.push(say(spending.classes.immediate.left_bytes === null ? "cost.spent_urgent" : "cost.spent"));
  else if (spending.until_ms) lines.push(say("cost.until", { at: clock(spending.until_ms, time.nowMs, { seconds: false }) }));
  if (link.held_back === "quiet_hours") lines.push(say("cost.quiet_hours"));
  if (link.standby === "warm" || link.standby === "cold") lines.push(say(`standby.${link.standby}`));
  return lines;
}

function spentOf(say, spending, period) {
  const budget = spending[`${period}_budget_bytes`];
  const spent = size(spending[`${period}_bytes`]);
  return budget === null ? spent : say("cost.of", { spent, budget: size(budget) });
}

export function profileScreen(page) {
  const { state, say, time } = page;
  return h("section", { class: "kit-sheet" }, h("h1", {}, say("profile.title")), refusedPart(page),
    h("div", { class: "phrases" }, PROFILES.map((profile) => h("button", {
      class: "plain-act profile", "data-profile": profile, "aria-pressed": String((state.profile ?? "normal") === profile), disabled: !time.isLive,
      onclick: () => page.chooseProfile(profile),
    }, h("b", {}, say(`profile.${profile}`)), h("span", { class: "below" }, say(`profile.${profile}.note`))))),
    h("button", { class: "plain-act", "data-act": "back", onclick: () => page.open("links") }, say("kit.back")));
}
