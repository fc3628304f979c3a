// SPDX-License-Identifier: Apache-2.0
/** The whole track of the chosen unit. The state carries only the end of it, because it carries that of every unit. */

export class Tracks {
  constructor() {
    this.unit = "";
    this.points = new Map(); // by the moment of capture
  }

  /** Fetch what is kept of `unit`. A server that does not answer is told elsewhere; the end of the track is in the state. */
  async load(unit) {
    if (this.unit !== unit) [this.unit, this.points] = [unit, new Map()];
    const asked = fetch(`/api/track/${encodeURIComponent(unit)}`).then((answer) => (answer.ok ? answer.json() : []));
    this.add(unit, await asked.catch(() => []));
  }

  add(unit, points) {
    if (this.unit !== unit) return;
    for (const point of points) this.points.set(point.captured_ms, point);
  }

  /** The points known of `unit` in the order of capture, with those of its state. */
  of(unit) {
    const end = unit.track ?? [];
    if (this.unit !== unit.id) return end;
    this.add(unit.id, end);
    return [...this.points.values()].sort((one, other) => one.captured_ms - other.captured_ms);
  }
}
