// SPDX-License-Identifier: Apache-2.0
/** What the map shows: marks, labels, the track and centre of the chosen or alarmed unit. */

import { age, clock, duration } from "../age.js";
import { bandAlarm } from "./alarms.js";
import { unitName, unitNumber } from "./naming.js";
import { rankedUnits, staleMark } from "./units.js";

const GAP_FACTOR = 3; // positions farther apart than this many usual steps: the way between is not known

export function sceneOf(ctx) {
  const { state, ui, time, say } = ctx;
  const ranked = rankedUnits(state).filter(({ unit }) => unit.position);
  const focus = ui.chosen || bandAlarm(state)?.units[0] || ranked.find(({ alarm }) => alarm)?.id;
  const unit = ranked.find(({ id }) => id === focus)?.unit;
  return {
    marks: ranked.map((each) => mark(ctx, each)),
    tracks: unit && ui.chosen ? [track(ctx, ctx.tracks.of(unit))].filter(({ points }) => points.length > 1) : [],
    centre: unit ? { lat: unit.position.lat, lon: unit.position.lon } : null,
    sources: sources(ctx), isLive: time.isLive,
  };
}

/** Datum, approval number and origin of each layer, then of the shipped map: one line each. */
function sources({ state, ui, say }) {
  const own = (state.layers ?? []).map((layer) => [
    layer.name, layer.datum, layer.approval, layer.attribution, ui.unreadable.has(layer.url) ? say("map.unreadable") : "",
  ].filter(Boolean).join(say("sep")));
  return [...own, say("map.datum")];
}

function mark(ctx, { unit, alarm, mark: name, look, rank }) {
  const { position } = unit;
  const isStale = !ctx.time.isLive && !alarm;
  const isException = rank < 8 || ctx.ui.chosen === unit.id;
  return {
    id: unit.id, number: unitNumber(unit), lat: position.lat, lon: position.lon, look, isException,
    shape: isStale ? staleMark(name) : name, title: unitName(unit), detail: detail(ctx, unit, alarm),
    spoken: `${unitName(unit)} ${ctx.say(alarm ? `band.${alarm.kind}` : `state.${unit.state}`)}`,
  };
}

/** What stands beside a mark: how old the place is, never when its unit was last heard, which is another number. */
function detail(ctx, unit, alarm) {
  const { say, time } = ctx;
  const at = unit.position.captured_ms;
  if (alarm?.kind === "threat") return `${say("band.threat")}${say("sep")}${say("map.position", { age: age(at, time) })}`;
  if (alarm?.kind === "sos") return say("map.sos_position", { age: age(at, time) });
  if (unit.state === "lost") {
    const seen = clock(at, time.nowMs, { seconds: false });
    return time.isLive ? say("map.last_seen", { at: seen, age: age(at, time) }) : say("map.last_seen_at", { at: seen });
  }
  return say("map.position", { age: age(at, time) });
}

function track(ctx, fixes) {
  const steps = fixes.slice(1).map((to, n) => to.captured_ms - fixes[n].captured_ms).sort((one, other) => one - other);
  const usual = Math.max(1000, steps[Math.floor(steps.length / 2)]);
  const points = fixes.map((point, n) => {
    const next = fixes[n + 1];
    return { lat: point.lat, lon: point.lon, isLate: point.is_late, isGapAfter: Boolean(next) && next.captured_ms - point.captured_ms > usual * GAP_FACTOR };
  });
  const notes = points.flatMap((point, n) => (point.isGapAfter ? [{
    lat: (point.lat + points[n + 1].lat) / 2, lon: (point.lon + points[n + 1].lon) / 2,
    text: ctx.say("map.missing", { time: duration(fixes[n + 1].captured_ms - fixes[n].captured_ms) }),
  }] : []));
  return { points, notes };
}
