// SPDX-License-Identifier: Apache-2.0
/** The deployment's own layers on the map: raster tiles of this node, from a folder or out of one PMTiles archive. */

const TYPES = { 2: "image/png", 3: "image/jpeg", 4: "image/webp", 5: "image/avif" }; // PMTiles specification, section 3

/** The Leaflet layer of `{kind, url, min_zoom, max_zoom}`. `failed()` is called when its tiles cannot be read. */
export function tileLayer({ kind, url, min_zoom: minZoom, max_zoom: maxZoom }, failed) {
  const options = { minNativeZoom: minZoom, maxNativeZoom: maxZoom, minZoom: 0, maxZoom: 22, keepBuffer: 1 };
  return kind === "pmtiles" ? archiveLayer(url, options, failed) : window.L.tileLayer(url, options);
}

function archiveLayer(url, options, failed) {
  const archive = new window.pmtiles.PMTiles(url);
  const layer = new (window.L.GridLayer.extend({
    createTile({ z, x, y }, done) {
      const image = document.createElement("img");
      image.alt = "";
      image.onload = () => {
        URL.revokeObjectURL(image.src);
        done(null, image);
      };
      image.onerror = () => done(new Error("not a picture"), image);
      Promise.all([archive.getHeader(), archive.getZxy(z, x, y)]).then(([header, tile]) => {
        if (tile) image.src = URL.createObjectURL(new Blob([tile.data], { type: TYPES[header.tileType] }));
        else done(null, image); // beyond the edge of what was prepared
      }).catch((error) => { // whatever the library says of a file that was changed or taken away: the map works without it
        failed();
        done(error, image);
      });
      return image;
    },
  }))(options);
  return layer;
}
