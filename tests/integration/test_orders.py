"""Orders between agents without a page, over kills: acted on once, never when cancelled, and the truth at both ends."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from edge_agent.client import AgentRefusedError, Client
from edge_agent.telemetry.payloads import SOS_FLOW, Sos
from tests.integration.agents import AgentProcess, free_port, running, udp_link, write_pair

pytestmark = pytest.mark.slow

LONGEST_S = 30.0  # a busy machine; an idle one takes less than two
GROUP = '[[group]]\nname = "all"\nunits = ["kit-1"]\n'
ResultT = TypeVar("ResultT")
Json = dict[str, Any]  # Any: JSON of docs/api.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A command post and a kit that know each other, and a client of each."""

    kit: AgentProcess
    command: AgentProcess
    at_kit: Client
    at_command: Client

    async def give(self, text: str, **more: object) -> str:
        """The id of an order to the group."""
        body = {"text": text, "group": "all", "by": "王敏", **more}
        return str((await self.at_command.act("order", body))["id"])

    def restart_kit(self, *, was_killed: bool = False) -> None:
        """As after a power cut."""
        if not was_killed:
            self.kit.kill()
        self.at_kit.close()
        self.kit.start()

    async def given(self, order: str) -> Json:
        """The order as command sees it."""
        return next(each for each in await self.at_command.orders() if each["id"] == order)

    async def got(self, order: str) -> Json | None:
        """The order as the kit sees it; None while it has not come."""
        return next((each for each in await self.at_kit.orders() if each["id"] == order), None)


async def until(look: Callable[[], Awaitable[ResultT]], fits: Callable[[ResultT], object]) -> ResultT:
    """What ``look`` sees once it ``fits``; the agents are processes of their own, so it is asked again and again."""
    async with asyncio.timeout(LONGEST_S):
        while not fits(seen := await look()):  # noqa: ASYNC110  # the local API tells no news of orders
            await asyncio.sleep(0.05)
    return seen


def _has_state(*states: str) -> Callable[[Json | None], bool]:
    return lambda order: order is not None and order["state"] in states


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Iterator[Pair]:
    address = f"127.0.0.1:{free_port()}"
    kit, command = write_pair(
        tmp_path,
        kit_links=udp_link("radio", "remote", address),
        command_links=udp_link("hub", "listen", address) + GROUP,
    )
    made = Pair(
        kit=AgentProcess(kit),
        command=AgentProcess(command),
        at_kit=Client(tmp_path / "kit-1.sock"),
        at_command=Client(tmp_path / "command.sock"),
    )
    with running(made.command, made.kit):
        yield made


async def test_an_order_is_read_and_done_by_a_person_without_any_page(pair: Pair) -> None:
    """Command has the name of who answered, in the order, in its roll call and in the state of the bundle."""
    order = await pair.give("撤到二级避风点")
    got = await until(lambda: pair.got(order), _has_state("delivered"))
    assert got is not None
    assert (got["text"], got["by"], got["precedence"]) == ("撤到二级避风点", "王敏", "immediate")
    await until(lambda: pair.given(order), _has_state("delivered"))
    for answer in ("read", "done"):
        await pair.at_kit.act("answer", {"id": order, "answer": answer, "by": "李强"})
        given = await until(lambda: pair.given(order), _has_state(answer))
        assert (given["reply"], given["names"]["read"]) == ("李强", ["kit-1"])
        state = await until(lambda: pair.at_command.state(order), lambda seen, wanted=answer: seen.state == wanted)
        assert state.detail == "李强"


