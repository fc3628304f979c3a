// SPDX-License-Identifier: Apache-2.0
/** Alarm sounds by WebAudio: one alarm at a time, the highest rank. A browser is silent before a first touch. */

// Per pattern: tones of [frequency Hz, from s, length s, loudness] and the seconds until they come again (0: once).
const PATTERNS = {
  sos: { tones: [[660, 0, 0.28, 0.5], [880, 0.34, 0.28, 0.5], [1175, 0.68, 0.4, 0.55]], everyS: 3 },
  sos_louder: { tones: [[660, 0, 0.28, 0.8], [880, 0.34, 0.28, 0.8], [1175, 0.68, 0.4, 0.9]], everyS: 1.5 },
  threat: { tones: [[740, 0, 0.3, 0.45], [988, 0.36, 0.36, 0.45]], everyS: 5 },
  threat_louder: { tones: [[740, 0, 0.3, 0.7], [988, 0.36, 0.36, 0.7]], everyS: 2.5 },
  lost: { tones: [[262, 0, 0.7, 0.5]], everyS: 15 },
  lost_louder: { tones: [[262, 0, 0.7, 0.7]], everyS: 7.5 },
  server: { tones: [[330, 0, 0.35, 0.45], [220, 0.4, 0.6, 0.45]], everyS: 30 },
  siren: { tones: [[520, 0, 0.45, 0.9], [780, 0.45, 0.45, 0.9], [520, 0.9, 0.45, 0.9], [780, 1.35, 0.45, 0.9]], everyS: 2 },
  alarm: { tones: [[587, 0, 0.4, 0.4]], everyS: 0 },
  test: { tones: [[660, 0, 0.2, 0.4], [880, 0.24, 0.2, 0.4], [1175, 0.48, 0.3, 0.4]], everyS: 0 },
};

export class Sound {
  constructor() {
    this.context = null;
    this.pattern = "";
    this.nextAtS = 0;
    // A wall whose browser is set up to sound may do so at once; elsewhere every press is a chance to start.
    for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => this.start(), { capture: true });
    this.start();
  }

  get isRunning() {
    return this.context?.state === "running";
  }

  /** Begin to be able to sound; only a person's press makes a browser allow it. */
  start() {
    if (!this.context) this.context = new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
  }

  test() {
    this.start();
    this.play(PATTERNS.test);
  }

  /** Once, beside nothing else: for an alarm without a band. */
  once(name) {
    if (!this.pattern && this.isRunning) this.play(PATTERNS[name]);
  }

  /** Sound `name` until told otherwise; "" is silence. Call often: it also repeats the pattern. */
  want(name) {
    if (name !== this.pattern) {
      this.pattern = name;
      this.nextAtS = 0;
    }
    document.documentElement.dataset.sound = !this.isRunning ? "off" : name || "ready";
    if (!name || !this.isRunning || this.context.currentTime < this.nextAtS) return;
    this.nextAtS = this.context.currentTime + PATTERNS[name].everyS;
    this.play(PATTERNS[name]);
  }

  play({ tones }) {
    const begin = this.context.currentTime + 0.02;
    for (const [frequency, from, length, loudness] of tones) {
      const tone = this.context.createOscillator();
      const gain = this.context.createGain();
      tone.type = "triangle";
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0, begin + from);
      gain.gain.linearRampToValueAtTime(loudness, begin + from + 0.02);
      gain.gain.setValueAtTime(loudness, begin + from + length - 0.05);
      gain.gain.linearRampToValueAtTime(0, begin + from + length);
      tone.connect(gain).connect(this.context.destination);
      tone.start(begin + from);
      tone.stop(begin + from + length);
    }
  }
}
