"""A host's end of a serial port for tests: writes, and waits for what it expects."""

import asyncio
import os
from pathlib import Path


class SerialPort:
    """One program's open port; ``lost`` is set when the device hangs up."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.received = b""
        self.is_lost = False
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.fd, self._read)

    def _read(self) -> None:
        try:
            read = os.read(self.fd, 4096)
        except BlockingIOError:
            return
        except OSError:  # EIO: the other end of a pseudo-terminal is closed
            read = b""
        if not read:
            self.is_lost = True
            asyncio.get_running_loop().remove_reader(self.fd)
        self.received += read
        self._changed.set()

    def write(self, text: bytes) -> None:
        os.write(self.fd, text)

    async def until(self, expected: bytes) -> bytes:
        """What came before and with ``expected``, taken out."""
        async with asyncio.timeout(20):
            while expected not in self.received:
                self._changed.clear()
                await self._changed.wait()
        end = self.received.index(expected) + len(expected)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    async def until_lost(self) -> None:
        async with asyncio.timeout(20):
            while not self.is_lost:
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        if not self.is_lost:
            asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)
