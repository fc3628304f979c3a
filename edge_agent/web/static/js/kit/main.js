// SPDX-License-Identifier: Apache-2.0
/** The kit page: takes the kit's state, draws the screen that fits, keeps what a person typed. */

import { h, patch } from "../dom.js";
import { watchFaults } from "../fault.js";
import { Pager } from "../pager.js";
import { keep, Prefs, recall } from "../prefs.js";
import { Line, RefusedAction } from "../socket.js";
import { Sound } from "../sound.js";
import { hasWord, say as sayIn } from "../words.js";
import { SosHold } from "./hold.js";
import { normalScreen } from "./home.js";
import { sheetScreen } from "./sheets.js";
import { sirenOrder, sirenScreen } from "./siren.js";
import { sosScreen } from "./sos.js";

const TICK_MS = 250;
const PHRASE_UNDO_MS = 5000;

class KitPage {
  constructor() {
    this.prefs = new Prefs(["day", "night", "sun"]);
    this.pager = new Pager();
    this.sound = new Sound();
    watchFaults(() => this.say("fault"));
    this.ui = { sheet: "", text: recall("draft") ?? "", grade: "immediate", photo: null, caption: "", refused: "", folded: "", unfolded: "", opened: "", undo: null };
    this.hold = new SosHold({ changed: () => this.render(), done: () => this.raiseSos() });
    this.line = new Line({ path: "/api/state", changed: () => this.render() });
    this.prefs.follow(() => this.render());
    setInterval(() => this.render(), TICK_MS);
    window.addEventListener("resize", () => this.render());
  }

  get state() {
    return this.line.state;
  }

  get time() {
    return { nowMs: this.line.nowMs, isLive: this.line.isLive, silentMs: this.line.silentMs };
  }

  say = (key, values) => sayIn(this.prefs.lang, key, values);

  system(code) {
    return hasWord(`source.${code}`) ? this.say(`source.${code}`) : code;
  }

  open(sheet) {
    Object.assign(this.ui, { sheet, refused: "" });
    this.render();
  }

  /** Show what can be done with one waiting message; another press elsewhere closes it. */
  openRow(id) {
    this.ui.opened = id;
    this.render();
  }

  write(text) {
    this.ui.text = text;
    keep("draft", text); // the phone's browser may end at any moment; the words are not to be typed twice
  }

  /** POST; true when it was done. What the kit refuses is shown where the person looks. */
  async act(path, body) {
    try {
      this.answer = await this.line.act(path, body);
      this.ui.refused = "";
      return true;
    } catch (error) {
      if (!(error instanceof RefusedAction)) throw error;
      this.ui.refused = error.message;
      return false;
    } finally {
      this.render();
    }
  }

  async raiseSos() {
    this.ui.folded = "";
    await this.act("/api/sos", {});
  }

  async sendText() {
    const text = this.ui.text.trim();
    if (text && await this.act("/api/text", { text, precedence: this.ui.grade })) {
      this.write("");
      this.open("");
    }
  }

  async sendPhrase(phrase) {
    if (!await this.act("/api/phrase", { phrase })) return;
    this.ui.undo = { id: this.answer.id, phrase, untilMs: this.answer.undo_until_ms ?? this.time.nowMs + PHRASE_UNDO_MS };
    this.open("");
  }

  async chooseProfile(profile) {
    if (await this.act("/api/profile", { profile })) this.open("links");
  }

  async undoPhrase() {
    const { id } = this.ui.undo;
    if (await this.act("/api/cancel", { id })) this.ui.undo = null;
    this.render();
  }

  async sendPhoto() {
    if (await this.act(`/api/photo?caption=${encodeURIComponent(this.ui.caption.trim())}`, this.ui.photo.file)) {
      this.takePhoto(null);
      this.ui.caption = "";
      this.open("");
    }
  }

  takePhoto(file) {
    if (this.ui.photo) URL.revokeObjectURL(this.ui.photo.url);
    this.ui.photo = file ? { file, url: URL.createObjectURL(file) } : null;
    this.render();
  }

  /** Fold the SOS `id` to the first row of messages. */
  fold(id) {
    Object.assign(this.ui, { folded: id, unfolded: "" });
    this.render();
  }

  unfold() {
    Object.assign(this.ui, { folded: "", unfolded: this.state.sos.id });
    this.render();
  }

  /** Whether the SOS takes the screen: for its first ten seconds always, later until it is folded; a withdrawn one only
   *  when asked for, so that the button for another is at hand. */
  showsSos(sos, isUndoable) {
    if (isUndoable) return true;
    return sos.withdrawn_ms ? this.ui.unfolded === sos.id : this.ui.folded !== sos.id;
  }

  render() {
    const root = document.getElementById("page");
    document.title = this.state ? `${this.state.node.name} · ${this.say("page.kit")}` : this.say("page.kit");
    if (!this.state) {
      patch(root, h("p", { class: "kit-lost" }, this.say("page.kit")));
      return;
    }
    if (this.ui.undo && this.ui.undo.untilMs <= this.time.nowMs) this.ui.undo = null;
    this.draw(root);
    if (this.pager.measure(root)) this.draw(root);
  }

  draw(root) {
    const { sos } = this.state;
    const isUndoable = sos && !sos.withdrawn_ms && this.time.nowMs < sos.undo_until_ms;
    const order = sirenOrder(this.state);
    this.sound.want(order && this.time.isLive ? "siren" : "");
    if (order && !isUndoable) patch(root, sirenScreen(this, order));
    else if (sos && !this.ui.sheet && this.showsSos(sos, isUndoable)) patch(root, sosScreen(this, sos, isUndoable));
    else patch(root, this.ui.sheet ? sheetScreen(this) : normalScreen(this));
  }
}

new KitPage();
