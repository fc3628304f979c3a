"""The pytest plugin: bad links as fixtures, in virtual time or in front of real programs.

    async def test_login_survives_a_tunnel(net):                      # virtual time: an hour takes a second
        net.link("kit", "command", "vsat", at=[(60, outage(8, hold=True))])
        ...

    async def test_my_client(link):                                    # real time, with pytest-asyncio
        async with link.udp("vsat", to=("127.0.0.1", 5000)) as proxy:
            ...

``--link-seed N`` seeds every link; a failure says which seed it was, and leaves an event log, a capture and a plot of
what the links did (``--link-evidence``). A failure of a test whose real-time links were served too late is reported as
xfailed, "inconclusive": the machine was late, not the code wrong.
"""

import functools
import inspect
import re
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from link_sim.evidence.recorder import Recorder
    from link_sim.real_time.live_links import LiveLinks
    from link_sim.virtual.loop import VirtualLoop
    from link_sim.virtual.net import Net

DEFAULT_SEED = 1
_VIRTUAL = ("net", "virtual_loop")
_LINKS = pytest.StashKey["LiveLinks"]()
_SEED = pytest.StashKey[int]()
_RECORDERS = pytest.StashKey[dict[str, "Recorder"]]()
_FOLDERS = pytest.StashKey["pytest.TempPathFactory"]()
_OF = ("failed", "all", "none")
_NAME_LENGTH_MAX = 60  # of a test's folder; file systems take 255 bytes, and a letter has up to 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--link-seed``, ``--link-evidence``, ``--link-evidence-of``, and the latter two as ini keys."""
    group = parser.getgroup("link_sim", "simulated links")
    group.addoption("--link-seed", type=int, default=DEFAULT_SEED, metavar="N", help="seed of every simulated link")
    where = "folder for what the links of a test did: event log, capture, plot (default: pytest's temporary one)"
    group.addoption("--link-evidence", metavar="DIR", help=where)
    parser.addini("link_evidence", f"{where}, from the root folder")
    which = f"which tests leave it: {', '.join(_OF)} (default: failed)"
    group.addoption("--link-evidence-of", choices=_OF, help=which)
    parser.addini("link_evidence_of", which, default=_OF[0])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an ini key that says nothing we know."""
    if _evidence_of(config) not in _OF:
        raise pytest.UsageError(f"link_evidence_of = {_evidence_of(config)}: allowed is {', '.join(_OF)}")


def _evidence_of(config: pytest.Config) -> str:
    return str(config.getoption("--link-evidence-of") or config.getini("link_evidence_of"))


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> object:  # Any: Module or Class, by pytest
    """Make an async test that asks for a virtual fixture a plain one that runs in virtual time."""
    if not inspect.iscoroutinefunction(obj) or not collector.istestfunction(obj, name):
        return None
    if not any(fixture in inspect.signature(obj).parameters for fixture in _VIRTUAL):
        return None
    setattr(collector.obj, name, _in_virtual_time(obj))  # pytest looks the function up again by its name
    return list(collector._genfunctions(name, getattr(collector.obj, name)))


def _in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:  # Any: fixtures
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:  # Any: whatever the test asks for
        main = test(*args, **fixtures)
        if "net" in fixtures:
            fixtures["net"].run(main)
        else:
            from link_sim.virtual.loop import run_virtual_in

            run_virtual_in(fixtures["virtual_loop"], main)

    return run


@pytest.fixture
def link_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test's links: ``--link-seed``."""
    seed = int(request.config.getoption("--link-seed"))
    request.node.stash[_SEED] = seed
    return seed


@pytest.fixture
def net(request: pytest.FixtureRequest, link_seed: int) -> "Net":
    """Nodes and links in virtual time; an async test that asks for it runs there."""
    from link_sim.evidence.recorder import Recorder
    from link_sim.virtual.net import Net

    made = Net(seed=link_seed)
    if _evidence_of(request.config) != "none":
        _record(request, "net", Recorder.of_net(made))
    return made


