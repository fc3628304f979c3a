"""The rules of the tree hold, and every check that guards one has been seen to fail on a planted fault."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import require

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge_agent", "drivers", "transports", "link_sim")
CORE = ROOT / "edge_agent/core"
FILE_LINES_MAX = 600  # STYLE section 1
FUNCTION_LINES_MAX = 70  # STYLE section 1
NOT_IN_BASE = ("aiortc", "av", "cv2", "numpy", "pymavlink", "pysnmp", "rich")  # extras, and what would cost memory

# rule -> (planted file, its text, what lint-imports must say)
PLANTED_IMPORTS = {
    "core below ports": ("edge_agent/core/planted.py", "import edge_agent.ports", "edge_agent.core.planted"),
    "ports below telemetry": ("edge_agent/ports.py", "import edge_agent.telemetry", "edge_agent.ports"),
    "telemetry beside video": (
        "edge_agent/telemetry/planted.py",
        "import edge_agent.video",
        "edge_agent.telemetry.planted",
    ),
    "security beside telemetry": (
        "edge_agent/security/planted.py",
        "import edge_agent.telemetry",
        "edge_agent.security.planted",
    ),
    "video beside security": ("edge_agent/video/planted.py", "import edge_agent.security", "edge_agent.video.planted"),
    "security below web": ("edge_agent/security/planted.py", "import edge_agent.web", "edge_agent.security.planted"),
    "web beside command": ("edge_agent/web/planted.py", "import edge_agent.command", "edge_agent.web.planted"),
    "command beside drivers": ("edge_agent/command/planted.py", "import drivers", "edge_agent.command.planted"),
    "drivers beside transports": ("drivers/planted.py", "import transports", "drivers.planted"),
    "transports below shell": ("transports/planted.py", "import edge_agent.agent", "transports.planted"),
    "web below shell": ("edge_agent/web/planted.py", "import edge_agent.agent", "edge_agent.web.planted"),
    "core below shell": (
        "edge_agent/core/planted.py",
        "from edge_agent import planted_shell",
        "edge_agent.core.planted",
    ),
    "shell below link_sim": ("edge_agent/agent.py", "import link_sim", "edge_agent.agent"),
    "link_sim below examples": ("link_sim/planted.py", "import examples", "link_sim.planted"),
    "drivers by entry point only": ("edge_agent/agent.py", "import drivers.planted", "edge_agent.agent"),
    "drivers apart": ("drivers/planted.py", "import drivers.planted_too", "drivers.planted"),
    "transports apart": ("transports/planted.py", "import transports.planted_too", "transports.planted"),
    "no time in core": ("edge_agent/core/planted.py", "import time", "edge_agent.core.planted"),
    "no asyncio in core": ("edge_agent/core/planted.py", "import asyncio", "edge_agent.core.planted"),
    "no socket in core": ("edge_agent/core/planted.py", "import socket", "edge_agent.core.planted"),
    "no os in core": ("edge_agent/core/planted.py", "from os import urandom", "edge_agent.core.planted"),
    "no logging in core": ("edge_agent/core/planted.py", "import logging", "edge_agent.core.planted"),
    "no threads in core": ("edge_agent/core/planted.py", "import threading", "edge_agent.core.planted"),
    "no numpy in core": ("edge_agent/core/planted.py", "import numpy", "edge_agent.core.planted"),
    "web framework in web": ("edge_agent/command/planted.py", "import starlette", "edge_agent.command.planted"),
    "ciphers in security": ("edge_agent/telemetry/planted.py", "import cryptography", "edge_agent.telemetry.planted"),
    "mqtt in two files": ("transports/planted.py", "import aiomqtt", "transports.planted"),
    "serial ports outside": ("link_sim/planted.py", "import serial", "link_sim.planted"),
    "mdns in discovery": ("edge_agent/web/planted.py", "import zeroconf", "edge_agent.web.planted"),
    "pictures in video": ("edge_agent/command/planted.py", "import cv2", "edge_agent.command.planted"),
    "webrtc in web": ("edge_agent/video/planted.py", "import aiortc", "edge_agent.video.planted"),
}


def sources(*folders: str) -> Iterator[Path]:
    """Every Python file of these folders of the tree."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def copy_tree(target: Path) -> Path:
    """The packages and the rules over them, without our tests, so that a planted copy checks in seconds."""
    for folder in (*PACKAGES, "config", "scripts"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__", "static"))
    for folder in ("examples", "tests"):
        (target / folder).mkdir()
        (target / folder / "__init__.py").touch()
    shutil.copy2(ROOT / "pyproject.toml", target)
    shutil.copy2(ROOT / "tests/shell_contract.py", target / "tests")
    return target


def run(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The finished command, run in ``folder``, with its output as one text."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def random_uses(tree: ast.AST) -> list[str]:
    """Names taken from ``random`` other than the type ``random.Random`` that is never called."""
    found = [
        f"random.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "random"
        and node.attr != "Random"
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Random", "random.Random"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            found += [f"from random import {name.name}" for name in node.names if name.name != "Random"]
    return found


def imported_packages(tree: ast.AST) -> set[str]:
    """Top-level names of all imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return names


def overlong_functions(tree: ast.AST) -> list[str]:
    """Functions longer than a screen, with their lengths; one that holds others is read, and counted, without them."""
    faults, unseen = [], list(_functions_in(tree))
    while unseen:
        node = unseen.pop()
        held = list(_functions_in(node))
        unseen += held
        lines = _lines(node) - sum(map(_lines, held))
        if lines > FUNCTION_LINES_MAX:
            faults.append(f"{node.name}: {lines} lines")
    return faults


def _functions_in(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The outermost functions inside ``node``."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each
        else:
            yield from _functions_in(each)


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize(("own", "held", "is_overlong"), [(68, 60, False), (71, 0, True), (20, 71, True)])
def test_a_function_is_measured_without_those_it_holds(own: int, held: int, is_overlong: bool) -> None:
    inner = ["    def inner():", *["        x = 1"] * (held - 1)] if held else []
    text = "\n".join(["def outer():", *["    y = 1"] * (own - 1), *inner])
    assert bool(overlong_functions(ast.parse(text))) is is_overlong


@pytest.fixture(scope="module", name="copied")
def fixture_copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree without faults, shared by the tests that plant one and take it out again."""
    copied = copy_tree(tmp_path_factory.mktemp("tree"))
    if not (copied / "edge_agent/agent.py").exists():
        (copied / "edge_agent/agent.py").touch()
    return copied


@pytest.mark.slow
def test_copy_without_faults_keeps_every_import_rule(copied: Path) -> None:
    checked = run(copied, require("lint-imports"), "--no-logo", "--cache-dir", ".import_cache")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("rule", PLANTED_IMPORTS)
def test_planted_import_breaks_its_rule(rule: str, copied: Path) -> None:
    path, planted, named = PLANTED_IMPORTS[rule]
    helpers = [
        copied / folder / name for folder in ("drivers", "transports") for name in ("planted.py", "planted_too.py")
    ]
    helpers.append(copied / "edge_agent/planted_shell.py")  # a module that no contract names
    for helper in helpers:
        helper.touch()
    target = copied / path
    before = target.read_text() if target.exists() else None
    target.write_text(f"{before or ''}\n{planted}\n")
    try:
        checked = run(copied, require("lint-imports"), "--no-logo", "--cache-dir", ".import_cache")
        assert checked.returncode == 1, checked.stdout
        assert named in checked.stdout
    finally:
        if before is None:
            target.unlink()
        else:
            target.write_text(before)
        for helper in helpers:
            helper.unlink(missing_ok=True)


@pytest.mark.slow
def test_check_fails_on_each_planted_fault_and_names_its_file(tmp_path: Path) -> None:
    """A type error, a failing test, a lint and a format fault, and a clock in the core, all found in one run."""
    copied = copy_tree(tmp_path)
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", copied / ".mypy_cache")
    (copied / "edge_agent/core/planted_clock.py").write_text(
        '"""Planted."""\n\nimport time\n\nnow_s = time.monotonic()\n'
    )
    (copied / "drivers/planted_type.py").write_text('"""Planted."""\n\nrate_bps: int = "fast"\n')
    (copied / "transports/planted_lint.py").write_text('"""Planted."""\n\nimport json\n')
    (copied / "link_sim/planted_format.py").write_text('"""Planted."""\n\nname = \'x\'\n')
    (copied / "tests/test_planted.py").write_text(
        '"""Planted."""\n\n\ndef test_planted() -> None:\n    assert 1 == 2\n'
    )
    checked = run(copied, "bash", "scripts/check", "--fast", LIFELINE_VENV=sys.prefix)
    assert checked.returncode == 1, checked.stdout
    assert "0 steps passed, 5 failed (format, lint, types, imports, fast tests)" in checked.stdout, checked.stdout
    for named in ("planted_clock", "planted_type.py", "planted_lint.py", "planted_format.py", "test_planted.py"):
        assert named in checked.stdout, named


def test_core_imports_msgpack_and_nothing_else_from_outside() -> None:
    """import-linter knows a list of packages; this knows all."""
    imported = {name for path in sources("edge_agent/core") for name in imported_packages(ast.parse(path.read_text()))}
    assert imported - sys.stdlib_module_names - {"edge_agent"} <= {"msgpack"}
    assert imported_packages(ast.parse("def f() -> None:\n    from attrs.x import y")) == {"attrs"}


def test_core_takes_only_the_type_from_random() -> None:
    faults = {str(path): random_uses(ast.parse(path.read_text())) for path in sources("edge_agent/core")}
    assert {path: uses for path, uses in faults.items() if uses} == {}


@pytest.mark.parametrize(
    "planted", ["import random\nrandom.random()", "import random\nr = random.Random(1)", "from random import choice"]
)
def test_randomness_of_its_own_is_noticed(planted: str) -> None:
    assert random_uses(ast.parse(planted))
    assert not random_uses(ast.parse("import random\ndef draw(rng: random.Random) -> float:\n    return rng.random()"))


def test_files_and_functions_stay_readable() -> None:
    faults: list[str] = []
    for path in sources(*PACKAGES, "benchmarks", "examples"):
        text = path.read_text()
        if len(text.splitlines()) > FILE_LINES_MAX:
            faults.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        faults += [f"{path.relative_to(ROOT)}: {name}" for name in overlong_functions(ast.parse(text))]
    assert faults == []


NEEDS_EXTRAS = ("edge_agent/video/", "drivers/camera", "drivers/snmp_table/client")


@pytest.mark.slow
def test_base_runs_without_the_extras() -> None:
    """Everything but pictures and SNMP is importable where no extra is installed, and none is loaded where they are."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources(*PACKAGES)
        if not path.relative_to(ROOT).as_posix().startswith(NEEDS_EXTRAS)
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {NOT_IN_BASE!r}: sys.modules[name] = None\n"  # None makes an import of it fail
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    imported = run(ROOT, sys.executable, "-c", code)
    assert imported.returncode == 0, imported.stdout


def test_requirements_name_every_hash_and_no_index() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text, path.name
        assert "index-url" not in text, path.name
        pins = text.replace("\\\n", " ").splitlines()
        assert [pin for pin in pins if "==" in pin and "--hash=sha256:" not in pin] == [], path.name
