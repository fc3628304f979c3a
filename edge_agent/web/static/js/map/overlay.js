// SPDX-License-Identifier: Apache-2.0
/** What stands above the land: marks with labels, tracks, range rings, grid numbers, towns, datum and scale.
 *
 *  A mark: `{id, number, lat, lon, shape, look, title, detail, isException, spoken}`; look is "sos", "lost" or "" and fills
 *  the label, title and detail are its two lines (a healthy unit shows its number alone). A track: `{points: [{lat, lon,
 *  isLate}], gaps: [[from, to]], notes: [{lat, lon, lines}]}`.
 */

import { h } from "../dom.js";
import { shape } from "../shapes.js";
import { cluster, dotBox, isFree, placeLabel } from "./place_labels.js";

const JOIN_PX = 70; // a dot without room for its number is named with one at most this far
const FAR = [5, 22, 48, 80, 120]; // px from a mark to its label; beyond the first a line leads to it

/** SVG parts from bottom to top. */
export function overlayParts(given) {
  const { scene, view, toPx, style } = given;
  const sizes = { small: px(style, "--f-floor"), body: px(style, "--f-body"), name: px(style, "--f-title") };
  const measure = measurer(style);
  const bounds = { x: 4, y: sizes.small + 12, w: view.width - 8, h: view.height - sizes.small - 18 };
  const frame = corners(given, sizes, measure);
  const marks = scene.marks
    .map((mark) => ({ ...mark, ...toPx(mark.lat, mark.lon), r: radius(mark, sizes) }))
    .filter((mark) => mark.x > -20 && mark.y > -20 && mark.x < view.width + 20 && mark.y < view.height + 20);
  const groups = cluster(marks.sort((one, other) => Number(other.isException) - Number(one.isException)));
  const taken = [...frame.taken, ...groups.map(dotBox), ...trackBoxes(scene.tracks, toPx)];
  const labelled = labelAll(groups, { taken, bounds, sizes, measure });
  const notes = trackNotes(scene.tracks, { toPx, taken, bounds, sizes, measure });
  return [
    ...gridNumbers(given, sizes), ...ringParts(given, sizes, measure, taken), ...townParts(given, taken, bounds, sizes, measure),
    ...trackParts(scene.tracks, toPx), ...notes,
    ...labelled.map((each) => groupPart(each, given.choose, sizes)), ...frame.parts,
  ];
}

function px(style, name) {
  return Number.parseFloat(style.getPropertyValue(name));
}

function measurer(style) {
  const context = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily || style.fontFamily;
  return (text, size, weight = 400) => {
    context.font = `${weight} ${size}px ${family}`;
    return context.measureText(text).width;
  };
}

function radius(mark, sizes) {
  return mark.look === "sos" ? sizes.body : mark.isException ? sizes.body * 0.72 : sizes.body * 0.52;
}

/** Label every group; a healthy one without room joins its nearest healthy neighbour, which then names both. */
function labelAll(groups, room) {
  const labelled = groups.map((group) => labelGroup(group, room));
  for (const bare of labelled.filter((each) => !each.box && !each.isBoxed)) {
    const near = labelled
      .filter((each) => each.box && !each.isBoxed && Math.hypot(each.group.x - bare.group.x, each.group.y - bare.group.y) < JOIN_PX)
      .sort((one, other) => Math.hypot(one.group.x - bare.group.x, one.group.y - bare.group.y)
        - Math.hypot(other.group.x - bare.group.x, other.group.y - bare.group.y))[0];
    if (!near) continue;
    room.taken.splice(room.taken.indexOf(near.box), 1);
    const joined = labelGroup({ ...near.group, dots: [...near.group.dots, ...bare.group.dots] }, room);
    if (!joined.box) {
      room.taken.push(near.box);
      continue;
    }
    labelled[labelled.indexOf(near)] = { ...joined, others: [...(near.others ?? []), bare.group] };
    labelled.splice(labelled.indexOf(bare), 1);
  }
  return labelled;
}

