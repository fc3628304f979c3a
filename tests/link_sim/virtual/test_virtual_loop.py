"""The virtual loop: exact time, stable order, the end of what can never end, and no way into the real world."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.virtual.loop import VirtualLoop, run_virtual
from link_sim.virtual.real_guard import NotVirtualError
from link_sim.virtual.stuck import StuckError


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def main() -> float:
        assert asyncio.get_running_loop().time() == 0
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began_s = time.monotonic()
    assert run_virtual(main()) == 3600
    assert time.monotonic() - began_s < 10  # a clock that waits would take the hour


@given(delays_ns=st.lists(st.integers(0, 2_000_000_000), min_size=1, max_size=60))
def test_timers_come_at_their_nanosecond_in_the_order_they_were_set(delays_ns: list[int]) -> None:
    loop, came = VirtualLoop(), list[tuple[int, int]]()

    def note(number: int) -> None:
        came.append((loop.now_ns, number))

    for number, delay_ns in enumerate(delays_ns):
        loop.call_later(delay_ns / 1e9, note, number)
    loop.call_later(3, loop.stop)
    loop.run_forever()
    loop.close()
    assert came == sorted((delay_ns, number) for number, delay_ns in enumerate(delays_ns))


def test_ten_thousand_small_sleeps_add_up_without_drift() -> None:
    async def main() -> int:
        for _ in range(10_000):
            await asyncio.sleep(0.0001)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.now_ns

    assert run_virtual(main()) == 1_000_000_000


def test_a_cancelled_timer_never_runs_and_many_do_not_pile_up() -> None:
    loop, ran = VirtualLoop(), list[int]()
    for number in range(5000):
        handle = loop.call_later(10, ran.append, number)
        handle.cancel()
        handle.cancel()
    assert len(loop._timers) < 200
    loop.call_later(11, loop.stop)
    loop.run_forever()
    loop.close()
    assert ran == []


def test_timeouts_queues_and_task_groups_work() -> None:
    async def main() -> list[str]:
        seen, queue = list[str](), asyncio.Queue[int](1)

        async def produce() -> None:
            for number in range(3):
                await queue.put(number)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce(), name="produce")
            for _ in range(3):
                seen.append(f"{await queue.get()} at {asyncio.get_running_loop().time():g}")
        try:
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append(f"late at {asyncio.get_running_loop().time():g}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.5)
        return seen

    assert run_virtual(main()) == ["0 at 0", "1 at 1", "2 at 2", "late at 8"]


def test_a_stuck_run_names_each_task_and_where_it_waits() -> None:
    async def wait_for_ever(event: asyncio.Event) -> None:
        await event.wait()

    async def main() -> None:
        task = asyncio.create_task(wait_for_ever(asyncio.Event()), name="the reader")
        await asyncio.sleep(2.5)
        await task

    with pytest.raises(StuckError) as caught:
        run_virtual(main())
    text = str(caught.value)
    assert "at 2.5 s" in text
    reader = next(line for line in text.splitlines() if line.startswith("  task 'the reader'"))
    assert f"{__file__}:" in reader
    assert "wait_for_ever" in reader
    assert "locks.py" in reader
    assert "for task 'the reader'" in text


def test_a_spinning_run_ends() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        for _ in count():
            await asyncio.sleep(0)

    with pytest.raises(StuckError, match=r"100000 turns of the loop and the clock still stands at 1\.0 s"):
        run_virtual(main())


def test_a_heartbeat_does_not_keep_a_stuck_run_alive() -> None:
    async def beat() -> None:
        for _ in count():
            await asyncio.sleep(1)

    async def main() -> None:
        task = asyncio.create_task(beat(), name="heartbeat")
        await asyncio.Event().wait()
        await task

    loop = VirtualLoop(limit_s=600)
    with pytest.raises(StuckError, match="limit_s 600"), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert loop.is_closed()


async def _open_process() -> object:
    return await asyncio.create_subprocess_exec("true")


async def _thread() -> object:
    return await asyncio.to_thread(time.monotonic)


async def _reader() -> object:
    return asyncio.get_running_loop().add_reader(0, print)


async def _signal() -> object:
    return asyncio.get_running_loop().add_signal_handler(10, print)


async def _socket() -> object:
    return socket.socket()


async def _connect_blocking() -> object:
    return socket.create_connection(("127.0.0.1", 9))


async def _popen() -> object:
    return subprocess.Popen(["true"])  # noqa: ASYNC220  # that it is refused is what is tested


async def _start_thread() -> object:
    thread = threading.Thread(target=print)
    thread.start()
    return thread


async def _no_network() -> object:
    return await asyncio.open_connection("command", 80)


async def _unix() -> object:
    return await asyncio.open_unix_connection("/nowhere")


_REAL = [_open_process, _thread, _reader, _signal, _socket, _connect_blocking, _popen, _no_network, _unix]
if sys.version_info >= (3, 12):  # the interpreter tells of a thread started by hand since then
    _REAL.append(_start_thread)


@pytest.mark.parametrize("real", _REAL)
def test_what_is_real_raises_at_once_and_says_what_to_use(real: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        with pytest.raises(NotVirtualError, match="; use "):
            await real()

    run_virtual(main())
    socket.socket().close()  # the guard is off outside


def test_functions_run_inline_on_request_but_never_wait_for_the_loop() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()

        def waits() -> object:
            sleep = asyncio.sleep(1)
            try:
                return asyncio.run_coroutine_threadsafe(sleep, loop).result()
            finally:
                sleep.close()

        with pytest.raises(NotVirtualError, match="waits for the loop"):
            await asyncio.to_thread(waits)
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        return await asyncio.to_thread(len, "four")

    assert run_virtual(main(), runs_inline=True) == 4


def test_an_error_in_a_callback_goes_to_the_handler_and_the_loop_goes_on() -> None:
    async def main() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)
        return told

    told = run_virtual(main())
    assert [type(each["exception"]) for each in told] == [ZeroDivisionError]


def test_a_task_group_cancels_its_tasks_in_the_order_they_were_made() -> None:
    async def main() -> list[int]:
        ended: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(number)

        async def fail_beside_them() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(wait(number), name="the same")
                await asyncio.sleep(1)
                raise ValueError

        with pytest.raises(ExceptionGroup):
            await fail_beside_them()
        return ended

    assert run_virtual(main()) == list(range(50))
