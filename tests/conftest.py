"""What every test of the tree shares: the two ways to ask for a component, and no silent skip in CI."""

from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest

from tests import components

_SIDE_BY_SIDE = (  # slow ones that measure no time and share nothing: they run beside the others, at low priority
    "tests/benchmarks/",
    "tests/command/",
    "tests/core/",
    "tests/disk/",
    "tests/fuzz/",
    "tests/kills/",
    "tests/link_sim/judge/",
    "tests/link_sim/scenarios/",
    "tests/link_sim/test_pytest_evidence.py",
    "tests/link_sim/test_pytest_plugin.py",
    "tests/link_sim/nodes/test_world_core.py",
    "tests/link_sim/test_wheel.py",
    "tests/link_sim/traces/",
    "tests/link_sim/virtual/",
    "tests/powercut/",
    "tests/properties/",
    "tests/regressions/",
    "tests/security/",
    "tests/store_world/",
    "tests/test_house.py",
    "tests/video/",
    "tests/test_kit_desk.py",
    "tests/web/test_pages_act.py",
    "tests/web/test_pages_demo.py",
    "tests/web/test_pages_look.py",
    "tests/web/test_pages_map.py",
)
_ALONE = (  # these measure time, or fill the machine's own buffers: nothing runs beside them
    "tests/link_sim/test_kernel.py",
    "tests/link_sim/real_time/test_pty_proxy.py",
    "tests/link_sim/real_time/test_tcp_proxy.py",
    "tests/link_sim/real_time/test_udp_proxy.py",
    "tests/link_sim/traces/test_record_live.py",
    "tests/transports/test_mqtt.py::test_a_stuck_broker_is_left_at_once",
    "tests/web/test_pages_real.py::test_sos_waits_at_a_kit_alone",  # a dead server is said within 3 s
)
_NEED_MORE = ("kernel", "device", "browser")  # markers of tests that --fast leaves out besides slow

# No deadline: the machine is shared. In CI the same examples every run, so that red there means a change made it red.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if components.is_ci() else "here")


@pytest.fixture(name="require")
def fixture_require() -> Callable[[str], Path]:
    """``require("mosquitto")`` gives the program's path; missing means skip here and failure where ``CI=true``."""
    return components.require


@pytest.fixture(name="shared_dir")
def fixture_shared_dir() -> Callable[[str], Path]:
    """``shared_dir("recordings")`` gives that folder of the shared data; skips where it is absent."""
    return components.shared_dir


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the kernel, a device or a browser count as slow, so that ``-m "not slow"`` needs nothing."""
    root = Path(__file__).parents[1]
    for item in items:
        if any(item.get_closest_marker(name) for name in _NEED_MORE):
            item.add_marker("slow")
        where = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
        if f"{where}::{item.name}".startswith(_ALONE):
            item.add_marker("alone")
        elif where.startswith(_SIDE_BY_SIDE):
            item.add_marker("side_by_side")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed test, whoever skipped it; absent shared data is the one exception."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_a_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself while it is imported."""
    report = yield
    _fail_a_skip(report, collector.nodeid)
    return report


def _fail_a_skip(report: pytest.TestReport | pytest.CollectReport, nodeid: str) -> None:
    if not (report.skipped and components.is_ci()):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if components.SHARED_ABSENT not in reason:
        report.outcome = "failed"
        report.longrepr = f"{nodeid}: skipped although CI=true: {reason}"
