// SPDX-License-Identifier: Apache-2.0
/** What a unit still holds by its own report: by grade with age, the largest by name, and how full its store is. */

import { duration, size } from "../age.js";
import { h } from "../dom.js";
import { whatWord } from "./naming.js";

const FULL_RATIO = 0.9;

export function holdingsPart(ctx, unit) {
  return [storeLine(ctx, unit), heldTable(ctx, unit), largestList(ctx, unit)];
}

function storeLine({ say }, unit) {
  const { store } = unit;
  if (!store?.quota_bytes) return null;
  const used = say("held.store", { used: size(store.used_bytes), quota: size(store.quota_bytes) });
  const word = store.is_full ? say("held.store_full") : store.used_bytes >= FULL_RATIO * store.quota_bytes ? say("held.store_low") : "";
  return h("p", { class: word ? "line strong" : "line soft", "data-store": store.is_full ? "full" : word ? "low" : "ok" }, [used, word].filter(Boolean).join(say("sep")));
}

function heldTable({ say }, unit) {
  const rows = (unit.held ?? []).filter((row) => row.bundles);
  if (!rows.length) return null;
  return h("table", { class: "held" },
    h("thead", {}, h("tr", {}, h("th", {}, say("held.grade")), h("th", { class: "number" }, say("waiting.items")),
      h("th", { class: "number" }, say("waiting.size")), h("th", { class: "number" }, say("held.oldest")))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("td", {}, say(`grade.${row.precedence}`)), h("td", { class: "number" }, row.bundles),
      h("td", { class: "number" }, size(row.bytes)), h("td", { class: "number" }, duration(row.oldest_age_s * 1000))))));
}

function largestList(ctx, unit) {
  const { say, time } = ctx;
  if (!unit.largest?.length) return null;
  const ask = (path, word, item) => h("button", {
    class: "small", "data-act": path, disabled: !time.isLive, onclick: () => ctx.asDuty(`/api/${path}`, { unit: unit.id, bundle: item.bundle }),
  }, say(word));
  return h("div", { class: "largest" }, h("h3", {}, say("held.largest")),
    h("ul", {}, unit.largest.map((item) => h("li", { class: "largest-row", key: item.bundle, "data-item": item.bundle },
      h("span", {}, whatWord(say, item.flow.split(".", 1)[0])), h("span", { class: "number" }, size(item.bytes)),
      h("span", { class: "number soft" }, item.age_s === null || item.age_s === undefined ? "" : duration(item.age_s * 1000)),
      item.asked ? h("span", { class: "soft" }, say(item.asked === "pull" ? "held.asked_pull" : "held.asked_cancel"))
        : h("span", { class: "largest-acts" }, ask("pull", "held.pull", item), ask("drop", "held.drop", item))))));
}
