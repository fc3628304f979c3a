// SPDX-License-Identifier: Apache-2.0
/** Which alarm the band shows, which sound it has, what the head counts. Plain values in and out. */

export const RANKS = { sos: 1, threat: 2, lost: 3, alarm: 4 };
const LOUDER_MS = 60_000; // not confirmed after this: sound twice as often, and the band says so

/** Whether `alarm` still calls for a person. */
export function isOpen(alarm) {
  return !alarm.confirmed && !alarm.cleared_ms && !alarm.closed;
}

/** Alarms of `state` that nobody confirmed and that are not over, the highest rank first, in it the oldest. */
export function openAlarms(state) {
  return state.alarms
    .filter(isOpen)
    .sort((one, other) => RANKS[one.kind] - RANKS[other.kind] || one.raised_ms - other.raised_ms);
}

/** Alarms that a person has taken and that are not over. */
export function takenAlarms(state) {
  return state.alarms
    .filter((alarm) => alarm.confirmed && !alarm.cleared_ms && !alarm.closed)
    .sort((one, other) => RANKS[one.kind] - RANKS[other.kind] || one.raised_ms - other.raised_ms);
}

/** The alarm of the band: rank 1 to 3 only; an alarm of rank 4 is a card. */
export function bandAlarm(state) {
  return openAlarms(state).find((alarm) => RANKS[alarm.kind] <= 3) ?? null;
}

export function isLate(alarm, nowMs) {
  return nowMs - alarm.received_ms > LOUDER_MS;
}

/** Name of the sound wanted now; "" for silence. */
export function soundFor(state, { isLive, nowMs }) {
  if (!isLive) return "server";
  const sounding = openAlarms(state).find((alarm) => RANKS[alarm.kind] <= 3 && !isMuted(state, alarm, nowMs));
  if (!sounding) return "";
  return isLate(sounding, nowMs) ? `${sounding.kind}_louder` : sounding.kind;
}

/** Whether every unit of `alarm` is muted now. */
export function isMuted(state, alarm, nowMs) {
  if (alarm.kind === "sos") return false; // nothing mutes a person's call
  const muted = alarm.units.map((id) => state.units.find((unit) => unit.id === id)?.muted_until_ms ?? 0);
  return muted.length > 0 && muted.every((until) => until > nowMs);
}

/** Counts of the head: open SOS, threats, lost contacts (groups by their units), late and back units. */
export function headCounts(state) {
  const going = state.alarms.filter((alarm) => !alarm.cleared_ms && !alarm.closed);
  const units = (kind) => new Set(going.filter((alarm) => alarm.kind === kind).flatMap((alarm) => alarm.units)).size;
  const inState = (name) => state.units.filter((unit) => unit.state === name).length;
  return { sos: units("sos"), threat: units("threat"), lost: units("lost"), late: inState("late"), back: inState("back") };
}

/** The last alarm that is over or taken, for the quiet line. */
export function lastAlarm(state) {
  const past = state.alarms.filter((alarm) => alarm.confirmed || alarm.cleared_ms || alarm.closed);
  return past.sort((one, other) => other.raised_ms - one.raised_ms)[0] ?? null;
}
