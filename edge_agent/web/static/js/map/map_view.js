// SPDX-License-Identifier: Apache-2.0
/** The map: Leaflet moves it, a canvas shows land and grid, an SVG above shows marks, labels, rings and scale.
 *
 *  What to show comes as plain values by `show`; nothing here knows alarms or words.
 */

import { h, patch } from "../dom.js";
import { gridLines, rangeRings, scaleBar } from "./grid.js";
import { drawLand, mercatorX, mercatorY, readRings } from "./land.js";
import { footHeight, overlayParts } from "./overlay.js";
import { tileLayer } from "./tile_layers.js";

const HANDS_OFF_MS = 30_000; // the map does not move by itself while a person used it this long ago
const TOWNS_SHOWN = 14; // more hide the coast

export class MapView {
  /** `choose(unitId)` is called for a press on a mark. */
  constructor(element, { choose }) {
    this.element = element;
    this.choose = choose;
    this.scene = { marks: [], tracks: [], centre: null, sources: [], isLive: true, note: "" };
    this.rings = [];
    this.towns = [];
    this.usedAtMs = -Infinity;
    this.fitted = "";
    this.canvas = document.createElement("canvas");
    this.canvas.className = "map-land";
    this.overlay = document.createElement("div");
    this.overlay.className = "map-overlay";
    this.leaflet = window.L.map(element, {
      attributionControl: false, zoomControl: false, zoomAnimation: false, fadeAnimation: false, markerZoomAnimation: false,
      minZoom: 2, maxZoom: 17, zoomSnap: 0.25, zoomDelta: 0.5, wheelPxPerZoomLevel: 120, maxBoundsViscosity: 1,
      maxBounds: [[-85, -180], [85, 180]],
    });
    element.prepend(this.canvas);
    element.append(this.overlay);
    this.leaflet.setView([25, 105], 3.5);
    this.leaflet.on("move zoom resize", () => this.redraw());
    for (const name of ["pointerdown", "wheel", "keydown"]) {
      element.addEventListener(name, () => { this.usedAtMs = performance.now(); }, { passive: true });
    }
    new ResizeObserver(() => this.leaflet.invalidateSize({ animate: false })).observe(element);
  }

  /** Fetch land and towns from this node. Throws when it does not have them. */
  async load() {
    const [land, towns] = await Promise.all([fetch("/static/map/land.bin"), fetch("/static/map/towns.json")]);
    if (!land.ok || !towns.ok) throw new Error(`map data: status ${land.status} and ${towns.status}`);
    this.rings = readRings(new Uint8Array(await land.arrayBuffer()));
    this.towns = await towns.json();
    this.redraw();
  }

  /** Lay the deployment's own layers over the land, the first lowest; `failed(layer)` when one cannot be read. */
  addLayers(layers, failed) {
    for (const layer of layers) tileLayer(layer, () => failed(layer)).addTo(this.leaflet);
  }

  zoom(by) {
    this.usedAtMs = performance.now();
    this.leaflet.setZoom(this.leaflet.getZoom() + by, { animate: false });
  }

  /** Show `scene`: `{marks, tracks, centre, sources, isLive, note}`, `sources` the lines that name datum and origin; see `overlay.js` for a mark. */
  show(scene) {
    this.scene = scene;
    this.follow();
    this.redraw();
  }

  /** Bring all units into view when their set changes, an alarmed or chosen one when it is outside. */
  follow() {
    if (performance.now() - this.usedAtMs < HANDS_OFF_MS || !this.scene.marks.length) return;
    const wanted = this.scene.marks.map((mark) => mark.id).sort().join();
    if (wanted !== this.fitted) {
      this.fitted = wanted;
      this.fit();
    }
    const { centre } = this.scene;
    if (centre && !this.leaflet.getBounds().pad(-0.08).contains([centre.lat, centre.lon])) {
      this.leaflet.panTo([centre.lat, centre.lon], { animate: false });
    }
  }

