// SPDX-License-Identifier: Apache-2.0
/** Land polygons of `map/land.bin` (format: `scripts/map-data`) and their drawing on a canvas. */

const UNITS_PER_DEGREE = 10_000;
const EDGE = 1e-9; // a point on the 180th meridian: the cut of the source, not a coast

/** Rings of the packed file: `{count, west, south, east, north, points}`, points as Web Mercator x, y from 0 to 1. */
export function readRings(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, 5)) !== "LAND1") throw new Error("land.bin: not a LAND1 file");
  let at = 5;
  const varint = () => {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = bytes[at];
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  };
  const zigzag = () => {
    const value = varint();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  };
  const rings = [];
  for (let left = varint(); left > 0; left -= 1) {
    const count = varint();
    const [west, south, width, height] = [varint(), varint(), varint(), varint()];
    let [x, y] = [varint(), varint()];
    const points = new Float64Array(count * 2);
    for (let each = 0; each < count; each += 1) {
      if (each > 0) [x, y] = [x + zigzag(), y + zigzag()];
      points[each * 2] = mercatorX(x / UNITS_PER_DEGREE - 180);
      points[each * 2 + 1] = mercatorY(y / UNITS_PER_DEGREE - 90);
    }
    rings.push({
      count, points,
      left: mercatorX(west / UNITS_PER_DEGREE - 180), right: mercatorX((west + width) / UNITS_PER_DEGREE - 180),
      top: mercatorY((south + height) / UNITS_PER_DEGREE - 90), bottom: mercatorY(south / UNITS_PER_DEGREE - 90),
    });
  }
  return rings;
}

export function mercatorX(lonDeg) {
  return lonDeg / 360 + 0.5;
}

/** Web Mercator y, 0 at 85.05° north, 1 at 85.05° south; beyond that the edge. */
export function mercatorY(latDeg) {
  const bounded = Math.max(-85.0511, Math.min(85.0511, latDeg));
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + (bounded * Math.PI) / 360)) / (2 * Math.PI);
}

/** Draw `rings` where the canvas shows the Mercator square scaled to `world` px, its corner at (`left`, `top`) px. */
export function drawLand(context, rings, { world, left, top, width, height, colours }) {
  const margin = 24; // px beyond the canvas, so that the cut edges of clipped rings stay unseen
  const box = {
    left: (left - margin) / world, right: (left + width + margin) / world,
    top: (top - margin) / world, bottom: (top + height + margin) / world,
  };
  context.fillStyle = colours.sea;
  context.fillRect(0, 0, width, height);
  const [fill, coast] = [new Path2D(), new Path2D()];
  for (const ring of rings) {
    if (ring.right < box.left || ring.left > box.right || ring.bottom < box.top || ring.top > box.bottom) continue;
    if ((ring.right - ring.left) * world < 0.7 && (ring.bottom - ring.top) * world < 0.7) continue; // below a pixel
    trace(thin(ring.points, 0.6 / world), box, (points) => addRing(fill, coast, points, world, left, top));
  }
  context.fillStyle = colours.land;
  context.fill(fill, "evenodd");
  context.strokeStyle = colours.coast;
  context.lineWidth = 1;
  context.stroke(coast);
}

function thin(points, least) {
  const kept = [points[0], points[1]];
  let [x, y] = kept;
  for (let at = 2; at < points.length; at += 2) {
    if (Math.abs(points[at] - x) < least && Math.abs(points[at + 1] - y) < least && at < points.length - 2) continue;
    x = points[at];
    y = points[at + 1];
    kept.push(x, y);
  }
  return kept;
}

/** Cut a closed ring to `box` (Sutherland and Hodgman 1974) and hand over what is left. */
function trace(points, box, use) {
  let kept = points;
  const sides = [
    [0, box.left, 1], [0, box.right, -1], [1, box.top, 1], [1, box.bottom, -1],
  ];
  for (const [axis, limit, sign] of sides) {
    kept = cutSide(kept, axis, limit, sign);
    if (kept.length < 6) return;
  }
  use(kept);
}

function cutSide(points, axis, limit, sign) {
  const out = [];
  let beforeX = points[points.length - 2];
  let beforeY = points[points.length - 1];
  let wasIn = ((axis ? beforeY : beforeX) - limit) * sign >= 0;
  for (let at = 0; at < points.length; at += 2) {
    const [x, y] = [points[at], points[at + 1]];
    const isIn = ((axis ? y : x) - limit) * sign >= 0;
    if (isIn !== wasIn) {
      const [from, to] = axis ? [beforeY, y] : [beforeX, x];
      const share = (limit - from) / (to - from);
      out.push(axis ? beforeX + (x - beforeX) * share : limit, axis ? limit : beforeY + (y - beforeY) * share);
    }
    if (isIn) out.push(x, y);
    [beforeX, beforeY, wasIn] = [x, y, isIn];
  }
  return out;
}

function addRing(fill, coast, points, world, left, top) {
  const isSourceCut = (value) => value < EDGE || value > 1 - EDGE;
  for (let at = 0; at < points.length; at += 2) {
    const [x, y] = [points[at] * world - left, points[at + 1] * world - top];
    if (at === 0) {
      fill.moveTo(x, y);
      coast.moveTo(x, y);
      continue;
    }
    fill.lineTo(x, y);
    if (isSourceCut(points[at]) && isSourceCut(points[at - 2])) coast.moveTo(x, y);
    else coast.lineTo(x, y);
  }
  fill.closePath();
}
