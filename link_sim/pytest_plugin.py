"""The pytest plugin: bad links as fixtures, in virtual time or in front of real programs.

    async def test_login_survives_a_tunnel(net):                      # virtual time: an hour takes a second
        net.link("kit", "command", "vsat", at=[(60, outage(8, hold=True))])
        ...

    async def test_my_client(link):                                    # real time, with pytest-asyncio
        async with link.udp("vsat", to=("127.0.0.1", 5000)) as proxy:
            ...

``--link-seed N`` seeds every link; a failure says which seed it was. A failure of a test whose real-time links were
served too late is reported as xfailed, "inconclusive": the machine was late, not the code wrong.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from link_sim.live_links import LiveLinks
    from link_sim.net import Net
    from link_sim.virtual_loop import VirtualLoop

DEFAULT_SEED = 1
_VIRTUAL = ("net", "virtual_loop")
_LINKS = pytest.StashKey["LiveLinks"]()
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--link-seed``."""
    group = parser.getgroup("link_sim", "simulated links")
    group.addoption("--link-seed", type=int, default=DEFAULT_SEED, metavar="N", help="seed of every simulated link")


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
            from link_sim.virtual_loop import run_virtual_in

            run_virtual_in(fixtures["virtual_loop"], main)

    return run


@pytest.fixture
def link_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test's links: ``--link-seed``."""
    seed = int(request.config.getoption("--link-seed"))
    request.node.stash[_SEED] = seed
    return seed


@pytest.fixture
def net(link_seed: int) -> "Net":
    """Nodes and links in virtual time; an async test that asks for it runs there."""
    from link_sim.net import Net

    return Net(seed=link_seed)


@pytest.fixture
def virtual_loop(link_seed: int) -> Iterator["VirtualLoop"]:
    """An event loop whose clock jumps; an async test that asks for it runs there."""
    from link_sim.virtual_loop import VirtualLoop

    loop = VirtualLoop(seed=link_seed)
    yield loop
    if not loop.is_closed():
        loop.close()


@pytest.fixture
def link(request: pytest.FixtureRequest, link_seed: int) -> "LiveLinks":
    """Makes links in real time: ``async with link.udp("vsat", to=(host, port)) as proxy``."""
    from link_sim.live_links import LiveLinks

    links = request.node.stash[_LINKS] = LiveLinks(link_seed)
    return links


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say the seed of a failure, and call a failure inconclusive when the links of the test were late."""
    report = yield
    if call.when == "call" and report.failed:
        seed = item.stash.get(_SEED, None)
        if seed is not None:
            report.sections.append(("link seed", f"{seed}; the same links again: --link-seed {seed}"))
        links = item.stash.get(_LINKS, None)
        late = links.late() if links is not None else ""
        if late:
            report.outcome = "skipped"
            report.wasxfail = f"inconclusive: {late}"
    return report
