"""The wheel as a stranger has it: installed in an empty environment by a user without rights, with the page's test."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534  # user and group of that number have no rights on any Linux
TEN_LINES_MAX_S = 60.0  # what the project promises
SLOW_LINK = """
from dataclasses import replace
from link_sim.profiles import PathProfile, profile
SLOW = PathProfile(name="vsat", **{
    name: replace(way, rate_bps=way.rate_bps // 10, delay_s=way.delay_s * 10)
    for name, way in (("up", profile("vsat").up), ("down", profile("vsat").down))
})
"""
IMPORTS = """
import importlib, pkgutil, link_sim
for found in pkgutil.walk_packages(link_sim.__path__, "link_sim."):
    if found.name != "link_sim.pytest_plugin":
        importlib.import_module(found.name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Somebody with a folder of their own and an environment that holds the wheel."""

    folder: Path

    def run(self, *command: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """The finished command, run in the folder without rights and without our environment; both outputs as one."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_", "CI"))}
        is_root = os.geteuid() == 0
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, "HOME": str(self.folder)},
            user=NOBODY if is_root else None,
            group=NOBODY if is_root else None,
            extra_groups=() if is_root else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def check(self, *command: str | Path) -> str:
        """Output of a command that must succeed."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def pytest(self, text: str) -> subprocess.CompletedProcess[str]:
        """pytest over one file of theirs."""
        (self.folder / "test_theirs.py").write_text(text)
        return self.run("env/bin/python", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_theirs.py")


def an_interpreter(stranger: Stranger) -> Path:
    """One that this user may run and that can make environments; root's own is often out of reach."""
    asked = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, shutil.which("python3"), "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            if python is not None and stranger.run(python, "-c", asked).returncode == 0:
                return Path(python)
        except PermissionError:
            continue
    raise AssertionError("no Python for a user without rights: apt-get install python3 python3-venv")


@pytest.fixture(scope="module", name="stranger")
def fixture_stranger() -> Iterator[Stranger]:
    """The wheel, built here and installed there; everything but the plugin is importable before pytest comes."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        wheels = folder / "wheels"
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
        subprocess.run([*build, str(ROOT)], check=True, timeout=120)
        (wheel,) = wheels.glob("*.whl")
        home = folder / "home"
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        stranger = Stranger(folder=home)
        stranger.check(an_interpreter(stranger), "-m", "venv", "env")
        stranger.check("env/bin/python", "-m", "pip", "install", "-q", wheel)
        stranger.check("env/bin/python", "-c", IMPORTS)
        stranger.check("env/bin/python", "-m", "pip", "install", "-q", "pytest")
        yield stranger


@pytest.fixture(scope="module", name="ten_lines")
def fixture_ten_lines() -> str:
    """The test that the page shows first."""
    section = (ROOT / "docs/link_sim.md").read_text().partition("\n## A test in ten lines\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    assert len([line for line in found[1].splitlines() if line]) == 10
    return found[1] + '    print("digest", net.digest())\n'


def digests(output: str) -> list[str]:
    return [line.split()[-1] for line in output.splitlines() if "digest" in line]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ten_lines_of_the_page_are_green_with_one_digest(stranger: Stranger, ten_lines: str) -> None:
    started_s = time.monotonic()
    first = stranger.pytest(ten_lines)
    took_s = time.monotonic() - started_s
    again = stranger.pytest(ten_lines)
    assert (first.returncode, again.returncode) == (0, 0), first.stdout + again.stdout
    assert took_s < TEN_LINES_MAX_S
    assert digests(first.stdout) == digests(again.stdout) != []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_are_red_over_a_satellite_ten_times_slower(stranger: Stranger, ten_lines: str) -> None:
    assert ten_lines.count('"vsat"') == 1
    done = stranger.pytest(SLOW_LINK + ten_lines.replace('"vsat"', "SLOW"))
    assert done.returncode == 1, done.stdout
    assert "the answer came too late" in done.stdout
    assert "--link-seed 1" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_is_there_with_every_profile(stranger: Stranger) -> None:
    said = stranger.check("env/bin/link-sim", "proxy", "udp", "--help")
    assert all(name in said for name in ("iridium-sbd", "vsat-rain", "mesh-4", "lora-sf12"))
