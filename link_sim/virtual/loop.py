"""Virtual loop: asyncio whose clock jumps to the next timer as soon as nothing is left to run.

``time()`` begins at 0 and is exact: integer nanoseconds inside, and what is due at the same one runs in the order in
which it was scheduled. Nothing real runs inside: sockets, processes, threads and signals raise at once. The streams
and datagrams of ordinary asyncio code go through the ``network`` that a ``link_sim.virtual.net.Net`` puts there.

A run that can never go on ends with StuckError: nothing is scheduled while tasks wait, or the clock stands still
though callbacks run, or it has gone further than any test means.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

from link_sim.virtual.handle import NS_PER_S, VirtualHandle, VirtualTask
from link_sim.virtual.real_guard import install_guard, refusal
from link_sim.virtual.stuck import StuckError, waits

TURNS_MAX = 100_000  # turns of the loop at one instant; more is a program that spins without waiting
LIMIT_S = 7 * 86_400.0  # no test means a longer run; a forgotten heartbeat would keep a stuck one alive for ever
_NEVER_NS = 1 << 62
_NEVER_S = _NEVER_NS / NS_PER_S
_PURGE_MIN = 100  # cancelled timers kept before the heap is built anew, as asyncio does

Result = TypeVar("Result")
_Args = TypeVarTuple("_Args")
_NETWORK = "a link_sim.virtual.net.Net, made inside this loop or given to run_virtual"
_CALLS = "streams and datagrams of the loop"


class Network(Protocol):
    """What answers the loop's connections; hosts are names of nodes."""

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str | None, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect from the node that the caller runs in."""

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: object, port: int, *, backlog: int
    ) -> asyncio.AbstractServer:
        """Listen at the node that the caller runs in."""

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str | None, int] | None,
        remote_addr: tuple[str, int] | None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Open a datagram port at the node that the caller runs in."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. ``seed`` is what a Net inside takes unless it is told another.

    ``runs_inline``: functions given to ``run_in_executor`` and ``to_thread`` run on the spot, which is safe as long as
    they do not wait for the loop. ``is_guarded`` False permits real sockets and threads beside the loop.
    ``turns_max`` at one instant and ``limit_s`` of virtual time end a run with StuckError.
    """

    _ready: deque[VirtualHandle]  # these four are BaseEventLoop's, in every version from 3.11 to 3.14
    _closed: bool
    _stopping: bool
    _thread_id: int | None

    def __init__(
        self,
        *,
        seed: int = 1,
        runs_inline: bool = False,
        is_guarded: bool = True,
        turns_max: int = TURNS_MAX,
        limit_s: float = LIMIT_S,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.now_ns = 0
        self.is_guarded = is_guarded
        self.network: Network | None = None
        self._clock_resolution = 1 / NS_PER_S
        self._runs_inline = runs_inline
        self._is_inline = False
        self._turns_max = turns_max
        self._limit_ns = round(limit_s * NS_PER_S)
        self._timers: list[tuple[int, int, VirtualHandle]] = []
        self._order = 0
        self._cancelled_timers = 0
        self._tasks = 0
        self._plain = contextvars.Context()
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # typeshed has futures there, too
        install_guard()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Result], **options: Any
    ) -> VirtualTask[Result]:
        self._tasks += 1
        return VirtualTask(coro, number=self._tasks, loop=loop, **options)

    def time(self) -> float:
        """Seconds since the loop was made, all of them virtual."""
        return self.now_ns / NS_PER_S

    def call_soon(
        self,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> VirtualHandle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = VirtualHandle(self.now_ns, callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> VirtualHandle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        now_ns = self.now_ns  # as call_at_ns, without its call: each sleep comes this way
        when_ns = now_ns + int(delay * NS_PER_S + 0.5) if delay < _NEVER_S else _NEVER_NS
        handle = VirtualHandle(when_ns, callback, args, self, context)
        if when_ns <= now_ns:
            self._ready.append(handle)
        elif when_ns < _NEVER_NS:
            self._order = order = self._order + 1
            heappush(self._timers, (when_ns, order, handle))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> VirtualHandle:
        when_ns = round(when * NS_PER_S) if when < _NEVER_S else _NEVER_NS
        return self.call_at_ns(when_ns, callback, *args, context=context)

    def call_at_ns(
        self,
        when_ns: int,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> VirtualHandle:
        """Run ``callback`` at that nanosecond; in the next turn when it has passed."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = VirtualHandle(when_ns, callback, args, self, context)
        if when_ns <= self.now_ns:
            self._ready.append(handle)
        elif when_ns < _NEVER_NS:
            self._order = order = self._order + 1
            heappush(self._timers, (when_ns, order, handle))
        return handle

    def ring_at_ns(self, when_ns: int, callback: Callable[[], object]) -> VirtualHandle:
        """``call_at_ns`` in a context of the loop's own, for clocks of lines that belong to no task."""
        return self.call_at_ns(when_ns, callback, context=self._plain)

    def bell(self, callback: Callable[[], object]) -> VirtualHandle:
        """A handle for ``ring_again_at_ns``, in the context of ``ring_at_ns``."""
        return VirtualHandle(_NEVER_NS, callback, (), self, self._plain)

    def ring_again_at_ns(self, when_ns: int, bell: VirtualHandle) -> None:
        """Run a bell then, beside any other times it was set for: a link needs no new handle for each frame."""
        if when_ns <= self.now_ns:
            self._ready.append(bell)
        else:
            self._order = order = self._order + 1
            heappush(self._timers, (when_ns, order, bell))

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> VirtualHandle:
        """``call_soon``. Raises NotVirtualError from another thread, and from a function that runs inline."""
        if self._is_inline:
            raise refusal("a function run inline that waits for the loop", "await, in a task")
        if self._thread_id is not None and self._thread_id != threading.get_ident():
            raise refusal("a call from another thread", "a task of the loop")
        return self.call_soon(callback, *args, context=context)

    def count_cancelled(self) -> None:
        """A timer in the heap was cancelled; many of them, and the heap is built anew."""
        self._cancelled_timers += 1
        if self._cancelled_timers > _PURGE_MIN and self._cancelled_timers * 2 > len(self._timers):
            self._timers[:] = [timer for timer in self._timers if not timer[2].cancelled()]
            heapify(self._timers)
            self._cancelled_timers = 0

    def _run_once(self) -> None:
        """Every turn until ``stop``; when nothing is ready the clock moves to the next timer. Raises StuckError."""
        self._plain.run(self._run_turns)

    def _run_turns(self) -> None:
        ready, timers, plain, turns = self._ready, self._timers, self._plain, 0
        while ready or not self._stopping:
            if ready:
                turns += 1
                if turns > self._turns_max:
                    raise self._stuck(f"{turns - 1} turns of the loop and the clock still stands at {self.time()} s")
                handle, left = ready.popleft(), len(ready)
            else:
                if not timers:
                    raise self._stuck(f"nothing is left to happen at {self.time()} s, but tasks wait")
                when_ns, _, handle = heappop(timers)
                if handle._cancelled:
                    self._cancelled_timers -= 1
                    continue
                if when_ns > self._limit_ns:
                    raise self._stuck(f"the clock would go beyond limit_s {self._limit_ns / NS_PER_S:g}")
                self.now_ns, turns, left = when_ns, 1, 0
                while timers and timers[0][0] == when_ns:
                    ready.append(heappop(timers)[2])
                    left += 1
            while True:  # a turn: what was ready at its beginning
                if not handle._cancelled:
                    context, callback, args = handle._context, handle._callback, handle._args
                    try:
                        if args:
                            context.run(callback, *args)
                        elif context is plain:  # in which all of this runs already
                            callback()
                        else:
                            context.run(callback)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001  # asyncio's contract: its handler judges, the loop goes on
                        self._tell(handle, error)
                if not left:
                    break
                handle, left = ready.popleft(), left - 1
            if self._stopping:
                return

    def _stuck(self, what: str) -> StuckError:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: (hash(task), task.get_name()))
        return StuckError(f"{what}:\n{waits(tasks)}")

    def _tell(self, handle: VirtualHandle, error: BaseException) -> None:
        context = {"message": f"Exception in callback {handle!r}", "exception": error, "handle": handle}
        self.call_exception_handler(context)

    def close(self) -> None:
        """Forget what is scheduled; a closed loop takes nothing more."""
        if self.is_running():
            raise RuntimeError("the loop runs and cannot be closed")
        self._timers.clear()
        super().close()

    def run_in_executor(  # type: ignore[override]  # typeshed's is generic in arguments; the call is the same
        self, executor: object, func: Callable[..., Result], *args: Any
    ) -> "asyncio.Future[Result]":
        """The result of ``func``, run on the spot. Raises NotVirtualError unless the loop ``runs_inline``."""
        if not self._runs_inline:
            raise refusal("a thread of an executor", "a task, or VirtualLoop(runs_inline=True) to run it on the spot")
        future: asyncio.Future[Result] = self.create_future()
        self._is_inline = True
        try:
            future.set_result(func(*args))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # an executor hands every error to whoever awaits the result
            future.set_exception(error)
        finally:
            self._is_inline = False
        return future

    async def getaddrinfo(  # type: ignore[override]  # flags and families are those of real addresses
        self, host: str | None, port: int | str | None, **_: Any
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        """Names of nodes stand for themselves."""
        return [(2, 1, 6, "", (host or "localhost", int(port or 0)))]

    def _net(self, what: str) -> Network:
        if self.network is None:
            raise refusal(f"{what} without a network", _NETWORK)
        return self.network

    async def create_connection(  # type: ignore[override]  # options of real sockets are refused, not typed
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to a port of a node by its name, from the node that the caller runs in."""
        _refuse_options("create_connection", options)
        return await self._net("a connection").create_connection(protocol_factory, host, port or 0)

    async def create_server(  # type: ignore[override]  # as above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        **options: Any,
    ) -> asyncio.AbstractServer:
        """Listen at a port of the node that the caller runs in."""
        backlog = int(options.pop("backlog", 100))
        _refuse_options("create_server", options)
        return await self._net("a server").create_server(protocol_factory, host, port or 0, backlog=backlog)

    async def create_datagram_endpoint(  # type: ignore[override]  # as above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str | None, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Open a datagram port at the node that the caller runs in."""
        _refuse_options("create_datagram_endpoint", options)
        return await self._net("a datagram port").create_datagram_endpoint(protocol_factory, local_addr, remote_addr)


_HARMLESS = frozenset(("family", "proto", "flags", "reuse_address", "reuse_port", "happy_eyeballs_delay", "interleave",
                       "start_serving", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout",
                       "all_errors", "keep_alive", "local_addr"))  # fmt: skip


def _refuse_options(call: str, options: dict[str, Any]) -> None:
    """Raises NotVirtualError for what the virtual network has not: real sockets, TLS, broadcast."""
    for name, value in options.items():
        if value and name not in _HARMLESS:
            raise refusal(f"{call}({name}=...)", f"the call without {name}")


def _refused(call: str, instead: str) -> Any:
    """A method that raises at once. Any: it stands in for methods of many signatures."""

    def refuse(self: VirtualLoop, *_: object, **__: object) -> None:
        raise refusal(call, instead)

    refuse.__name__ = call
    return refuse


for _call in (
    "add_reader", "remove_reader", "add_writer", "remove_writer", "sock_recv", "sock_recv_into", "sock_recvfrom",
    "sock_recvfrom_into", "sock_sendall", "sock_sendto", "sock_connect", "sock_accept", "sock_sendfile", "sendfile",
    "connect_accepted_socket", "create_unix_connection", "create_unix_server", "connect_read_pipe",
    "connect_write_pipe", "start_tls",
):  # fmt: skip
    setattr(VirtualLoop, _call, _refused(_call, _CALLS))
for _call in ("subprocess_exec", "subprocess_shell"):
    setattr(VirtualLoop, _call, _refused(_call, "a task that plays the process"))
for _call in ("add_signal_handler", "remove_signal_handler"):
    setattr(VirtualLoop, _call, _refused(_call, "a call at a time: loop.call_at"))


def run_virtual(main: Coroutine[Any, Any, Result], *, seed: int = 1, runs_inline: bool = False) -> Result:
    """Run ``main`` to its end in a loop of its own, as asyncio.run does.

    Raises StuckError, and what ``main`` raises.
    """
    return run_virtual_in(VirtualLoop(seed=seed, runs_inline=runs_inline), main)


def run_virtual_in(loop: VirtualLoop, main: Coroutine[Any, Any, Result]) -> Result:
    """``run_virtual`` in a loop made before; it is closed in the end."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
