"""One end of a transfer by the kernel's own MPTCP, a program of its own: what bonding comes with every Linux.

``sink HOST PORT`` prints ``ready`` and then a line for each arrival: time of CLOCK_MONOTONIC, and bytes or, of a
message, when it was sent. ``source HOST PORT LOCAL CONGESTION bulk|messages`` sends until it is ended.
"""

import itertools
import socket
import struct
import sys
import time

MESSAGE_BYTES, MESSAGE_EVERY_S = 200, 0.02
_STAMP = struct.Struct("!d")
_CHUNK_BYTES = 65_536


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)


def sink(host: str, port: int, kind: str) -> None:
    """Take one connection to its end."""
    rest = b""
    with _socket() as server:  # it stays open: subflows that join later come to it, too
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen()
        print("ready", flush=True)
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(_CHUNK_BYTES):
                rest = _note(rest + data, kind)


def _note(data: bytes, kind: str) -> bytes:
    """Print what came now; gives back what is no whole message yet."""
    now_s = time.monotonic()
    if kind == "bulk":
        print(now_s, len(data), flush=True)
        return b""
    whole_bytes = len(data) // MESSAGE_BYTES * MESSAGE_BYTES
    for start in range(0, whole_bytes, MESSAGE_BYTES):
        print(now_s, *_STAMP.unpack_from(data, start), flush=True)
    return data[whole_bytes:]


def source(host: str, port: int, local: str, congestion: str, kind: str) -> None:
    """Send for ever, from ``local`` first: as much as goes, or a message each 20 ms."""
    with _socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.bind((local, 0))
        connection.connect((host, port))
        if kind == "bulk":
            while True:
                connection.sendall(bytes(_CHUNK_BYTES))
        begun_s = time.monotonic()
        for number in itertools.count():
            time.sleep(max(0.0, begun_s + number * MESSAGE_EVERY_S - time.monotonic()))
            connection.sendall(_STAMP.pack(time.monotonic()).ljust(MESSAGE_BYTES, b"."))


if __name__ == "__main__":
    what, host, port, *rest = sys.argv[1:]
    if what == "sink":
        sink(host, int(port), *rest)
    else:
        source(host, int(port), *rest)
