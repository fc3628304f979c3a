// SPDX-License-Identifier: Apache-2.0
/** The command page: takes the server's state, draws all parts, listens to keys. */

import { h, patch } from "../dom.js";
import { watchFaults } from "../fault.js";
import { MapView } from "../map/map_view.js";
import { Pager } from "../pager.js";
import { Prefs } from "../prefs.js";
import { Line, RefusedAction } from "../socket.js";
import { Sound } from "../sound.js";
import { hasWord, say as sayIn } from "../words.js";
import { bandAlarm, isMuted, openAlarms, soundFor } from "./alarms.js";
import { bandParts } from "./band.js";
import { footPart, headPart } from "./head.js";
import { tabbedColumn, wallColumn } from "./right.js";
import { sceneOf } from "./scene.js";
import { sheetPart } from "./sheets.js";
import { Tracks } from "./tracks.js";
import { unitPart } from "./unit_detail.js";
import { unitsPart } from "./units.js";
import { wallRow } from "./wall.js";

const TICK_MS = 250;
const WALL = window.matchMedia("(min-width: 1680px) and (min-height: 900px)");

class CommandPage {
  constructor() {
    this.prefs = new Prefs(["day", "night"]);
    this.pager = new Pager();
    watchFaults(() => this.say("fault"));
    this.sound = new Sound();
    this.ui = { tab: "orders", chosen: "", sheet: null, search: "", dms: false, refused: "", trueColours: false, unreadable: new Set(), isWall: WALL.matches };
    this.map = null;
    this.ranFour = new Set();
    this.tracks = new Tracks();
    this.line = new Line({ path: "/api/state", changed: () => this.render() });
    this.prefs.follow(() => { this.map?.redraw(); this.render(); });
    setInterval(() => this.render(), TICK_MS);
    WALL.addEventListener("change", () => { this.ui.isWall = WALL.matches; this.render(); });
    window.addEventListener("resize", () => this.render());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  get state() {
    return this.line.state;
  }

  get time() {
    return { nowMs: this.line.nowMs, isLive: this.line.isLive, silentMs: this.line.silentMs };
  }

  say = (key, values) => sayIn(this.prefs.lang, key, values);

  unit(id) {
    return this.state.units.find((unit) => unit.id === id);
  }

  system(code) {
    return hasWord(`source.${code}`) ? this.say(`source.${code}`) : code;
  }

  choose(id) {
    Object.assign(this.ui, { chosen: this.ui.chosen === id ? "" : id, sheet: null });
    this.render();
    const unit = this.ui.chosen ? this.unit(this.ui.chosen) : null;
    if (!unit) this.map?.goTo([]);
    else if (unit.position) this.map?.goTo([unit.position, ...(unit.track ?? [])]);
    if (unit) this.tracks.load(unit.id).then(() => this.render());
  }

  openTab(name) {
    Object.assign(this.ui, { tab: name, chosen: "", sheet: null });
    this.render();
  }

  openSheet(sheet) {
    Object.assign(this.ui, { sheet, refused: "" });
    this.render();
  }

  closeSheet() {
    Object.assign(this.ui, { sheet: null, refused: "", trueColours: false });
    this.render();
  }

  search(text) {
    this.ui.search = text;
    this.render();
  }

  toggleDms() {
    this.ui.dms = !this.ui.dms;
    this.render();
  }

  toggleColours() {
    this.ui.trueColours = !this.ui.trueColours;
    this.render();
  }

  switchView() {
    this.prefs.switchView();
    this.map?.redraw();
    this.render();
  }

  switchLanguage() {
    this.prefs.switchLanguage();
    this.render();
  }

  enableSound() {
    this.sound.start();
    this.sound.test();
    this.render();
  }

  /** Do `path`; a refusal is shown in the open form or, without one, in the duty form. */
  async act(path, body) {
    try {
      await this.line.act(path, body);
      if (this.ui.sheet) this.closeSheet();
    } catch (error) {
      if (!(error instanceof RefusedAction)) throw error;
      this.ui.refused = error.message;
      this.render();
    }
  }

  /** Like `act`, under the name of who is on duty; asks for that name first when nobody is. */
  asDuty(path, body) {
    if (this.state.duty) return this.act(path, body);
    this.openSheet({ name: "duty" });
    return undefined;
  }

  key(event) {
    const isTyping = event.target.matches?.("input, textarea, select");
    if (event.altKey && event.key === "1") {
      document.querySelector("[data-act=confirm]")?.focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (this.ui.sheet) this.closeSheet();
      else if (this.ui.chosen) this.choose("");
    } else if (event.key === "/" && !isTyping) {
      document.querySelector("[data-act=search]")?.focus();
      event.preventDefault();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !isTyping) {
      step(event);
    }
  }

  render() {
    const root = document.getElementById("page");
    document.title = this.state ? `${this.say("page.command")} · ${this.state.node.name}` : this.say("page.command");
    if (!this.state) {
      patch(root, h("p", { class: "waiting-for-server" }, this.say(this.line.tries > 3 ? "lost_server.title" : "page.command", { time: "" })));
      return;
    }
    this.draw(root);
    if (this.pager.measure(root)) this.draw(root);
    this.showMap();
    this.soundNow();
  }

  draw(root) {
    const alarm = bandAlarm(this.state);
    const isFramed = alarm?.kind === "sos";
    const unit = this.ui.chosen && this.unit(this.ui.chosen);
    const right = this.ui.sheet ? sheetPart(this) : unit ? unitPart(this, unit) : this.ui.isWall ? wallColumn(this) : tabbedColumn(this);
    patch(root, h("div", { class: `page${isFramed ? " sos-open" : ""}${this.time.isLive ? "" : " stopped"}` },
      headPart(this), bandParts(this),
      h("main", { class: "work", key: "work" }, unitsPart(this),
        h("div", { class: "centre", key: "centre" }, this.mapPart(), this.ui.isWall ? wallRow(this) : null),
        right),
      footPart(this)));
  }

  mapPart() {
    const isEmpty = !this.state.units.length;
    return h("div", { class: "map", key: "map", role: "region", "aria-label": this.say("legend.note") },
      h("div", { class: "map-face", key: "face", opaque: true, mounted: (node) => queueMicrotask(() => this.startMap(node)) }),
      h("div", { class: "map-zoom", key: "zoom" },
        h("button", { "aria-label": this.say("map.closer"), onclick: () => this.map?.zoom(1) }, "+"),
        h("button", { "aria-label": this.say("map.farther"), onclick: () => this.map?.zoom(-1) }, "−")),
      isEmpty ? h("p", { class: "map-note", key: "note" }, h("b", {}, this.say("units.none")), this.say("units.how")) : null);
  }

  startMap(node) {
    this.map = new MapView(node, { choose: (id) => this.choose(id) });
    this.mapLook = "";
    this.map.addLayers(this.state.layers ?? [], (layer) => { this.ui.unreadable.add(layer.url); this.mapLook = ""; });
    this.showMap();
    this.map.load();
  }

  /** Marks and ages of the map: after every message, and once a second for what only grows older. */
  showMap() {
    const look = [this.line.heardAt, this.time.isLive, Math.floor(this.time.nowMs / 1000), this.ui.chosen, this.prefs.lang].join();
    if (!this.map || look === this.mapLook) return;
    this.mapLook = look;
    this.map.show(sceneOf(this));
  }

  soundNow() {
    this.sound.want(soundFor(this.state, this.time));
    for (const alarm of openAlarms(this.state)) {
      if (alarm.kind === "alarm" && !this.ranFour.has(alarm.id) && !isMuted(this.state, alarm, this.time.nowMs)) {
        this.ranFour.add(alarm.id);
        this.sound.once("alarm");
      }
    }
  }
}

/** Arrow keys walk the buttons of the list that has the focus. */
function step(event) {
  const list = event.target.closest?.("[data-list]");
  if (!list) return;
  const buttons = [...list.querySelectorAll("button:not([disabled])")];
  const at = buttons.indexOf(event.target);
  const next = buttons[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (next) {
    next.focus();
    event.preventDefault();
  }
}

new CommandPage();
