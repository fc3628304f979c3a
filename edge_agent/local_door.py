"""What the local API may ask of a running agent, answered from its parts."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.accepted import AcceptedNews
from edge_agent.api_door import BundleUnknownError, Cancelled
from edge_agent.api_messages import Message
from edge_agent.audit import Audit
from edge_agent.carrying import Export, Import
from edge_agent.client import BundleState, Delivery
from edge_agent.config import Config
from edge_agent.core.bundle import COMMAND, BundleId, Origin
from edge_agent.core.errors import ActionError, RefusalReason, RefusedError
from edge_agent.core.progress import ENDS
from edge_agent.core.report import NodeReport
from edge_agent.deliveries import Deliveries
from edge_agent.device_port import DevicePort
from edge_agent.disk.store import Disk
from edge_agent.disk.types import Fate, FateState, StoreError, UnknownBundleError
from edge_agent.fates import FateWatch, state_of
from edge_agent.hand_in import HandIn
from edge_agent.kit_rows import row_id
from edge_agent.link_costs import add_costs
from edge_agent.link_port import LinkPort
from edge_agent.link_terms import ACTIONS, LinkTerms
from edge_agent.pages import DeskWatch
from edge_agent.runner import Runner
from edge_agent.security.secret_file import load_secret
from edge_agent.sender import BundleSender, SendTerms
from edge_agent.status import backlog_rows, clock_row, device_rows, drop_counts, link_rows
from edge_agent.telemetry.payloads import SOS_FLOW
from edge_agent.why import find_why, why_message
from edge_agent.why_words import Speaker


@dataclass(slots=True, kw_only=True)
class LocalDoor:
    """Implements ``api_door.ApiDoor``."""

    config: Config
    disk: Disk
    runner: Runner
    sender: BundleSender
    deliveries_: Deliveries
    links: Sequence[LinkPort]
    terms: LinkTerms
    devices: Sequence[DevicePort]
    now_s: Callable[[], float]
    started_s: float
    accepted_news: AcceptedNews
    audit: Audit
    lost_log_lines: Callable[[], int]
    fates: FateWatch = field(init=False)
    desks: DeskWatch = field(default_factory=DeskWatch)

    def __post_init__(self) -> None:
        self.fates = FateWatch(self.fate, self.disk.flush)

    async def send(self, payload: bytes, terms: SendTerms) -> BundleState:
        bundle = await self.sender.submit_as(terms, payload)
        now_ms = self.sender.now_ms()
        return BundleState(bundle=str(bundle), state="accepted", accepted_at_ms=now_ms, at_ms=now_ms)

    async def send_many(self, payloads: Sequence[bytes], terms: SendTerms) -> list[BundleId | RefusedError]:
        return await self.sender.submit_many(terms, payloads)

    async def hand_in(self, name: str, payload_bytes: int, terms: SendTerms) -> HandIn:
        precedence, _ = self.sender.check(terms)
        if terms.to == self.config.node_id or terms.to == self.config.role == COMMAND:
            raise RefusedError(RefusalReason.NO_ROUTE, f"destination {terms.to!r} is this node itself")
        staged = await self.disk.staging.open(name, payload_bytes, precedence, terms.origin)
        return HandIn(
            staging=self.disk.staging,
            sender=self.sender,
            terms=terms,
            payload_bytes=payload_bytes,
            staged=staged,
            offset=staged.offset,
        )

    async def read(self, bundle: BundleId, offset: int, length: int) -> bytes:
        try:
            return await self.disk.read_payload(bundle, offset, length)
        except UnknownBundleError as error:
            raise BundleUnknownError(str(error)) from error
        except StoreError as error:
            raise RefusedError(RefusalReason.STORE_FAILED, str(error)) from error

    async def state(self, bundle: BundleId) -> BundleState:
        return state_of(await self.fate(bundle))

    async def wait(self, bundle: BundleId, state: str) -> BundleState:
        return state_of(await self.fates.wait(bundle, state))

    async def fate(self, bundle: BundleId) -> Fate:
        """What the store knows of a bundle. Raises BundleUnknownError."""
        fate = await self.disk.fate(bundle)
        if fate is None:
            raise BundleUnknownError(f"bundle {bundle}: not known to this node (any more)")
        return fate

    async def why(self, bundle: BundleId, language: str) -> Message:
        fate = await self.fate(bundle)
        explanation = self.runner.explain(bundle, fate.header) if fate.state is FateState.ACCEPTED else None
        is_row_only = explanation is not None and not explanation.is_exact
        why = find_why(
            fate,
            state_of(fate),
            self.runner.report(),
            node_id=self.config.node_id,
            explanation=explanation,
            place=await self.disk.place(bundle) if is_row_only else None,
            reasons={port.link: port.lost_reason for port in self.links if port.lost_reason},
        )
        return why_message(why, Speaker(language=language, now_ms=self.sender.now_ms()).sentence(why))

    async def cancel(self, bundle: BundleId, by: str) -> Cancelled:
        async with self.audit.act("api", by, "cancel", {"bundle": str(bundle)}):
            return await self._cancel(bundle, by)

    async def _cancel(self, bundle: BundleId, by: str) -> Cancelled:
        fate = await self.fate(bundle)
        if fate.header.flow.split(".", 1)[0] == SOS_FLOW:
            raise ActionError("a call for help is withdrawn in its first 10 seconds, and then closed by command")
        if fate.state in ENDS:
            return Cancelled(state=state_of(fate), was_asked=False)
        is_order = self.config.role == COMMAND and await self._cancel_order(str(bundle), by)
        if not is_order and fate.state is FateState.ACCEPTED and self.runner.cancel(bundle):
            return Cancelled(state=state_of(await self.fates.wait(bundle, "forwarded")), was_asked=False)
        was_asked = is_order or await self._ask_to_cancel(fate)
        fate = await self.fate(bundle)
        return Cancelled(state=state_of(fate), was_asked=was_asked and fate.state not in ENDS)

    async def _cancel_order(self, bundle: str, by: str) -> bool:
        """Take back the order that a bundle is a copy of, every copy; False when it is of none."""
        desk = await self.desks.open()
        order = next((each for each in desk.orders() if bundle in each["bundles"].values()), None)
        if order is None:
            return False
        await desk.act("order/cancel", {"order": order["id"], "by": by or self.config.name}, self.sender.now_ms())
        return True

    async def _ask_to_cancel(self, fate: Fate) -> bool:
        """Have command told that a person's message is taken back; False for what nobody there would know."""
        if self.config.role == COMMAND or fate.header.origin is not Origin.PERSON:
            return False
        await (await self.desks.open()).act("cancel", {"id": row_id(fate)}, self.sender.now_ms())
        return True

    async def open_export(self, to: str) -> Export:
        await self.audit.note("api", "", "export", {"to": to})
        return Export(
            disk=self.disk,
            report=self.runner.report(),
            secret=load_secret(self.config.secret_file),
            now_s=self.now_s,
            now_ms=self.sender.now_ms,
            to=to,
        )

    async def open_import(self) -> Import:
        await self.audit.note("api", "", "import")
        secret = load_secret(self.config.secret_file)
        return Import(runner=self.runner, secret=secret, now_s=self.now_s, now_ms=self.sender.now_ms)

    async def act(self, action: str, body: Message) -> Message:
        async with self.audit.act("api", str(body.get("by", "")), action, body):
            return await self._act(action, body)

    async def _act(self, action: str, body: Message) -> Message:
        if action in ACTIONS and "unit" not in body:
            await self.terms.act(action, body)
            return {}
        return await (await self.desks.open()).act(action, body, self.sender.now_ms())

    async def orders(self) -> list[Message]:
        return (await self.desks.open()).orders()

    def status(self) -> Message:
        report: NodeReport = self.runner.report()
        store = self.disk.report()
        return {
            "node": self.config.node_id,
            "name": self.config.name,
            "number": self.config.number,
            "role": self.config.role,
            "uptime_s": self.now_s() - self.started_s,
            "profile": self.terms.profile.value,
            "links": add_costs(link_rows(report, self.links), self.terms, self.sender.now_ms()),
            "backlog": backlog_rows(report),
            "devices": device_rows(self.devices),
            "peers": {peer: {"heard_age_s": self.now_s() - at_s} for peer, at_s in report.last_heard_s.items()},
            "clock": clock_row(self.disk.ages.clock_state()),
            "store": {
                "quota_bytes": store.quota_bytes,
                "used_bytes": store.used_bytes,
                "free_bytes": store.free_bytes,
                "is_full": store.is_full,
                "was_copied": store.was_copied,
                "set_aside": None if store.set_aside is None else str(store.set_aside),
                "damage": store.damage,
                "failure": store.failure,
                "unreadable": store.unreadable,
            },
            "dropped": dict(drop_counts(report, self.links, self.runner.unsent_frames, self.lost_log_lines())),
        }

    def accepted(self) -> AsyncIterator[BundleId]:
        return self.accepted_news.follow()

    async def open_consumer(self, name: str | None, flow: str, since: str | None, after: int | None) -> str:
        return await self.deliveries_.open(name, flow, since, after)

    def deliveries(self, consumer: str, inline_bytes: int) -> AsyncIterator[Delivery]:
        return self.deliveries_.stream(consumer, inline_bytes)

    async def acknowledge(self, consumer: str, position: int) -> None:
        await self.deliveries_.acknowledge(consumer, position)

    async def close_consumer(self, consumer: str) -> None:
        await self.deliveries_.close(consumer)
