// SPDX-License-Identifier: Apache-2.0
/** Ages, clock times, sizes and rates as people read them. Times are UTC milliseconds, durations milliseconds. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NB = "\u00a0"; // a number and its unit stay on one line
export const DAY = 24 * HOUR;

const two = (value) => String(value).padStart(2, "0");

/** Minutes east of Greenwich of this browser at `atMs`; pages show the zone beside the clock. */
export function zoneMinutes(atMs) {
  return -new Date(atMs).getTimezoneOffset();
}

/** "+08:00". */
export function zoneText(atMs) {
  const minutes = zoneMinutes(atMs);
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** "03:12:44", or with the date where `atMs` is more than 24 h from `nowMs`; "–" for a time not known. */
export function clock(atMs, nowMs = atMs, { seconds = true } = {}) {
  if (atMs === null || atMs === undefined) return "–";
  const day = new Date(atMs);
  const time = `${two(day.getHours())}:${two(day.getMinutes())}${seconds ? `:${two(day.getSeconds())}` : ""}`;
  if (Math.abs(nowMs - atMs) < DAY) return time;
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())} ${time}`;
}

/** "7 s", "2 min 14 s", "31 min", "3 h 10 min": a duration; seconds are named below `exactMs` only. */
export function duration(ms, exactMs = 10 * MINUTE) {
  const size = Math.max(0, ms);
  if (size < MINUTE) return `${Math.floor(size / 1000)}${NB}s`;
  if (size < exactMs) {
    const seconds = Math.floor((size % MINUTE) / 1000);
    return `${Math.floor(size / MINUTE)}${NB}min${seconds ? ` ${seconds}${NB}s` : ""}`;
  }
  if (size < HOUR) return `${Math.floor(size / MINUTE)}${NB}min`;
  if (size < 2 * DAY) {
    const minutes = Math.floor((size % HOUR) / MINUTE);
    return `${Math.floor(size / HOUR)}${NB}h${minutes ? ` ${minutes}${NB}min` : ""}`;
  }
  return `${Math.floor(size / DAY)}${NB}d`;
}

/** "31 min 12 s": a duration with its seconds up to an hour. */
export function exactDuration(ms) {
  return duration(ms, HOUR);
}

/** "0:38", "1:02:05": time that runs. */
export function running(ms) {
  const all = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor((all % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

/** Age of a fact of `atMs`: a duration while the page is live, the clock time once it is not or beyond 24 h. */
export function age(atMs, time, exactMs) {
  if (atMs === null || atMs === undefined) return "–";
  if (!time.isLive || time.nowMs - atMs >= DAY) return clock(atMs, time.nowMs);
  return duration(time.nowMs - atMs, exactMs);
}

/** "21 KB", "6.2 MB" (powers of 1000, as links count). */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1000) return `${Math.round(bytes)}${NB}B`;
  for (const [unit, factor] of [["KB", 1e3], ["MB", 1e6], ["GB", 1e9]]) {
    const value = bytes / factor;
    if (value < 999.5 || unit === "GB") return `${value < 9.95 ? trim(value.toFixed(1)) : Math.round(value)}${NB}${unit}`;
  }
  return "–";
}

/** "9.6 kbit/s", "8.2 Mbit/s"; "–" when not known. */
export function rate(bps) {
  if (bps === null || bps === undefined) return "–";
  if (bps < 1000) return `${Math.round(bps)}${NB}bit/s`;
  const [value, unit] = bps < 999_500 ? [bps / 1e3, "kbit/s"] : [bps / 1e6, "Mbit/s"];
  return `${value < 99.5 ? trim(value.toFixed(1)) : Math.round(value)}${NB}${unit}`;
}

/** "52 ms", "1.9 s". */
export function roundTrip(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return seconds < 0.9995 ? `${Math.round(seconds * 1000)}${NB}ms` : `${trim(seconds.toFixed(1))}${NB}s`;
}

/** "8 %", "0.4 %". */
export function loss(ratio) {
  if (ratio === null || ratio === undefined) return "–";
  const value = ratio * 100;
  return `${value === 0 || value >= 9.5 ? Math.round(value) : trim(value.toFixed(1))}${NB}%`;
}

/** A number with the digits its size deserves. */
export function amount(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return trim(value.toFixed(places));
}

/** "1,284". */
export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** "28.4600° N 121.9000° E". */
export function place(latDeg, lonDeg) {
  const north = `${Math.abs(latDeg).toFixed(4)}° ${latDeg < 0 ? "S" : "N"}`;
  return `${north} ${Math.abs(lonDeg).toFixed(4)}° ${lonDeg < 0 ? "W" : "E"}`;
}

/** `28°27'36.0" N 121°54'00.0" E`. */
export function placeDms(latDeg, lonDeg) {
  const part = (deg, plus, minus) => {
    const tenths = Math.round(Math.abs(deg) * 36_000);
    const [whole, minutes, seconds] = [Math.floor(tenths / 36_000), Math.floor((tenths % 36_000) / 600), (tenths % 600) / 10];
    return `${whole}°${two(minutes)}'${seconds.toFixed(1).padStart(4, "0")}" ${deg < 0 ? minus : plus}`;
  };
  return `${part(latDeg, "N", "S")} ${part(lonDeg, "E", "W")}`;
}

function trim(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
