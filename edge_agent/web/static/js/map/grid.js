// SPDX-License-Identifier: Apache-2.0
/** Grid, range rings and scale: round numbers that fit the view. Lengths in px, metres and degrees as named. */

import { mercatorX, mercatorY } from "./land.js";

const STEPS_DEG = [20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const EARTH_M = 40_075_016.7; // length of the equator, WGS-84

/** Metres of one px at `latDeg` where the world is `world` px wide. */
export function metresPerPx(latDeg, world) {
  return (EARTH_M * Math.cos((latDeg * Math.PI) / 180)) / world;
}

/** Lines of the grid in a view: `{meridians: [{x, text}], parallels: [{y, text}]}`. */
export function gridLines({ west, east, south, north }, { world, left, top, width }) {
  const span = east - west;
  const wanted = Math.max(3, width / 110);
  const step = STEPS_DEG.find((each, at) => span / (STEPS_DEG[at + 1] ?? 0) > wanted * 1.6) ?? STEPS_DEG.at(-1);
  const places = Math.max(0, Math.min(3, Math.ceil(-Math.log10(step) - 1e-9)));
  const lines = { meridians: [], parallels: [] };
  for (let n = Math.ceil(west / step); n * step <= east; n += 1) {
    const deg = n * step;
    lines.meridians.push({ x: mercatorX(deg) * world - left, text: `${Math.abs(deg).toFixed(places)}°${deg < 0 ? "W" : "E"}` });
  }
  for (let n = Math.ceil(south / step); n * step <= north; n += 1) {
    const deg = n * step;
    lines.parallels.push({ y: mercatorY(deg) * world - top, text: `${Math.abs(deg).toFixed(places)}°${deg < 0 ? "S" : "N"}` });
  }
  return lines;
}

/** The largest 1, 2 or 5 times a power of ten that is at most `limit`. */
export function roundBelow(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return [5, 2, 1].map((each) => each * power).find((each) => each <= limit) ?? power;
}

/** "25 km", "500 m". */
export function lengthText(metres) {
  return metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
}

/** Two range rings round a place: `[{r, text}]`, the outer one at most `longest` px. */
export function rangeRings(latDeg, world, longest) {
  const scale = metresPerPx(latDeg, world);
  const outer = roundBelow(longest * scale);
  return [outer / 2, outer].map((metres) => ({ r: metres / scale, text: lengthText(metres) }));
}

/** Scale bar of at most `longest` px: `{w, text}`. */
export function scaleBar(latDeg, world, longest) {
  const scale = metresPerPx(latDeg, world);
  const metres = roundBelow(longest * scale);
  return { w: metres / scale, text: lengthText(metres) };
}
