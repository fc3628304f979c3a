// SPDX-License-Identifier: Apache-2.0
/** Last screen of the demo: one sentence, what was proved with figures, one time line, the command that repeats it. */

import { running } from "/static/js/age.js";
import { h } from "/static/js/dom.js";
import { shape } from "/static/js/shapes.js";

const RESULT = { true: ["check", "proof.holds"], false: ["cross", "proof.fails"], null: ["quiet", "proof.open"] };
const [WIDE, LEFT, RIGHT, TOP, ROW] = [1800, 150, 20, 30, 32];
const TICKS = 6;

/** The screen for `proof` of the demo's state; `own` picks the language of `{zh, en}`. */
export function proofPart(proof, { say, own, hide }) {
  return h("main", { class: "proof", key: "proof-screen" },
    h("h1", {}, own(proof.sentence)),
    h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, say("proof.what")), h("th", { class: "number" }, say("proof.run")),
        h("th", { class: "number" }, say("proof.required")), h("th", {}, say("proof.result")))),
      h("tbody", {}, proof.rows.map((row) => {
        const [mark, word] = RESULT[String(row.holds)];
        return h("tr", {}, h("td", {}, own(row)), h("td", { class: "number strong" }, own(row.run)),
          h("td", { class: "number" }, own(row.required)), h("td", { class: "strong keep" }, shape(mark), ` ${say(word)}`));
      }))),
    timeline(proof.timeline, own),
    h("p", { class: "soft" }, say("proof.repeat")),
    h("pre", {}, proof.command),
    h("p", { class: "proof-buttons" },
      h("button", { onclick: hide }, say("proof.again")),
      proof.items ? h("a", { class: "button", href: proof.items }, say("proof.items")) : null,
      proof.report ? h("a", { class: "button", href: proof.report }, say("proof.report")) : null));
}

function timeline(line, own) {
  const high = TOP + line.links.length * ROW + 52;
  const x = (second) => LEFT + ((WIDE - LEFT - RIGHT) * second) / line.end_s;
  const bottom = TOP + line.links.length * ROW;
  const lanes = line.links.flatMap((link, n) => {
    const y = TOP + n * ROW + 4;
    return [
      h("text", { x: 0, y: y + 16, class: "lane" }, own(link)),
      ...link.spans.map((span) => h("rect", {
        class: `span ${span.state}`, x: x(span.from_s), y, width: Math.max(1, x(span.to_s) - x(span.from_s)), height: 20,
        fill: span.state === "up" ? "currentColor" : "url(#hatch)",
      }, h("title", {}, `${own(link)} ${span.state} ${running(span.from_s * 1000)} – ${running(span.to_s * 1000)}`))),
    ];
  });
  const marks = line.marks.flatMap((mark, n) => [
    h("line", { class: "mark", x1: x(mark.at_s), x2: x(mark.at_s), y1: TOP - 4, y2: bottom }),
    h("text", {
      class: "lane", x: x(mark.at_s), y: mark.row === "bottom" ? bottom + 18 : TOP - 10,
      "text-anchor": mark.row === "bottom" || n === line.marks.length - 1 ? "start" : "middle",
    }, own(mark)),
  ]);
  const ticks = Array.from({ length: TICKS + 1 }, (_, n) => (line.end_s * n) / TICKS).map((second, n) => h("text", {
    class: "lane", x: x(second), y: high - 6, "text-anchor": n === TICKS ? "end" : n === 0 ? "start" : "middle",
  }, running(second * 1000)));
  return h("svg", { class: "timeline", viewBox: `0 0 ${WIDE} ${high}`, role: "img", "aria-label": spoken(line, own) },
    h("defs", {}, h("pattern", { id: "hatch", width: 9, height: 9, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      h("rect", { width: 4, height: 9, fill: "currentColor" }))),
    ...lanes, ...marks, ...ticks);
}

/** The time line in words: when each link was not as built, then what happened. */
function spoken(line, own) {
  const times = ({ from_s: from, to_s: to }) => `${running(from * 1000)} – ${running(to * 1000)}`;
  const links = line.links.map((link) => `${own(link)} ${link.spans.filter((span) => span.state !== "up").map(times).join(", ")}`);
  return [...links, ...line.marks.map(own)].join("; ");
}
