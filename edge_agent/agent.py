"""Agent: puts one node together from its configuration, runs it, and stops it cleanly.

On the way of a reading: driver -> DevicePort.publish -> BundleSender.submit -> Runner.submit -> Node.submit -> Disk;
then Node.poll_transmit -> Runner -> transport. At command: transport -> LinkPort.frames_received -> Runner.receive ->
Node.receive -> Disk -> BundleDelivered -> Deliveries -> consumer -> ReceiptSender.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from random import SystemRandom
from typing import Any

import structlog

from edge_agent import loop as agent_loop
from edge_agent.accepted import AcceptedNews
from edge_agent.addresses import spell
from edge_agent.api import ApiServer
from edge_agent.audit import Audit
from edge_agent.auto_links import AutoLinks
from edge_agent.clock_watch import ClockWatch
from edge_agent.collector import collect_seldom
from edge_agent.config import AUTO_TRANSPORT, Config, DriverConfig, LinkConfig
from edge_agent.core.bundle import COMMAND, BundleId
from edge_agent.core.effects import (
    BundleAccepted,
    BundleClosed,
    BundleDelivered,
    BundleRefused,
    BundlesForwarded,
    CameAgain,
    Event,
    Evicted,
    IdentityMismatch,
    LinkChanged,
    Outcome,
)
from edge_agent.core.node import Node
from edge_agent.core.report import NodeReport, NodeSettings
from edge_agent.deliveries import Deliveries
from edge_agent.device_port import DevicePort
from edge_agent.disk.fates import state_of
from edge_agent.disk.store import Disk
from edge_agent.flows import FlowTable
from edge_agent.link_costs import report_rows
from edge_agent.link_news import LinkNews
from edge_agent.link_port import LinkPort
from edge_agent.link_recording import LinkRecording
from edge_agent.link_seconds_files import FOLDER, SecondFiles
from edge_agent.link_terms import LinkTerms, Profile
from edge_agent.local_door import LocalDoor
from edge_agent.outlook import granted_bytes
from edge_agent.page_news import PageNews
from edge_agent.page_parts import PageParts
from edge_agent.pages import run_desk
from edge_agent.ports import PluginLostError
from edge_agent.post_acts import PostActs
from edge_agent.posts import PostCopies
from edge_agent.receipts import RECEIPT_FLOWS, UNANSWERED_FLOWS, ReceiptReader, ReceiptSender
from edge_agent.registry import Plugins
from edge_agent.repeats import Repeats
from edge_agent.runner import Runner
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import load_secret
from edge_agent.sender import BundleSender
from edge_agent.supervisor import keep_running
from edge_agent.unit_reports import UnitReporter

STOP_LONGEST_S = 1.8  # a stop is promised within 2 s; what is accepted is on disk already
ROOM_CHECK_S = 5.0
REPORT_CACHE_S = 0.5  # drivers ask often what they may send; links do not change that fast

log = structlog.get_logger()

Work = Coroutine[Any, Any, None]  # Any: what coroutines yield and are sent is asyncio's


def run_agent(config: Config, plugins: Plugins, lost_log_lines: Callable[[], int]) -> None:
    """Run one agent until SIGTERM or SIGINT. Raises EdgeAgentError when it cannot start.

    ``lost_log_lines``: how many its log did not take so far.
    """
    collect_seldom()
    agent_loop.run(_run_until_signal(config, plugins, lost_log_lines))


async def _run_until_signal(config: Config, plugins: Plugins, lost_log_lines: Callable[[], int]) -> None:
    agent = Agent(config, plugins, lost_log_lines)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        agent.stop()
        loop.call_later(STOP_LONGEST_S, _abandon, agent)

    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        else:
            loop.add_signal_handler(number, stop)
    await agent.run()


def _abandon(agent: "Agent", status: int = 0) -> None:
    """End the process although some part does not stop: nothing accepted is lost by that."""
    log.error("agent_stop_forced", stuck=agent.unfinished())
    os._exit(status)


class Agent:
    """One node with its links, devices, store, API and page."""

    def __init__(self, config: Config, plugins: Plugins, lost_log_lines: Callable[[], int]) -> None:
        """Open the store; nothing runs before ``run``. Raises EdgeAgentError: secret refused, store in use."""
        keys = DeploymentKeys({0: load_secret(config.secret_file)})
        self.config = config
        self._plugins = plugins
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._started_s = self._loop.time()
        self._disk, restored = Disk.open(
            config.data_dir,
            node_id=config.node_id,
            role=config.role,
            quota_bytes=config.quota_bytes,
            now_s=self._started_s,
            on_complete=self._completed,
            on_acked=lambda acked: self._receipts.owe(acked),
            on_evicted=self._evicted,
            flows_without_receipt=UNANSWERED_FLOWS,
        )
        flows = FlowTable(config.flows)
        settings = NodeSettings(
            node_id=config.node_id,
            number=config.number,
            role=config.role,
            store_quota_bytes=config.quota_bytes,
            free_store_bytes=self._disk.free_bytes(),
            is_protected=lambda flow: flows.terms(flow).protected,
            has_other_posts=bool(config.copies_to),
        )
        node = Node(settings, keys, SystemRandom(), restored, self._started_s)
        self._runner = Runner(node, execute=self._disk.execute, on_event=self._on_event, loop=self._loop)
        self._sender = BundleSender(
            self._runner, flows, self._disk.ages.now_ms, told_ms=self._disk.ages.told_ms, levels=config.reports_to
        )
        self._deliveries = Deliveries(self._disk)
        self._receipts = ReceiptSender(self._disk, self._sender, config.node_id, config.level)
        self._repeats = Repeats(self._disk.owe_again)
        self._posts = self._post_copies()
        self._receipt_arrived, self._link_changed = asyncio.Event(), asyncio.Event()
        self._link_news, self._accepted = LinkNews(self._links_changed), AcceptedNews()
        self._links = [LinkPort(link, self._runner, self._loop) for link in config.links]
        self._terms = LinkTerms(
            self._links, self._runner, self._disk, now_s=self._loop.time, on_change=self._links_changed
        )
        self._devices = [self._device(driver) for driver in config.drivers]
        self._door = LocalDoor(
            config=config,
            disk=self._disk,
            runner=self._runner,
            sender=self._sender,
            deliveries_=self._deliveries,
            links=self._links,
            terms=self._terms,
            devices=self._devices,
            now_s=self._loop.time,
            started_s=self._started_s,
            accepted_news=self._accepted,
            audit=Audit(config.data_dir, config.node_id, self._disk.ages.now_ms),
            lost_log_lines=lost_log_lines,
        )
        self._api = ApiServer(self._door, config.api, guard_connection)
        self._incarnation = restored.incarnation
        self._page_news = PageNews(self._door.fates.any_change)
        self._sender.on_accepted = self._page_news.accepted
        self._last_report: tuple[float, NodeReport] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._abandoning: asyncio.TimerHandle | None = None
        self._names_deliveries = log.is_enabled_for(logging.DEBUG)
        """Whether each is logged: its name costs more to write than all else that is done with it there."""
        self._terms.begin()

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopping.set()

    def unfinished(self) -> list[str]:
        """Names of tasks that still run."""
        return [task.get_name() for task in self._tasks if not task.done()]

    async def run(self) -> None:
        """Work until ``stop``. A defect in a part of ours ends it with that error; a plugin's never does."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [group.create_task(self._part(name, work), name=name) for name, work in self._work()]
                await self._api.tried.wait()
                await self._door.audit.note("agent", "", "start")
                log.info("agent_ready", node=self.config.node_id, role=self.config.role, pid=os.getpid())
                await self._stopping.wait()
                for task in self._tasks:
                    task.cancel()
        finally:
            if self._abandoning is not None:
                self._abandoning.cancel()
            self._runner.close()
            self._disk.close()
            await self._door.audit.close()
            for drops in (*(link.drops for link in self._links), *(device.drops for device in self._devices)):
                drops.close()
        log.info("agent_stopped", node=self.config.node_id)

    def _work(self) -> list[tuple[str, Work]]:
        """Everything this agent runs, by name."""
        reader = ReceiptReader(
            self._disk, self._door.fates, self._receipt_arrived, self.config.node_id, self._runner.settle
        )
        work: list[tuple[str, Work]] = [
            ("store", self._disk.watch()),
            ("store-room", self._watch_room()),
            ("clock", ClockWatch(self._disk).run()),
            ("link-terms", self._terms.run()),
            ("receipts", self._receipts.run()),
            ("receipt-reader", reader.run()),
        ]
        for link in self._links:
            run = partial(self._run_link, link)
            work.append((f"link:{link.link}", self._keep("link", link.link, run, link.link_down)))
        if self.config.auto_remotes:
            transport = self._plugins.transport(AUTO_TRANSPORT)
            work.append(("auto-links", AutoLinks(self.config, transport, self._run_auto_link).run()))
        for device in self._devices:
            run = partial(self._run_device, device)
            work.append((f"device:{device.name}", self._keep("device", device.name, run, device.unavailable)))
            work.append((f"batches:{device.name}", device.flush_readings()))
        work.append(("link-news", self._link_news.run(self._loop.time)))
        work.append(("link-seconds", self._recording().run()))
        work.append(("api", self._keep("api", spell(self.config.api), self._api.run, _ignore)))
        work.append(("desk", self._keep("desk", self.config.web or self.config.node_id, self._run_desk, _ignore)))
        if self._posts is not None:
            work.append(("posts", self._posts.run()))
        if self.config.role != COMMAND:
            work.append(("report", self._reporter().run()))
        return work

    async def _part(self, name: str, work: Work) -> None:
        """Run one part; a defect in it is said at once and ends the agent, soon also where others wait for that part.

        So whoever started the agent can start it again, where a process half dead would answer nobody.
        """
        try:
            await work
        except Exception:
            log.exception("agent_part_failed", part=name)
            if self._abandoning is None:
                self._abandoning = self._loop.call_later(STOP_LONGEST_S, _abandon, self, 1)
            raise

    def _post_copies(self) -> PostCopies | None:
        config = self.config
        if not config.copies_to:
            return None
        posts = PostCopies(
            level=config.level,
            posts=config.copies_to,
            disk=self._disk,
            runner=self._runner,
            sender=self._sender,
            now_s=self._loop.time,
            now_ms=self._disk.ages.now_ms,
        )
        self._receipts.is_silent = posts.is_silent
        self._deliveries.shows = posts.shows
        return posts

    def _recording(self) -> LinkRecording:
        files = SecondFiles(
            folder=self.config.data_dir / FOLDER,
            node_id=self.config.node_id,
            run=f"{self._incarnation:016x}-{time.time_ns():x}",
            transports={link.name: link.transport for link in self.config.links},
        )
        ages = self._disk.ages
        return LinkRecording(
            files, self._runner.take_seconds, lambda: (ages.now_ms() / 1000, ages.clock_state().is_set)
        )

    def _reporter(self) -> UnitReporter:
        return UnitReporter(
            config=self.config,
            sender=self._sender,
            report=self._runner.report,
            ports=self._links,
            changed=self._link_changed,
            disk=self._disk,
            costs=partial(report_rows, self._terms),
            profile=self._terms.unusual_profile,
        )

    def _device(self, driver: DriverConfig) -> DevicePort:
        data_dir = self.config.data_dir / "devices" / driver.name
        return DevicePort(
            driver,
            self._sender,
            data_dir=data_dir,
            granted_bytes=self._granted_bytes,
            hint_link=self._runner.hint_link,
            loop=self._loop,
        )

    async def _keep(
        self, what: str, name: str, run: Callable[[], Awaitable[None]], mark_lost: Callable[[str], None]
    ) -> None:
        await keep_running(partial(self._guard, what, name, run), what=what, name=name, mark_lost=mark_lost)

    async def _guard(self, what: str, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a plugin so that a defect in it costs that plugin a restart and nobody their SOS."""
        try:
            await run()
        except (OSError, PluginLostError):
            raise  # lost, which is no defect: the supervisor says why
        except Exception as error:
            log.exception("plugin_failed", what=what, name=name)
            raise PluginLostError(f"defect: {type(error).__name__}: {error}") from error

    async def _run_link(self, port: LinkPort) -> None:
        await self._plugins.transport(port.config.transport)(port.config.table).run(port)

    async def _run_auto_link(self, config: LinkConfig) -> None:
        port = LinkPort(config, self._runner, self._loop)
        self._terms.join(port)
        self._links.append(port)
        await self._keep("link", port.link, partial(self._run_link, port), port.link_down)

    async def _run_device(self, port: DevicePort) -> None:
        port.data_dir.mkdir(parents=True, exist_ok=True)  # here, so that a disk that refuses it costs a device only
        await self._plugins.driver(port.config.kind)(port.config.table).run(port)

    async def _watch_room(self) -> None:
        """Tell the node what the store can take, also while nothing is written: somebody may have freed the disk."""
        while True:
            await asyncio.sleep(ROOM_CHECK_S)
            self._completed(())

    def _completed(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        self._runner.complete(outcomes, self._disk.free_bytes(), self._disk.store_rate_bps())

    def _evicted(self, given_up: Sequence[Evicted]) -> None:
        log.warning(
            "bundles_evicted", bundles=len(given_up), payload_bytes=sum(each.payload_bytes for each in given_up)
        )
        self._runner.evict(given_up)

    def _granted_bytes(self, flow: str, interval_s: float) -> int:
        now_s = self._loop.time()
        if self._last_report is None or now_s - self._last_report[0] > REPORT_CACHE_S:
            self._last_report = (now_s, self._runner.report())
        if self._terms.profile is Profile.LOW_POWER:
            return 0
        return granted_bytes(self._last_report[1], self._sender.flows.terms(flow).precedence, interval_s)

    def _on_event(self, event: Event) -> None:
        match event:
            case BundleAccepted():
                self._accepted.tell(event.bundle)
            case BundleDelivered():
                self._delivered(event)
            case BundlesForwarded():
                if self._posts is not None:
                    self._posts.forwarded(event)
                self._settled(*event.bundles)
            case BundleClosed():
                if self._posts is not None:
                    self._posts.closed(event)
                self._receipts.tell_end(event.bundle, state_of(event.reason))
                self._settled(event.bundle)
            case CameAgain():
                self._repeats.came_again(event.bundle, self._loop.time())
            case LinkChanged():
                self._page_news.changed.set()
                self._link_news.changed(event, self._loop.time())
            case BundleRefused(peer=str()):
                self._page_news.refused_by_peer(event.bundle, self._loop.time() + event.retry_after_s)
                log.warning(
                    "bundle_refused_by_peer",
                    bundle=str(event.bundle),
                    peer=event.peer,
                    reason=event.reason.value,
                    retry_after_s=event.retry_after_s,
                )
            case IdentityMismatch():
                log.error("bundle_identity_mismatch", bundle=str(event.bundle), peer=event.peer)

    def _links_changed(self) -> None:
        """A link changed, or a person said how it is used or what it costs: the page shows it, command hears soon."""
        self._link_changed.set()
        self._page_news.changed.set()

    def _delivered(self, event: BundleDelivered) -> None:
        flow = event.record.header.flow
        if flow in RECEIPT_FLOWS:
            self._receipt_arrived.set()
        self._deliveries.arrived(flow)
        if self._posts is not None:
            self._posts.delivered(event)
        if self._names_deliveries:
            log.debug("bundle_delivered", bundle=str(event.record.id), peer=event.peer, via=event.via)

    def _settled(self, *bundles: BundleId) -> None:
        """Bundles no longer wait here."""
        self._door.fates.changed(*bundles)
        for device in self._devices:
            for bundle in bundles:
                device.settled(bundle)

    async def _run_desk(self) -> None:
        """Orders and what people see and press; with or without a page."""
        await self._api.tried.wait()  # loading takes a third of a second, and programs come first
        await run_desk(
            PageParts(
                config=self.config,
                disk=self._disk,
                runner=self._runner,
                sender=self._sender,
                deliveries=self._deliveries,
                links=self._links,
                terms=self._terms,
                devices=self._devices,
                news=self._page_news,
                acts=PostActs(self.config.node_id, self._incarnation, self._runner, self._loop.time),
                incarnation=f"{self._incarnation:016x}",
                level=self.config.level,
                audit=self._door.audit,
                now_s=self._loop.time,
                now_ms=self._disk.ages.now_ms,
            ),
            self._door.desks.tell,
        )


async def guard_connection(work: Awaitable[None]) -> None:
    """Serve one program so that a defect met on the way costs it its connection, and nobody else theirs."""
    try:
        await work
    except Exception:
        log.exception("connection_failed")


def _ignore(reason: str) -> None:
    """The supervisor's log line is all that is needed."""