async def test_a_cancelled_order_is_acted_on_by_nobody(pair: Pair) -> None:
    """Not when it waited here, nor when it had arrived; both ends say so, and the kit takes no answer."""
    arrived = await pair.give("去北堤")
    await until(lambda: pair.got(arrived), _has_state("delivered"))
    await pair.at_command.act("order/cancel", {"order": arrived, "by": "王敏"})
    cancelled = await until(lambda: pair.got(arrived), _has_state("cancelled"))
    assert cancelled is not None
    assert cancelled["cancelled"]["by"] == "王敏"
    with pytest.raises(AgentRefusedError, match="nobody may act on it"):
        await pair.at_kit.act("answer", {"id": arrived, "answer": "done"})
    given = await until(lambda: pair.given(arrived), _has_state("cancelled"))
    assert given["roll"]["ended"] == ["kit-1"]
    pair.kit.kill()
    waiting = await pair.give("去南堤")
    await pair.at_command.act("order/cancel", {"order": waiting, "by": "王敏"})
    pair.restart_kit(was_killed=True)
    await until(lambda: pair.given(waiting), _has_state("cancelled"))
    last = await pair.give("回来")
    await until(lambda: pair.got(last), _has_state("delivered"))
    got = await pair.got(waiting)  # it may have been on its way already: then its cancellation came behind it
    assert got is None or got["state"] == "cancelled"


async def test_an_order_is_there_once_over_kills_of_the_kit(pair: Pair) -> None:
    """Killed right after it came, answered after the next start: one row, one answer."""
    order = await pair.give("报人数")
    await until(lambda: pair.got(order), _has_state("delivered"))
    pair.restart_kit()
    await until(pair.at_kit.orders, lambda orders: len(orders) == 1)
    await pair.at_kit.act("answer", {"id": order, "answer": "done", "by": "李强"})
    pair.restart_kit()
    await until(lambda: pair.given(order), _has_state("done"))
    assert [each["state"] for each in await pair.at_kit.orders()] == ["done"]


async def test_a_withdrawal_is_flash_and_sounds_until_it_is_answered(pair: Pair) -> None:
    order = await pair.give("立即撤到高处", flow="withdraw")
    got = await until(lambda: pair.got(order), _has_state("delivered"))
    assert got is not None
    assert (got["precedence"], got["is_withdrawal"]) == ("flash", True)
    given = await pair.given(order)
    assert (given["is_withdrawal"], given["group"]) == (True, "all")
    await pair.at_kit.act("answer", {"id": order, "answer": "read", "by": "李强"})
    read = await until(lambda: pair.given(order), _has_state("read"))
    assert read["names"] == {"teams": 1, "read": ["kit-1"], "delivered": [], "not_reached": [], "ended": []}


async def test_a_call_nobody_confirms_reaches_the_other_post_as_the_same_call(tmp_path: Path) -> None:
    """From the kit itself, by its own link to that post, once."""
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    kit_path, command_path = write_pair(
        tmp_path,
        kit_links=udp_link("a", "remote", first) + udp_link("b", "remote", second),
        command_links=udp_link("hub", "listen", first),
        kit_extra='[command]\nothers = ["cp-2"]\nescalate_after_s = 5\n',
    )
    other_path = tmp_path / "other.toml"
    other = command_path.read_text().replace('id = "command"', 'id = "cp-2"').replace(first, second)
    other_path.write_text(other.replace("var/command", "var/cp-2").replace("unix:command.sock", "unix:cp-2.sock"))
    kit, command, post = AgentProcess(kit_path), AgentProcess(command_path), AgentProcess(other_path)
    with running(command, kit):  # the other post is off: the call goes to the first one, where nobody is
        at_kit, at_post = Client(tmp_path / "kit-1.sock"), Client(tmp_path / "cp-2.sock")
        call = Sos(at_ms=1_763_745_000_000, text="翻船")
        sos = await at_kit.send(call.pack(), flow=SOS_FLOW, precedence="flash", origin="person")
        await at_kit.wait(sos.bundle, "forwarded")
        kit.wait_for("sos_passed_on", bundle=sos.bundle, to="cp-2")
        with running(post):
            async with asyncio.timeout(LONGEST_S):
                [copy] = [each async for each in at_post.listen(SOS_FLOW, since="all", count=1)]
    assert Sos.unpack(copy.payload) == Sos(at_ms=call.at_ms, text="翻船", of=sos.bundle)
    assert (copy.source, copy.precedence) == ("kit-1", "flash")