function labelGroup(group, { taken, bounds, sizes, measure }) {
  const [first] = group.dots;
  const isBoxed = first.isException;
  const title = group.dots.length > 1 ? clusterText(group.dots) : isBoxed ? first.title : first.number;
  const wide = isBoxed
    ? Math.max(measure(first.title, sizes.body, 700), measure(first.detail, sizes.small)) + 12
    : measure(title, sizes.body) + 2;
  const label = isBoxed ? { w: wide, h: sizes.body + sizes.small + 12 } : { w: wide, h: sizes.body + 2 };
  const box = placeLabel(group, label, taken, bounds, isBoxed ? FAR : [3, 9]);
  if (box) taken.push(box);
  return { group, first, title, box, isBoxed };
}

function clusterText(dots) {
  const numbers = dots.map((dot) => dot.number).sort();
  return numbers.length <= 3 ? numbers.join(" ") : `${numbers.slice(0, 2).join(" ")} +${numbers.length - 2}`;
}

function groupPart({ group, first, title, box, isBoxed, others = [] }, choose, sizes) {
  const size = group.r * 2;
  const ids = group.dots.map((dot) => dot.id);
  const mark = shape(first.shape, {
    class: `map-mark ${first.look || "plain"}`, x: group.x - group.r, y: group.y - group.r, width: size, height: size,
  });
  const parts = [mark, ...others.flatMap((other) => [
    h("line", { class: "map-leader", x1: group.x, y1: group.y, x2: other.x, y2: other.y }),
    shape(other.dots[0].shape, { class: "map-mark plain", x: other.x - other.r, y: other.y - other.r, width: other.r * 2, height: other.r * 2 }),
  ])];
  if (box?.isFar) {
    parts.unshift(h("line", {
      class: "map-leader", x1: group.x, y1: group.y, x2: box.x + box.w / 2, y2: box.y + box.h / 2,
    }));
  }
  if (box && isBoxed) {
    parts.push(
      h("rect", { class: `map-box ${first.look || "plain"}`, x: box.x, y: box.y, width: box.w, height: box.h }),
      h("text", { class: `map-title ${first.look || "plain"}`, x: box.x + 6, y: box.y + sizes.body + 2 }, first.title),
      h("text", { class: `map-detail ${first.look || "plain"}`, x: box.x + 6, y: box.y + sizes.body + sizes.small + 6 }, first.detail),
    );
  } else if (box) {
    parts.push(h("text", { class: "map-number", x: box.x + 1, y: box.y + sizes.body * 0.88 }, title));
  }
  return h("g", {
    class: "map-unit", key: `unit-${ids[0]}`, "data-units": ids.join(" "), "data-look": first.look || null,
    "data-labelled": Boolean(box), onclick: () => choose(ids[0]),
  }, h("title", {}, group.dots.map((dot) => dot.spoken).join("; ")), ...parts);
}

function gridNumbers({ grid, view }, sizes) {
  return [
    ...grid.meridians.filter(({ x }) => x > 4 && x < view.width - 64)
      .map(({ x, text }) => h("text", { class: "map-grid", x: x + 4, y: sizes.small + 2 }, text)),
    ...grid.parallels.filter(({ y }) => y > sizes.small * 2.4 && y < view.height - 10)
      .map(({ y, text }) => h("text", { class: "map-grid", x: 4, y: y - 4 }, text)),
  ];
}

function ringParts({ rings, ringsAt, scene }, sizes, measure, taken) {
  if (!scene.centre && scene.marks.length) return [];
  return rings.flatMap(({ r, text }) => {
    const wide = measure(text, sizes.small);
    const box = { x: ringsAt.x - wide / 2, y: ringsAt.y - r - sizes.small - 4, w: wide, h: sizes.small + 4 };
    const isClear = isFree(box, taken, { x: -1e6, y: -1e6, w: 2e6, h: 2e6 });
    if (isClear) taken.push(box);
    return [
      h("circle", { class: "map-ring", cx: ringsAt.x, cy: ringsAt.y, r }),
      isClear ? h("text", { class: "map-grid", x: box.x, y: box.y + sizes.small }, text) : null,
    ];
  });
}

function townParts({ towns, toPx }, taken, bounds, sizes, measure) {
  return towns.flatMap((town) => {
    const at = { ...toPx(town.lat, town.lon), r: 3 };
    if (!isFree(dotBox(at), taken, bounds)) return [];
    const box = placeLabel(at, { w: measure(town.name, sizes.small), h: sizes.small + 2 }, taken, bounds, [3]);
    if (!box) return [];
    taken.push(dotBox(at), box);
    return [
      h("rect", { class: "map-town-mark", x: at.x - 2, y: at.y - 2, width: 4, height: 4 }),
      h("text", { class: "map-town", x: box.x, y: box.y + sizes.small * 0.9 }, town.name),
    ];
  });
}

