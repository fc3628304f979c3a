"""Images of received pictures as files, the newest few hundred."""

import re
from pathlib import Path

KEPT = 300


class PictureFolder:
    """A folder of images by picture id. Calls wait for the disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def _path(self, picture_id: str) -> Path:
        return self._folder / re.sub(r"[^A-Za-z0-9~._-]", "_", picture_id)

    def put(self, picture_id: str, image: bytes) -> None:
        """Keep one image; the oldest go when there are too many. The bundle itself stays in the store."""
        path = self._path(picture_id)
        part = path.with_suffix(".part")
        part.write_bytes(image)
        part.replace(path)
        kept = sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime)
        for each in kept[: max(0, len(kept) - KEPT)]:
            each.unlink()

    def get(self, picture_id: str) -> bytes | None:
        """The image, or None when it is gone."""
        path = self._path(picture_id)
        return path.read_bytes() if path.is_file() else None
