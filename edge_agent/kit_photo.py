"""A person's photo: a small version first, so that command sees something soon, then the file as it is."""

import asyncio
import secrets
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import msgpack
import structlog

from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.kit_memory import KitMemory, PhotoNote
from edge_agent.kit_rows import PHOTO_KEY_PREFIX, Json
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.payloads import PICTURE_FLOW, Picture

SMALL_BYTES = 8_000  # 7 s of a 9600-baud radio
SHRINK_LONGEST_S = 15.0  # a small computer takes 3 s for a large photo
WAITING_PICTURES_MAX = 80
WAITING_BYTES_MAX = 120_000_000  # hours of the thin links that are left when photos pile up
CAPTION_MAX = 200

_SIGNATURES = {
    "image/jpeg": (0, b"\xff\xd8\xff"),
    "image/png": (0, b"\x89PNG\r\n\x1a\n"),
    "image/webp": (8, b"WEBP"),
    "image/avif": (4, b"ftypavif"),
}

log = structlog.get_logger()


class PhotoSender:
    """Sends photos of the kit's page."""

    def __init__(self, parts: PageParts, memory: KitMemory) -> None:
        self._parts = parts
        self._memory = memory
        self._shrinking = asyncio.Lock()  # one decoder at a time is all the memory a kit can spare

    async def send(self, body: Mapping[str, Any], now_ms: int) -> Json:
        """Store both versions of ``image``. Raises ActionError, RefusedError, PageMemoryError with the reason."""
        image, caption = body.get("image"), str(body.get("caption", "")).strip()
        if not isinstance(image, bytes):
            raise ActionError("this file is not a picture")
        mime = _mime_of(image)
        if len(caption) > CAPTION_MAX:
            raise ActionError(f"caption: at most {CAPTION_MAX} characters are allowed")
        self._refuse_when_many_wait(len(image))
        key = f"{PHOTO_KEY_PREFIX}{secrets.token_hex(4)}"
        await self._memory.keep(PhotoNote(id=key, at_ms=now_ms, caption=caption))
        small = await self._shrink(image) if len(image) > SMALL_BYTES else None
        if small is not None:
            picture = Picture(
                image=small["image"],
                mime=small["mime"],
                captured_at_ms=now_ms,
                width=small["width"],
                height=small["height"],
                caption=caption,
                is_small=True,
                full_id=key,
            )
            await self._submit(picture, Precedence.PRIORITY, "", now_ms)
        full = Picture(
            image=image,
            mime=mime,
            captured_at_ms=now_ms,
            width=0 if small is None else small["full_width"],
            height=0 if small is None else small["full_height"],
            caption=caption,
            full_id=key,
        )
        await self._submit(full, None, key, now_ms)
        return {"id": key}

    async def _submit(self, picture: Picture, precedence: Precedence | None, key: str, now_ms: int) -> BundleId:
        return await self._parts.sender.submit(
            picture.pack(),
            flow=PICTURE_FLOW,
            precedence=precedence,
            key=key,
            created_at_ms=now_ms,
            origin=Origin.PERSON,
        )

    def _refuse_when_many_wait(self, image_bytes: int) -> None:
        queues = [
            queue
            for queue in self._parts.runner.report().queues
            if queue.queue.flow == PICTURE_FLOW and queue.queue.source == self._parts.config.node_id
        ]
        count = sum(queue.bundles for queue in queues)
        waiting_bytes = sum(queue.payload_bytes for queue in queues)
        if count >= WAITING_PICTURES_MAX or waiting_bytes + image_bytes > WAITING_BYTES_MAX:
            raise ActionError(
                f"{count} pictures with {waiting_bytes / 1e6:.0f} MB wait already; one more would wait for hours"
            )

    async def _shrink(self, image: bytes) -> Json | None:
        """The small version; None where no codec is installed, or the decoder makes nothing of the file."""
        if find_spec("av") is None:
            return None
        async with self._shrinking:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "edge_agent.video.photo",
                str(SMALL_BYTES),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(SHRINK_LONGEST_S):
                    output, _ = await process.communicate(image)
            except TimeoutError:
                output = b""
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            small: Json | None = msgpack.unpackb(output)
        except (ValueError, msgpack.UnpackException):
            small = None
        if small is None:
            log.warning("photo_not_shrunk", image_bytes=len(image), exit_status=process.returncode)
        return small


def _mime_of(image: bytes) -> str:
    """The type by its first bytes, whatever the phone called it. Raises ActionError."""
    for mime, (at, signature) in _SIGNATURES.items():
        if image[at : at + len(signature)] == signature:
            return mime
    raise ActionError("this file is no picture of a known kind: allowed: JPEG, PNG, WebP, AVIF")