function trackBoxes(tracks, toPx) {
  return tracks.flatMap((track) => track.points.map((point) => dotBox({ ...toPx(point.lat, point.lon), r: 4 })));
}

function trackParts(tracks, toPx) {
  return tracks.flatMap((track) => {
    const at = track.points.map((point) => ({ ...toPx(point.lat, point.lon), isLate: point.isLate, isGapAfter: point.isGapAfter }));
    const lines = at.slice(1).map((to, n) => h("line", {
      class: at[n].isGapAfter ? "map-track gap" : "map-track", x1: at[n].x, y1: at[n].y, x2: to.x, y2: to.y,
    }));
    return [...lines, ...at.map(({ x, y, isLate }) => h("circle", { class: isLate ? "map-past late" : "map-past", cx: x, cy: y, r: 4 }))];
  });
}

function trackNotes(tracks, { toPx, taken, bounds, sizes, measure }) {
  return tracks.flatMap((track) => (track.notes ?? []).flatMap(({ lat, lon, text }) => {
    const box = placeLabel({ ...toPx(lat, lon), r: 5 }, { w: measure(text, sizes.small) + 10, h: sizes.small + 8 }, taken, bounds, FAR);
    if (!box) return [];
    taken.push(box);
    return [
      h("rect", { class: "map-box plain", x: box.x, y: box.y, width: box.w, height: box.h }),
      h("text", { class: "map-detail plain", x: box.x + 5, y: box.y + sizes.small + 2 }, text),
    ];
  }));
}

/** Datum and sources at the bottom left, scale at the bottom right, a note in the middle where no unit is known. */
function corners({ scene, scale, view }, sizes, measure) {
  const high = sizes.small + 12;
  const { lines, line, tall } = sourceBox(scene, view, sizes, measure);
  const width = Math.max(...lines.map((text) => measure(text, sizes.small)), 0);
  const datum = { x: 10, y: view.height - tall - 8, w: width + 16, h: tall };
  const bar = { x: view.width - 126 - 12, y: view.height - high - 16, w: 126, h: high + 8 };
  const parts = [
    h("rect", { class: "map-corner", x: datum.x, y: datum.y, width: datum.w, height: datum.h }),
    ...lines.map((text, n) => h("text", {
      class: "map-corner-text", x: datum.x + 8, y: datum.y + sizes.small + 4 + n * line, "data-source": n,
    }, text)),
    h("rect", { class: "map-corner", x: bar.x, y: bar.y, width: bar.w, height: bar.h }),
    h("text", { class: "map-corner-text", x: bar.x + bar.w / 2, y: bar.y + sizes.small + 1, "text-anchor": "middle" }, scale.text),
    h("path", {
      class: "map-scale",
      d: `M${bar.x + (bar.w - scale.w) / 2} ${bar.y + bar.h - 11} v6 h${scale.w} v-6`,
    }),
  ];
  return { taken: [datum, bar], parts };
}

/** Pixels at the foot of the map that its sources take: no unit should be brought to stand behind them. */
export function footHeight(scene, view, style) {
  return sourceBox(scene, view, { small: px(style, "--f-floor") }, measurer(style)).tall + 8;
}

function sourceBox(scene, view, sizes, measure) {
  const room = view.width - 126 - 60; // beside the scale
  const lines = scene.sources.flatMap((text) => wrap(text, (part) => measure(part, sizes.small) <= room));
  const line = sizes.small + 4;
  return { lines, line, tall: sizes.small + 12 + line * (lines.length - 1) };
}

/** `text` in lines that fit, broken between words and between Chinese signs; nothing is left out. */
function wrap(text, fits) {
  const lines = [""];
  for (const word of text.match(/[^\s\u3000-\u9fff]+\s*|[\s\S]/gu) ?? []) {
    const last = lines[lines.length - 1];
    if (last && !fits(`${last}${word}`.trimEnd())) lines.push(word);
    else lines[lines.length - 1] = last + word;
  }
  return lines.map((line) => line.trimEnd());
}