def _record(request: pytest.FixtureRequest, fixture: str, recorder: "Recorder") -> None:
    """Keep a recorder, and what the default folder is made with, until the test has ended."""
    request.node.stash.setdefault(_RECORDERS, {})[fixture] = recorder
    if request.config.pluginmanager.hasplugin("tmpdir"):
        request.node.stash[_FOLDERS] = request.getfixturevalue("tmp_path_factory")


@pytest.fixture
def virtual_loop(link_seed: int) -> Iterator["VirtualLoop"]:
    """An event loop whose clock jumps; an async test that asks for it runs there."""
    from link_sim.virtual.loop import VirtualLoop

    loop = VirtualLoop(seed=link_seed)
    yield loop
    if not loop.is_closed():
        loop.close()


@pytest.fixture
def link(request: pytest.FixtureRequest, link_seed: int) -> "LiveLinks":
    """Makes links in real time: ``async with link.udp("vsat", to=(host, port)) as proxy``."""
    from link_sim.evidence.recorder import Recorder
    from link_sim.real_time.live_links import LiveLinks

    recorder = None
    if _evidence_of(request.config) != "none":
        recorder = Recorder(time.monotonic_ns, zero_ns=time.monotonic_ns())
        _record(request, "link", recorder)
    links = request.node.stash[_LINKS] = LiveLinks(link_seed, recorder)
    return links


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say seed and evidence of a failure, and call a failure inconclusive when the links of the test were late."""
    report = yield
    seed, lines = item.stash.get(_SEED, None), []
    if seed is not None and (report.failed or (call.when == "call" and _evidence_of(item.config) == "all")):
        lines = list(_leave(item, seed))
        again = f"seed {seed}; the same links again: --link-seed {seed}"
        report.sections.append(("simulated links", "\n".join([again, *lines])))
    links = item.stash.get(_LINKS, None)
    late = links.late() if links is not None and call.when == "call" and report.failed else ""
    if late:
        report.outcome = "skipped"
        report.wasxfail = "; ".join([f"inconclusive: {late}", *lines[:1]])  # of such reports nothing else is shown
    if call.when == "teardown":  # items live as long as the session
        item.stash[_RECORDERS] = {}
    return report


def _leave(item: pytest.Item, seed: int) -> Iterator[str]:
    """Write what was recorded, once; the paths, or why there are none."""
    recorders = item.stash.get(_RECORDERS, {})
    item.stash[_RECORDERS] = {}
    for fixture, recorder in recorders.items():
        if recorder.is_empty:
            yield f"no evidence of {fixture}: nothing was sent over a link"
            continue
        try:
            folder = _folder(item, fixture)
            if folder is None:
                yield f"no evidence of {fixture}: without pytest's temporary folder it needs --link-evidence DIR"
                continue
            yield from map(str, recorder.leave(folder, item.nodeid, seed=seed))
        except OSError as error:  # the failure of the test is what matters
            yield f"no evidence of {fixture}: {error}"
            continue
        if recorder.forgotten:
            yield f"the first {recorder.forgotten} events were too many to keep"


def _folder(item: pytest.Item, fixture: str) -> Path | None:
    """Where the evidence of one fixture of a test goes; None where pytest has no temporary folder."""
    config = item.config
    if wish := config.getoption("--link-evidence"):
        return Path(config.invocation_params.dir, wish, _name(item.nodeid, fixture))
    if wish := config.getini("link_evidence"):
        return Path(config.rootpath, wish, _name(item.nodeid, fixture))
    factory = item.stash.get(_FOLDERS, None)
    return None if factory is None else factory.mktemp(_name(item.name, fixture))


def _name(test: str, fixture: str) -> str:
    """A folder's name that no other test has: a digest stands for what a file system may not like."""
    plain = test.replace("::", ".").replace("/", ".")
    name = re.sub(r"[^\w.-]+", "-", plain)
    if name != plain or len(name) > _NAME_LENGTH_MAX:
        name = f"{name[:_NAME_LENGTH_MAX].strip('-')}-{blake2b(test.encode(), digest_size=4).hexdigest()}"
    return f"{name}-{fixture}"
