// SPDX-License-Identifier: Apache-2.0
/** What a device says of a link, in words: a modem's signal, a dish's margin, a mesh neighbour. */

export function hintWords(say, hint) {
  const figures = [
    hint.signal_dbm === null ? "" : `${Math.round(hint.signal_dbm)} dBm`,
    hint.snr_db === null ? "" : `${Number.isInteger(hint.snr_db) ? hint.snr_db : hint.snr_db.toFixed(1)} dB`,
    hint.note,
  ].filter(Boolean).join(" ");
  const words = [say("hint.says", { source: hint.source, what: figures || say(hint.is_up === false ? "hint.not_connected" : "hint.connected") })];
  if (figures && hint.is_up === false) words.push(say("hint.not_connected"));
  if (hint.warns) words.push(say("hint.warns"));
  return words;
}
