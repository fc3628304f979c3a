// SPDX-License-Identifier: Apache-2.0
/** Where labels go: none covers a dot or another label; dots too close to tell apart become one cluster.
 *
 *  Plain geometry in px, without a page: boxes are `{x, y, w, h}` from their top left corner.
 */

const CLEARANCE = 2; // px between a label and anything else

export function overlaps(one, other) {
  return one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h;
}

/** Groups of `dots` (`{x, y, r, isException}`) nearer than their sizes allow; an exception always stands alone. */
export function cluster(dots) {
  const groups = [];
  for (const dot of dots) {
    const near = dot.isException ? null : groups.find((group) => !group.dots[0].isException
      && Math.hypot(group.x - dot.x, group.y - dot.y) < dot.r * 2.2);
    if (near) {
      near.dots.push(dot);
      near.x += (dot.x - near.x) / near.dots.length;
      near.y += (dot.y - near.y) / near.dots.length;
    } else {
      groups.push({ x: dot.x, y: dot.y, r: dot.r, dots: [dot] });
    }
  }
  return groups;
}

/** Place one label `{w, h}` for a mark at (x, y) of radius r. Returns its box, or null where nothing is free.
 *
 *  `distances` are tried from near to far, sides from right to left; `taken` are boxes that stay uncovered. */
export function placeLabel(mark, label, taken, bounds, distances = [4]) {
  for (const distance of distances) {
    for (const [side, drop] of SIDES) {
      const reach = mark.r + distance;
      const box = {
        x: mark.x + (side > 0 ? reach : side < 0 ? -reach - label.w : -label.w / 2),
        y: mark.y + drop * (reach + label.h / 2) - label.h / 2,
        w: label.w, h: label.h,
      };
      if (isFree(box, taken, bounds)) return { ...box, isFar: distance > distances[0] };
    }
  }
  return null;
}

const SIDES = [
  [1, 0], [-1, 0], [1, -0.55], [1, 0.55], [-1, -0.55], [-1, 0.55], [0, -1], [0, 1], [1, -1], [1, 1], [-1, -1], [-1, 1],
];

export function isFree(box, taken, bounds) {
  if (box.x < bounds.x || box.y < bounds.y || box.x + box.w > bounds.x + bounds.w || box.y + box.h > bounds.y + bounds.h) {
    return false;
  }
  const room = { x: box.x - CLEARANCE, y: box.y - CLEARANCE, w: box.w + 2 * CLEARANCE, h: box.h + 2 * CLEARANCE };
  return !taken.some((other) => overlaps(room, other));
}

/** The box of a dot. */
export function dotBox(dot) {
  return { x: dot.x - dot.r, y: dot.y - dot.r, w: dot.r * 2, h: dot.r * 2 };
}
