"""Live control over HTTP: what is asked is done, what is wrong is said, and nothing else changes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.addresses import HostPort
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.profiles import profile
from link_sim.real_time.control import ControlError, ControlServer
from link_sim.real_time.live import LiveLink, live_link

LOCAL = HostPort(host="127.0.0.1", port=0)


@pytest.fixture
async def link() -> AsyncIterator[LiveLink]:
    made = live_link("4g", profile("4g"), 1, deliver_up=lambda _: None, deliver_down=lambda _: None)
    for line in (made.up, made.down):
        line.start()
    yield made
    for line in (made.up, made.down):
        line.close()


@pytest.fixture
async def server(link: LiveLink) -> AsyncIterator[ControlServer]:
    async with ControlServer([link], listen=LOCAL) as running:
        yield running


async def raw(server: ControlServer, request: bytes) -> tuple[int, object]:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def ask(server: ControlServer, method: str, path: str, body: object = None) -> tuple[int, object]:
    content = b"" if body is None else json.dumps(body).encode()
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )
    return await raw(server, "\r\n".join((*lines, "", "")).encode() + content)


async def test_links_are_listed_and_changed(server: ControlServer, link: LiveLink) -> None:
    status, links = await ask(server, "GET", "/links")
    assert (status, [each["name"] for each in links]) == (200, ["4g"])
    status, after = await ask(server, "POST", "/links/4g", {"outage": "hold", "rate_bps": 64_000, "direction": "up"})
    assert status == 200
    assert (after["up"]["outage"], after["up"]["rate_bps"]) == ("hold", 64_000)
    assert (after["down"]["outage"], after["down"]["rate_bps"]) == (None, 10_000_000)
    assert link.up.line.model.outage is Outage.HOLD
    await ask(server, "POST", "/links/4g", {"outage": None})
    assert (link.up.line.model.outage, link.up.line.profile.rate_bps) == (None, 64_000)
    await ask(server, "POST", "/links/4g", {"outage": "drop", "kills_in_flight": True})
    await ask(server, "POST", "/links/4g", {"restore": True})
    assert link.up.line.model.outage is None
    assert link.up.line.profile == profile("4g").up


async def test_a_link_with_a_schedule_is_slowed_in_the_mean_and_keeps_its_pauses(
    server: ControlServer, link: LiveLink
) -> None:
    link.set({"rate_bps": None, "rate_schedule": [[0, 3_000_000], [1, 0], [2, 1_000_000]], "schedule_period_s": 4})
    status, _ = await ask(server, "POST", "/links/4g", {"slow_bps": 125_000, "direction": "up", "outage": "hold"})
    assert status == 200
    assert link.up.line.profile.rate_schedule == ((0, 300_000), (1, 0), (2, 100_000))
    assert link.down.line.profile.rate_schedule == ((0, 3_000_000), (1, 0), (2, 1_000_000))
    assert link.up.line.model.outage is Outage.HOLD


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"outage": "explode", "rate_bps": 5}, "outage 'explode': allowed is drop, hold, null"),
        ({"rate": 5, "outage": "drop"}, "rate is not known; allowed are bit_error_ratio"),
        ({"rate_bps": 0}, "rate_bps 0: allowed is 1 or more"),
        ({"rate_bps": 9.5}, "rate_bps 9.5 is not a whole number"),
        ({"loss_ratio": True}, "loss_ratio True is not a number"),
        ({"loss_ratio": 2, "rate_bps": 5, "outage": "drop"}, "loss_ratio 2: allowed is 0 to 1"),
        ({"direction": "left"}, "direction 'left': allowed is up, down, both"),
        ({"restore": True, "rate_bps": 5}, "it allows no rate_bps beside it"),
        ({"restore": True, "slow_bps": 5}, "it allows no slow_bps beside it"),
        ({"slow_bps": 0, "outage": "drop"}, "slow_bps 0: allowed is a whole number, 1 or more"),
        ({"slow_bps": None}, "slow_bps None: allowed is a whole number"),
        ({"slow_bps": True}, "slow_bps True: allowed is a whole number"),
        ({"slow_bps": 5, "delay_s": 1, "outage": "drop"}, "it allows no delay_s beside it"),
        ({"restore": "yes"}, "restore 'yes': allowed is true or false"),
        ({"kills_in_flight": True}, "allowed beside an outage"),
        ({"reset": 1}, "reset 1: allowed is true or false"),
        ({"reset": True, "rate_bps": 5, "outage": "drop"}, "reset: link 4g has no connections; allowed is a TCP link"),
        ([1], "not a JSON object"),
    ],
)
async def test_a_wrong_wish_is_named_and_changes_nothing(
    server: ControlServer, link: LiveLink, body: object, said: str
) -> None:
    status, answer = await ask(server, "POST", "/links/4g", body)
    assert status == 400
    assert said in answer["error"]
    assert link.up.line.model.outage is None
    assert link.up.line.profile == profile("4g").up


async def test_a_trace_is_that_of_the_direction_and_errors_name_it(
    server: ControlServer, link: LiveLink, tmp_path: Path
) -> None:
    (tmp_path / "drive.csv").write_text("t_ms,down_bps,up_bps,delay_ms,loss\n0,5000,250,12.5,0\n1500,,,,\n")
    status, _ = await ask(server, "POST", "/links/4g", {"trace": str(tmp_path / "drive.csv")})
    assert status == 200
    rates = [line.line.profile.trace.row_at(0).rate_bps for line in (link.up, link.down)]
    assert rates == [250, 5000]
    assert (await ask(server, "POST", "/links/4g", {"trace": None, "direction": "down"}))[0] == 200
    status, answer = await ask(server, "POST", "/links/4g", {"trace_loop": False})
    assert (status, answer) == (400, {"error": "link 4g down: trace_loop False: trace is missing"})
    assert link.up.line.profile.trace.loops


async def test_requests_that_are_none_of_ours_are_refused(server: ControlServer) -> None:
    assert (await ask(server, "GET", "/"))[0] == 404
    status, answer = await ask(server, "POST", "/links/5g", {})
    assert (status, answer) == (404, {"error": "/links/5g: there is /links, /links/4g"})
    assert (await ask(server, "DELETE", "/links/4g"))[0] == 405
    assert (await raw(server, b"nonsense\r\n\r\n"))[0] == 400
    form = b"POST /links/4g HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    assert (await raw(server, form))[0] == 403
    assert (await raw(server, b"GET /" + b"x" * 20_000 + b"\r\n\r\n"))[0] == 400
    broken = b"POST /links/4g HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{{{"
    assert (await raw(server, broken))[0] == 400
    endless = b"POST /links/4g HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    assert (await raw(server, endless))[0] == 400


async def test_a_client_that_goes_away_harms_nobody(server: ControlServer) -> None:
    _, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"POST /links/4g HTT")
    writer.close()
    assert (await ask(server, "GET", "/links/4g"))[0] == 200


def test_control_listens_on_this_machine_only(link: LiveLink) -> None:
    with pytest.raises(ControlError, match=r"control 0\.0\.0\.0:8500: allowed is an address of this machine"):
        ControlServer([link], listen=HostPort(host="0.0.0.0", port=8500))


async def test_a_change_is_felt_by_what_is_on_its_way(link: LiveLink) -> None:
    link.set({"rate_bps": 1000, "delay_s": 0.0})
    link.up.offer(b"frame", 125_000)  # 1,000 s at this rate
    before_ns = link.up.line.next_due_ns()
    link.slow(1_000_000_000)
    after_ns = link.up.line.next_due_ns()
    assert before_ns is not None
    assert after_ns is not None
    assert before_ns - after_ns > 990 * 10**9
    assert LinkProfile() != link.up.line.profile
