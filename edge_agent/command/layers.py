"""The deployment's own map layers: raster tiles in one PMTiles archive, or in an XYZ folder.

Both are files of this node; no tile is asked of another one. Source of the archive's header: PMTiles specification,
version 3, section 3.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATUMS = ("WGS-84", "CGCS2000")
"""The two lie within centimetres of each other, and positions are in them. GCJ-02 is up to 700 m off: marks on such
tiles would stand in the wrong street."""
ZOOM_MAX = 22
TILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif")
ARCHIVE_ALLOWED = "a PMTiles archive of version 3 with raster tiles (png, jpeg, webp or avif)"
FOLDER_ALLOWED = f"a folder of tiles ZOOM/X/Y with a name ending in {', '.join(TILE_SUFFIXES)}"

_HEADER = struct.Struct("<7sB11QBBBBBB")
_HEADER_BYTES = 127
_RASTER_TYPES = (2, 3, 4, 5)
_TYPE_NAMES = {0: "unknown", 1: "vector (mvt)", 6: "vector (mlt)"}
_READABLE_COMPRESSIONS = (1, 2)  # none, gzip: what the page's library can undo
_COMPRESSION_NAMES = {0: "unknown", 3: "brotli", 4: "zstd"}

Json = dict[str, Any]  # Any: JSON


class LayerError(ValueError):
    """Tiles that cannot be shown; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSource:
    """Where tiles are. ``suffix`` is that of each tile of a folder, and empty for an archive; zooms are inclusive."""

    path: Path
    suffix: str
    min_zoom: int
    max_zoom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLayer:
    """One layer. ``approval`` is its map approval number, shown with ``name``, ``datum`` and ``attribution``."""

    name: str
    datum: str
    approval: str
    attribution: str
    source: TileSource


def open_archive(path: Path) -> TileSource:
    """The tiles of a PMTiles archive. Raises LayerError."""
    try:
        with path.open("rb") as archive:
            header, size_bytes = archive.read(_HEADER_BYTES), path.stat().st_size
    except OSError as error:
        raise LayerError(f"cannot be read: {error.strerror}") from error
    if not header.startswith(b"PMTiles"):
        raise LayerError(f"begins with {header[:7]!r}, not with b'PMTiles'")
    if len(header) < _HEADER_BYTES:
        raise LayerError(f"is cut off in its header, after {len(header)} of {_HEADER_BYTES} bytes")
    _, version, *places, _, compression, _, tile_type, min_zoom, max_zoom = _HEADER.unpack_from(header)
    if version != 3:
        raise LayerError(f"is of PMTiles version {version}")
    end_bytes = max(places[at] + places[at + 1] for at in (0, 2, 4, 6))  # root, metadata, leaves, tiles
    if end_bytes > size_bytes:
        raise LayerError(f"is cut off after {size_bytes} of {end_bytes} bytes")
    if tile_type not in _RASTER_TYPES:
        raise LayerError(f"has tiles of type {_TYPE_NAMES.get(tile_type, tile_type)}")
    if compression not in _READABLE_COMPRESSIONS:
        raise LayerError(
            f"has directories compressed by {_COMPRESSION_NAMES.get(compression, compression)}, not by gzip"
        )
    if not min_zoom <= max_zoom <= ZOOM_MAX:
        raise LayerError(f"has zooms {min_zoom} to {max_zoom}, not within 0 to {ZOOM_MAX}")
    return TileSource(path=path, suffix="", min_zoom=min_zoom, max_zoom=max_zoom)


def open_folder(path: Path) -> TileSource:
    """The tiles of an XYZ folder. Raises LayerError."""
    try:
        zooms = sorted(int(each.name) for each in path.iterdir() if each.name.isascii() and each.name.isdigit())
    except OSError as error:
        raise LayerError(f"cannot be read: {error.strerror}") from error
    if not zooms:
        raise LayerError("has no folder that is named by a zoom")
    if zooms[-1] > ZOOM_MAX:
        raise LayerError(f"has zoom {zooms[-1]}, not within 0 to {ZOOM_MAX}")
    suffixes = (tile.suffix for zoom in zooms for tile in (path / str(zoom)).glob("*/*") if tile.stem.isdigit())
    suffix = next((each for each in suffixes if each in TILE_SUFFIXES), None)
    if suffix is None:
        raise LayerError("has no tile")
    return TileSource(path=path, suffix=suffix, min_zoom=zooms[0], max_zoom=zooms[-1])


def layers_json(layers: Sequence[MapLayer]) -> list[Json]:
    """The layers as docs/api.md shows them, the lowest first."""
    return [
        {
            "name": layer.name,
            "kind": "xyz" if layer.source.suffix else "pmtiles",
            "url": f"/layers/{number}/{{z}}/{{x}}/{{y}}" if layer.source.suffix else f"/layers/{number}",
            "datum": layer.datum,
            "approval": layer.approval,
            "attribution": layer.attribution,
            "min_zoom": layer.source.min_zoom,
            "max_zoom": layer.source.max_zoom,
        }
        for number, layer in enumerate(layers)
    ]


def find_tiles(layers: Sequence[MapLayer], numbers: Sequence[int]) -> Path | None:
    """The file behind the numbers of a layer's address: the archive of [layer], or the tile of [layer, z, x, y]."""
    if not 0 <= numbers[0] < len(layers):
        return None
    source = layers[numbers[0]].source
    if len(numbers) != (4 if source.suffix else 1):
        return None
    path = source.path.joinpath(*(str(number) for number in numbers[1:]))
    path = path.with_name(path.name + source.suffix)
    return path if path.is_file() else None