  fit() {
    if (!this.scene.marks.length) return;
    const bounds = window.L.latLngBounds(this.scene.marks.map((mark) => [mark.lat, mark.lon]));
    const size = this.leaflet.getSize();
    const foot = footHeight(this.scene, { width: size.x, height: size.y }, getComputedStyle(document.documentElement));
    this.leaflet.fitBounds(bounds.pad(0.04), {
      animate: false, maxZoom: 11, paddingTopLeft: [44, 44], paddingBottomRight: [44, Math.min(44 + foot, size.y / 2)],
    });
  }

  /** Go to a unit a person chose: its track, or its place with its surroundings; `points` empty: all units. */
  goTo(points) {
    this.usedAtMs = performance.now();
    if (!points.length) this.fit();
    else {
      const bounds = window.L.latLngBounds(points.map((point) => [point.lat, point.lon]));
      this.leaflet.fitBounds(bounds.pad(0.5), { animate: false, maxZoom: 11 });
    }
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const size = this.leaflet.getSize();
    if (!size.x || !size.y) return;
    const origin = this.leaflet.getPixelBounds().min;
    const view = {
      world: 256 * 2 ** this.leaflet.getZoom(), left: origin.x, top: origin.y, width: size.x, height: size.y,
    };
    const bounds = this.leaflet.getBounds();
    const edges = { west: bounds.getWest(), east: bounds.getEast(), south: bounds.getSouth(), north: bounds.getNorth() };
    const grid = gridLines(edges, view);
    // The land is drawn again only when it would look different: ages above it change every second, coasts do not.
    const look = JSON.stringify([view, this.scene.isLive, this.rings.length, document.documentElement.dataset.view, window.devicePixelRatio]);
    if (look !== this.drawnLook) this.drawCanvas(view, grid);
    this.drawnLook = look;
    const toPx = (lat, lon) => ({ x: mercatorX(lon) * view.world - view.left, y: mercatorY(lat) * view.world - view.top });
    const { centre } = this.scene;
    const middleLat = this.leaflet.getCenter().lat;
    const rings = rangeRings(centre?.lat ?? middleLat, view.world, Math.min(size.x, size.y) * 0.24);
    const parts = overlayParts({
      scene: this.scene, view, grid, toPx, rings,
      ringsAt: centre ? toPx(centre.lat, centre.lon) : { x: size.x / 2, y: size.y / 2 },
      scale: scaleBar(middleLat, view.world, 110), towns: this.townsIn(edges),
      style: getComputedStyle(document.documentElement), choose: this.choose,
    });
    patch(this.overlay, h("svg", { width: size.x, height: size.y, viewBox: `0 0 ${size.x} ${size.y}` }, ...parts));
  }

  drawCanvas(view, grid) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = this.scene.isLive
      ? { sea: colour("--sea"), land: colour("--land"), coast: colour("--coast") }
      : { sea: colour("--hatch"), land: colour("--panel"), coast: colour("--coast") };
    drawLand(context, this.rings, { ...view, colours });
    context.strokeStyle = colour("--grid");
    context.lineWidth = 1;
    context.beginPath();
    for (const { x } of grid.meridians) line(context, x, 0, x, view.height);
    for (const { y } of grid.parallels) line(context, 0, y, view.width, y);
    context.stroke();
  }

  townsIn({ west, east, south, north }) {
    const found = [];
    for (const [lat, lon, , name] of this.towns) {
      if (lat > south && lat < north && lon > west && lon < east) found.push({ lat, lon, name });
      if (found.length === TOWNS_SHOWN) break;
    }
    return found;
  }
}

function line(context, fromX, fromY, toX, toY) {
  context.moveTo(Math.round(fromX) + 0.5, Math.round(fromY) + 0.5);
  context.lineTo(Math.round(toX) + 0.5, Math.round(toY) + 0.5);
}
