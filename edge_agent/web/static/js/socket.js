// SPDX-License-Identifier: Apache-2.0
/** The page's line to its server: state by WebSocket, actions by POST, and the server's clock. */

const STALE_MS = 2500; // the server speaks at least every second; the page must say so within 3 s of silence
const RETRY_MS = 1000;
const CLOCK_SET_MS = 1000; // a server whose clock is this far behind what was shown has set it back; less is delay on the way

export class Line {
  /** `changed()` is called after every message and every change of the connection. */
  constructor({ path, changed }) {
    this.path = path;
    this.changed = changed;
    this.state = null;
    this.token = "";
    this.heardAt = -Infinity; // performance.now() of the last message
    this.lostAt = null; // performance.now() when the page stopped being live
    this.serverMs = 0;
    this.shownMs = 0; // the latest time that anybody was told
    this.tries = 0;
    this.gap = null;
    this.connect();
  }

  get isLive() {
    return Boolean(this.state) && performance.now() - this.heardAt < STALE_MS;
  }

  /** Server time now; once the page is not live, that of the last message. A message that took longer than the one
   *  before does not turn it back, or ages would fall without news. */
  get nowMs() {
    if (!this.isLive) return this.serverMs;
    const nowMs = this.serverMs + performance.now() - this.heardAt;
    if (nowMs > this.shownMs || nowMs < this.shownMs - CLOCK_SET_MS) this.shownMs = nowMs;
    return this.shownMs;
  }

  /** Milliseconds since the last message. */
  get silentMs() {
    return performance.now() - this.heardAt;
  }

  connect() {
    clearTimeout(this.retry);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}`);
    this.socket = socket;
    this.tries += 1;
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.retry = setTimeout(() => this.connect(), RETRY_MS);
      this.changed();
    };
  }

  /** Try at once: a person pressed for it. */
  retryNow() {
    const old = this.socket;
    this.connect();
    old.close();
  }

  take(message) {
    const silent = this.silentMs;
    if (this.state && silent > STALE_MS) this.gap = { fromMs: this.serverMs, toMs: message.now_ms, ms: silent };
    this.state = message;
    this.serverMs = message.now_ms;
    this.heardAt = performance.now();
    this.tries = 0;
    if (message.csrf) this.token = message.csrf;
    this.changed();
  }

  /** POST an action: `body` as JSON, or a file as it is. Returns the server's answer. Throws RefusedAction with the reason it gave. */
  async act(path, body) {
    const isFile = body instanceof Blob;
    const headers = { "X-CSRF-Token": this.token, "Content-Type": isFile ? body.type : "application/json" };
    let answer;
    try {
      answer = await fetch(path, { method: "POST", headers, body: isFile ? body : JSON.stringify(body ?? {}) });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // TypeError is fetch's word for a server that does not answer
      throw new RefusedAction("no answer");
    }
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new RefusedAction(content.error ?? String(answer.status));
    return content;
  }
}

/** The server did not do what a person asked; the message is its reason. */
export class RefusedAction extends Error {}
