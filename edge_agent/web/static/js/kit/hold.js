// SPDX-License-Identifier: Apache-2.0
/** The two seconds of the SOS button: a press must be held, the time held is shown, letting go early does nothing. */

export const HOLD_MS = 2000;
const FRAME_MS = 50;

export class SosHold {
  constructor({ changed, done }) {
    this.changed = changed;
    this.done = done;
    this.fromMs = null;
    this.timer = 0;
  }

  /** Share of the time that was held, 0 to 1. */
  get share() {
    return this.fromMs === null ? 0 : Math.min(1, Math.max(0, (performance.now() - this.fromMs) / HOLD_MS));
  }

  begin(event) {
    if (this.fromMs !== null || (event.button ?? 0) !== 0) return;
    event.currentTarget.setPointerCapture?.(event.pointerId);
    this.start(event);
  }

  start(event) {
    this.fromMs = event.timeStamp;
    this.timer = setInterval(() => {
      if (this.share >= 1) this.finish();
      else this.changed();
    }, FRAME_MS);
    this.changed();
  }

  /** Let go. The time held is told by the events, so a page that was too busy to notice the two seconds loses no call. */
  release(event) {
    if (this.fromMs !== null && event.timeStamp - this.fromMs >= HOLD_MS) this.finish();
    else this.end();
  }

  finish() {
    this.end();
    navigator.vibrate?.(300);
    this.done();
  }

  end() {
    clearInterval(this.timer);
    this.fromMs = null;
    this.changed();
  }

  /** Space or Enter held down is a held button; the repeats of a held key are not new presses. */
  key(event) {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (event.type === "keyup") this.release(event);
    else if (!event.repeat && this.fromMs === null) this.start(event);
  }
}
