"""Where a file was born: what stays with it when it is renamed, and differs after a copy or a restore of its folder."""

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_BIRTH_OFFSET = 0x50  # stx_btime in struct statx (linux/stat.h): s64 seconds, u32 nanoseconds


def read_birth(path: Path) -> dict[str, str]:
    """Inode and, where it is told, time of birth in ns. Raises OSError."""
    found = {"inode": str(path.stat().st_ino)}
    birth_ns = _birth_ns(path)
    if birth_ns is not None:
        found["birth"] = str(birth_ns)
    return found


def differences(known: dict[str, str], here: dict[str, str]) -> list[str]:
    """Names of what was known both times and differs."""
    return [name for name, value in known.items() if name in here and here[name] != value]


def _birth_ns(path: Path) -> int | None:
    """When a file was created, in ns; None where the kernel, the C library or the file system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:  # a C library older than glibc 2.28
        return None
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    mask = int.from_bytes(buffer.raw[:4], sys.byteorder)
    if not mask & _STATX_BTIME:
        return None
    born = buffer.raw[_BIRTH_OFFSET : _BIRTH_OFFSET + 12]
    seconds = int.from_bytes(born[:8], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(born[8:], sys.byteorder)
