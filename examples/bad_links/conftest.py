"""What the examples need of the machine; a missing program skips them here and fails them where ``CI=true``."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import components


@pytest.fixture
def require() -> Callable[[str], Path]:
    """``require("mosquitto")`` gives the program's path."""
    return components.require


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
