// SPDX-License-Identifier: Apache-2.0
/** Lists that show what fits and say how many do not; and orders that wait while a person's hand is on the list. */

const HANDS_OFF_MS = 3000; // a list under a pointer or focus does not re-sort until it was left alone this long
const FIRST_GUESS = 12;

export class Pager {
  constructor() {
    this.pages = new Map();
    this.capacities = new Map();
    this.orders = new Map();
    this.touchedAtMs = new Map();
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      document.addEventListener(name, (event) => {
        const list = event.target.closest?.("[data-list]");
        if (list) this.touchedAtMs.set(list.dataset.list, performance.now());
      }, { passive: true, capture: true });
    }
  }

  /** What of `items` to show now: `{shown, hidden, page, pages}`; shown + hidden = all. */
  cut(name, items) {
    const capacity = Math.max(1, this.capacities.get(name) ?? FIRST_GUESS);
    const pages = Math.max(1, Math.ceil(items.length / capacity));
    const page = Math.min(this.pages.get(name) ?? 0, pages - 1);
    const shown = items.slice(page * capacity, (page + 1) * capacity);
    return { shown, hidden: items.length - shown.length, page: page + 1, pages };
  }

  next(name) {
    this.pages.set(name, (this.pages.get(name) ?? 0) + 1);
  }

  /** Back to the first page when the last was passed. */
  turn(name, items) {
    const { page, pages } = this.cut(name, items);
    this.pages.set(name, page >= pages ? 0 : page);
  }

  /** `items` sorted as given, or in the order shown before while somebody is at the list. `items` have an `id`. */
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

  /** Measure every `[data-list]` below `root`; true when one now takes another number of rows. */
  measure(root) {
    let isChanged = false;
    for (const list of root.querySelectorAll("[data-list]")) {
      const capacity = capacityOf(list);
      if (capacity !== null && capacity !== this.capacities.get(list.dataset.list)) {
        this.capacities.set(list.dataset.list, capacity);
        isChanged = true;
      }
    }
    return isChanged;
  }
}

/** Rows that fit a list, the button below it counted where it is needed; null where there is nothing to measure. */
function capacityOf(list) {
  const rows = [...list.children];
  if (!rows.length || !list.clientHeight) return null;
  const columns = Number(list.dataset.columns ?? 1);
  const row = Math.max(...rows.map((each) => each.getBoundingClientRect().height));
  const button = list.nextElementSibling?.matches(".more, .page-button") ? list.nextElementSibling : null;
  const share = Number(list.dataset.share ?? 0);
  const room = share ? list.parentElement.clientHeight * share : list.clientHeight + (button?.offsetHeight ?? 0);
  const all = Number(list.dataset.total);
  if (Math.ceil(all / columns) * row <= room + 0.5) return all;
  const target = Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--target"));
  return Math.max(1, Math.floor((room - target - 1) / row)) * columns;
}
