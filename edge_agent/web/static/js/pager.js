// SPDX-License-Identifier: Apache-2.0
/** Lists that show what fits and say how many do not; and orders that wait while a person's hand is on the list.
 *
 *  Rows are measured once they were shown and cut into pages by their heights; `shown + hidden` is always all.
 */

const HANDS_OFF_MS = 3000; // a list under a pointer or focus does not re-sort until it was left alone this long
const FIRST_GUESS = 8; // rows, before anything was measured
const FIRST_HEIGHT = 40; // px of a row never shown, before any was

export class Pager {
  constructor() {
    this.pages = new Map();
    this.rooms = new Map();
    this.heights = new Map();
    this.orders = new Map();
    this.touchedAtMs = new Map();
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      document.addEventListener(name, (event) => {
        const list = event.target.closest?.("[data-list]");
        if (list) this.touchedAtMs.set(list.dataset.list, performance.now());
      }, { passive: true, capture: true });
    }
  }

  /** What of `items` (each with an `id`) to show now: `{shown, hidden, page, pages}`, pages counted from 1. */
  cut(name, items) {
    const breaks = this.breaks(name, items);
    const page = Math.min(this.pages.get(name) ?? 0, breaks.length - 1);
    const shown = items.slice(breaks[page], breaks[page + 1] ?? items.length);
    return { shown, hidden: items.length - shown.length, page: page + 1, pages: breaks.length };
  }

  /** Index of the first item of each page. */
  breaks(name, items) {
    const size = this.rooms.get(name);
    if (!size) return Array.from({ length: Math.max(1, Math.ceil(items.length / FIRST_GUESS)) }, (_, n) => n * FIRST_GUESS);
    const known = this.heights.get(name);
    const unknown = known.size ? Math.max(...known.values()) : FIRST_HEIGHT;
    const high = (item) => known.get(String(item.id)) ?? unknown;
    if (fill(items, high, size.columns, size.room, 0) === items.length) return [0];
    const starts = [0];
    for (let at = 0; at < items.length;) {
      at = fill(items, high, size.columns, size.room - size.button, at);
      if (at < items.length) starts.push(at);
    }
    return starts;
  }

  /** To the next page, or back to the first when this was the last. */
  turn(name, items) {
    const { page, pages } = this.cut(name, items);
    this.pages.set(name, page >= pages ? 0 : page);
  }

  /** `items` sorted as given, or in the order shown before while somebody is at the list. */
  steady(name, items) {
    const touched = this.touchedAtMs.get(name) ?? -Infinity;
    const before = this.orders.get(name);
    let ordered = items;
    if (before && performance.now() - touched < HANDS_OFF_MS) {
      const place = new Map(before.map((id, at) => [id, at]));
      const rank = (item) => place.get(item.id) ?? before.length;
      ordered = [...items].sort((one, other) => rank(one) - rank(other));
    }
    this.orders.set(name, ordered.map((item) => item.id));
    return ordered;
  }

  /** Measure every `[data-list]` below `root`; true when one now takes other rows than before. */
  measure(root) {
    const target = Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--target"));
    let isChanged = false;
    for (const list of root.querySelectorAll("[data-list]")) {
      if (this.measureList(list, target)) isChanged = true;
    }
    return isChanged;
  }

  measureList(list, target) {
    const { list: name, columns = "1", room = "rest", share = "1" } = list.dataset;
    const parent = list.parentElement.getBoundingClientRect();
    const free = room === "share" ? parent.height * Number(share) : parent.bottom - list.getBoundingClientRect().top - 1;
    const size = { room: Math.floor(free), columns: Number(columns), button: target + 1 };
    const before = this.rooms.get(name);
    let isChanged = !before || before.room !== size.room || before.columns !== size.columns;
    this.rooms.set(name, size);
    const known = this.heights.get(name) ?? new Map();
    this.heights.set(name, known);
    for (const row of list.children) {
      const key = String(row.shown?.key);
      const high = row.getBoundingClientRect().height;
      if (Math.abs((known.get(key) ?? 0) - high) > 0.5) {
        known.set(key, high);
        isChanged = true;
      }
    }
    return isChanged;
  }
}

/** Index after the last of `items` from `at` on that fits `room`, at least one row further. */
function fill(items, high, columns, room, at) {
  let used = 0;
  let next = at;
  while (next < items.length) {
    const row = Math.max(...items.slice(next, next + columns).map(high));
    if (used + row > room && next > at) break;
    used += row;
    next = Math.min(items.length, next + columns);
  }
  return next;
}
