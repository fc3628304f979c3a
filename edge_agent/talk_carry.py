"""``edge-agent export`` and ``import``: a file on a stick, written so that a pulled stick leaves no half file."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.cli import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE
from edge_agent.client import Client
from edge_agent.disk.file_system import MACHINE
from edge_agent.talk import complain, print_line, with_client

PIECE_BYTES = 1 << 20


def export(options: argparse.Namespace) -> int:
    """Write what waits to a file; print ``{"file", "bundles", "bytes", "left_out"}``."""
    return with_client(options, lambda client: _export(client, options.file, options.to))


def take_in(options: argparse.Namespace) -> int:
    """Read such a file into the agent; print how many were stored, known, own, expired and refused."""
    return with_client(options, lambda client: _take_in(client, options.file))


async def _export(client: Client, file: Path, to: str) -> int:
    unfinished = file.with_name(f"{file.name}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                counts = await client.export(opened.write, to=to)
                opened.flush()
                os.fsync(opened.fileno())
                written_bytes = opened.tell()
            os.replace(unfinished, file)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        MACHINE.sync_folder(file.parent)
    except OSError as error:
        complain(f"{file}: {error.strerror}")
        return EXIT_REFUSED
    print_line(
        {"file": str(file), "bundles": counts["bundles"], "bytes": written_bytes, "left_out": counts["left_out"]}
    )
    if counts["left_out"]:
        complain(f"{counts['left_out']} left out: too large to be carried by hand, they wait for a link")
    return EXIT_DONE


async def _take_in(client: Client, file: Path) -> int:
    try:
        report = await client.take_in(_pieces(file))
    except OSError as error:
        complain(f"{file}: {error.strerror}")
        return EXIT_USAGE
    print_line(report)
    if report["damage"]:
        complain(f"{file}: damaged: {report['damage']}; what stands before it was taken")
    if report["refused"]:
        complain(f"{report['refused']} refused: {report['refusal']}; they are still in the file")
    return EXIT_REFUSED if report["damage"] or report["refused"] else EXIT_DONE


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece
