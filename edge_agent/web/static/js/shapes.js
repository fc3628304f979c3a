// SPDX-License-Identifier: Apache-2.0
/** Shapes of states. A shape always stands beside its word; `data-shape` names it in the page tree.
 *
 *  Drawn in the colour of the text around them, so that no state depends on colour.
 */

import { h } from "./dom.js";

const OCTAGON = "7,1 17,1 23,7 23,17 17,23 7,23 1,17 1,7";
const ink = "currentColor";
const ground = "var(--shape-ground, var(--panel))";
const line = (width, extra) => ({ fill: "none", stroke: ink, "stroke-width": width, ...extra });

const DRAWN = {
  on_time: () => [h("circle", { cx: 12, cy: 12, r: 7, fill: ink })],
  noted: () => [
    h("circle", { cx: 12, cy: 12, r: 7.5, ...line(2.4), fill: ground }),
    h("path", { d: "M12 4.5 A7.5 7.5 0 0 0 12 19.5 Z", fill: ink }),
  ],
  late: () => [h("circle", { cx: 12, cy: 12, r: 8, ...line(3.2, { "stroke-dasharray": "4.4 3.98" }), fill: ground })],
  lost: () => [
    h("rect", { x: 2.5, y: 2.5, width: 19, height: 19, ...line(2.8), fill: ground }),
    h("path", { d: "M7 7 L17 17 M17 7 L7 17", ...line(3) }),
  ],
  sos: () => [
    h("polygon", { points: OCTAGON, fill: ink }),
    h("path", { d: "M10.3 5 h3.4 l-0.6 9 h-2.2 Z", fill: ground }),
    h("circle", { cx: 12, cy: 17.6, r: 1.8, fill: ground }),
  ],
  threat: () => [
    h("polygon", { points: OCTAGON, ...line(2.4), fill: ground }),
    h("path", { d: "M10.3 5 h3.4 l-0.6 9 h-2.2 Z", fill: ink }),
    h("circle", { cx: 12, cy: 17.6, r: 1.8, fill: ink }),
  ],
  back: () => [
    h("circle", { cx: 12, cy: 12, r: 4.4, fill: ink }),
    h("path", { d: "M5.2 6.4 A9 9 0 1 0 12 3", ...line(2.4) }),
    h("path", { d: "M13.4 -0.6 L7.4 3 L13.4 6.8 Z", fill: ink }),
  ],
  stale: () => [h("circle", { cx: 12, cy: 12, r: 7, ...line(2.4), fill: ground })],
  quiet: () => [h("circle", { cx: 12, cy: 12, r: 8, ...line(3), fill: "none" })],
  check: () => [h("path", { d: "M3 13 L9 19 L21 5", ...line(4) })],
  sending: () => [h("path", { d: "M2 5 L11 12 L2 19 Z M12 5 L21 12 L12 19 Z", fill: ink })],
  open: () => [h("rect", { x: 4, y: 4, width: 16, height: 16, ...line(2.6) })],
  cross: () => [h("path", { d: "M4 4 L20 20 M20 4 L4 20", ...line(4.4) })],
  alarm: () => [h("path", { d: "M12 2 L23 22 H1 Z", ...line(2.6), fill: ground }), h("path", { d: "M12 9 V15 M12 17 V19.6", ...line(2.6) })],
  muted: () => [h("path", { d: "M2 9 H7 L13 4 V20 L7 15 H2 Z", fill: ink }), h("path", { d: "M16 8 L23 16 M23 8 L16 16", ...line(2.6) })],
  down_arrow: () => [h("path", { d: "M3 5 H21 L12 20 Z", fill: ink })],
};

const bar = (at, height, isSolid) =>
  h("rect", isSolid
    ? { x: at, y: 21 - height, width: 5, height, fill: ink }
    : { x: at + 0.9, y: 21.9 - height - 0.9, width: 3.2, height: height - 1.8 + 0.9, ...line(1.6) });

const LINKS = {
  up: () => [bar(2, 7, true), bar(9.5, 12, true), bar(17, 18, true)],
  degraded: () => [bar(2, 7, true), bar(9.5, 12, false), bar(17, 18, false)],
  down: DRAWN.cross,
  unknown: () => [
    h("path", { d: "M6.5 8 A5.5 5.5 0 1 1 13.5 13 Q12 13.8 12 16", ...line(3.4) }),
    h("circle", { cx: 12, cy: 20.4, r: 2, fill: ink }),
  ],
};

/** The shape `name` (a key of DRAWN; a state not known here is hollow), `props` go to its svg. */
export function shape(name, props) {
  return drawn(name, (DRAWN[name] ?? DRAWN.stale)(), props);
}

/** The shape of a link state: up, degraded, down, unknown. */
export function linkShape(state, props) {
  return drawn(`link_${state}`, (LINKS[state] ?? LINKS.unknown)(), props);
}

function drawn(name, parts, props) {
  const given = { ...props };
  given.class = given.class ? `shape ${given.class}` : "shape";
  return h("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", "data-shape": name, ...given }, ...parts);
}

/** Progress of a message: `filled` of `total` squares, in order. The word of the state stands beside it. */
export function squares(filled, total) {
  const parts = [];
  for (let at = 0; at < total; at += 1) {
    parts.push(h("rect", {
      x: at * 13 + 1, y: 1, width: 9, height: 9, stroke: ink, "stroke-width": 1.6, fill: at < filled ? ink : "none",
    }));
  }
  return h("svg", {
    class: "squares", viewBox: `0 0 ${total * 13 - 2} 11`, "aria-hidden": "true", "data-shape": "squares",
    "data-filled": `${filled}/${total}`,
  }, ...parts);
}
