"""Small real tile sets: an XYZ folder and a PMTiles archive of version 3, written by hand after its specification."""

import gzip
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WHOLE_WORLD = (-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000)


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile is: zoom, column from the west, row from the north."""

    z: int
    x: int
    y: int


def png(red: int, green: int, blue: int) -> bytes:
    """A tile of one colour, 256 x 256."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes((red, green, blue)) * 256) * 256
    header = struct.pack(">IIBBBBB", 256, 256, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_folder(folder: Path, tiles: Mapping[Tile, bytes]) -> None:
    """folder/Z/X/Y.png."""
    for tile, image in tiles.items():
        path = folder / str(tile.z) / str(tile.x) / f"{tile.y}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)


def write_archive(path: Path, tiles: Mapping[Tile, bytes], *, tile_type: int = 2, version: int = 3) -> None:
    """A PMTiles archive with one directory; tiles lie in the order of their ids (specification, section 4)."""
    numbered = sorted((_tile_id(tile), image) for tile, image in tiles.items())
    ids = [number for number, _ in numbered]
    lengths = [len(image) for _, image in numbered]
    gaps = [number - before for before, number in zip([0, *ids], ids, strict=False)]
    offsets = [1] + [0] * (len(ids) - 1)  # 0: right behind the one before
    columns = (gaps, [1] * len(ids), lengths, offsets)
    root = gzip.compress(_varint(len(ids)) + b"".join(_varint(value) for column in columns for value in column))
    metadata = gzip.compress(b"{}")
    data = b"".join(image for _, image in numbered)
    zooms = [tile.z for tile in tiles]
    root_at, metadata_at = 127, 127 + len(root)
    data_at = metadata_at + len(metadata)
    places = (root_at, len(root), metadata_at, len(metadata), data_at, 0, data_at, len(data))
    header = struct.pack(
        "<7sB11QBBBBBB4iB2i",
        b"PMTiles",
        version,
        *places,
        *(len(ids),) * 3,
        *(1, 2, 1, tile_type, min(zooms), max(zooms)),  # clustered; gzip for directories, none for tiles
        *WHOLE_WORLD,
        *(min(zooms), 0, 0),
    )
    path.write_bytes(header + root + metadata + data)


def _varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def _tile_id(tile: Tile) -> int:
    """Number along the Hilbert curves of all zooms, one after another."""
    number = (4**tile.z - 1) // 3
    x, y, half = tile.x, tile.y, 2**tile.z // 2
    while half:
        right, low = int(bool(x & half)), int(bool(y & half))
        number += half * half * ((3 * right) ^ low)
        if not low:
            if right:
                x, y = half - 1 - x, half - 1 - y
            x, y = y, x
        half //= 2
    return number
