"""The demo's links: models of 4G, satellite and radio in real time, which script and test bench move."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise

from edge_agent.addresses import HostPort
from examples.demo.page import Json
from examples.demo.site import Site
from link_sim.link.model import Outage
from link_sim.profiles import profile
from link_sim.real_time.live import LiveLink
from link_sim.real_time.pty_proxy import PtyProxy
from link_sim.real_time.udp_proxy import UdpProxy

WORDS = {"4g": ("4G", "4G"), "vsat": ("卫星", "Satellite"), "radio": ("电台", "Radio")}
SLOW_RATIO = 0.1


@dataclass(slots=True)
class Knob:
    """One link and what was done to it; ``spans`` are (second, state) for the time line."""

    link: LiveLink
    rate_bps: int
    state: str = "restored"
    since_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    spans: list[tuple[float, str]] = field(default_factory=list)
    switch_s: float | None = None
    """After the last cut: how long until the kit's data arrived by another link, as the kit measured; None: not yet."""


class Bench:
    """All links of the first kit, and the healthy one of the second."""

    def __init__(self, site: Site) -> None:
        ports = site.udp_ports
        self._udp = {
            name: UdpProxy(
                name,
                profile(kind),
                listen=HostPort(host="127.0.0.1", port=ports[near]),
                upstream=HostPort(host="127.0.0.1", port=ports[far]),
            )
            for name, kind, near, far in (
                ("4g", "4g", "4g", "far-4g"),
                ("vsat", "vsat", "vsat", "far-vsat"),
                ("4g-2", "4g", "kit-2", "far-kit-2"),
            )
        }
        self._radio = PtyProxy("radio", profile("radio9600"))
        self.knobs = {
            "4g": Knob(self._udp["4g"].link, 10_000_000),
            "vsat": Knob(self._udp["vsat"].link, 512_000),
            "radio": Knob(self._radio.link, 7680),
        }
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Open all links."""
        for proxy in self._udp.values():
            await self._stack.enter_async_context(proxy)
        await self._stack.enter_async_context(self._radio)

    async def stop(self) -> None:
        """Close all links."""
        await self._stack.aclose()

    @property
    def radio_ports(self) -> tuple[str, str]:
        """Serial ports of the kit and of command."""
        return str(self._radio.a_path), str(self._radio.b_path)

    def do(self, name: str, action: str, at_s: float) -> None:
        """Cut, slow or restore one link. Raises KeyError for an unknown link or action."""
        knob = self.knobs[name]
        state = {"cut": "cut", "slow": "slow", "restore": "restored"}[action]
        if action == "cut":
            knob.link.cut(Outage.DROP, kills_in_flight=True)
            knob.switch_s = None
        else:
            knob.link.restore()
            if action == "slow":
                knob.link.slow(max(300, int(knob.rate_bps * SLOW_RATIO)))
        knob.state, knob.since_ms = state, time.time_ns() // 1_000_000
        knob.spans.append((at_s, state))

    def describe(self) -> dict[str, dict[str, object]]:
        """The links as the demo page shows them."""
        rows: dict[str, dict[str, object]] = {}
        for name, knob in self.knobs.items():
            rate_bps = {"cut": None, "slow": int(knob.rate_bps * SLOW_RATIO), "restored": knob.rate_bps}[knob.state]
            zh, en = WORDS[name]
            rows[name] = {"zh": zh, "en": en, "state": knob.state, "since_ms": knob.since_ms, "rate_bps": rate_bps}
            rows[name]["switch_s"] = knob.switch_s
        return rows

    def note_switches(self, kit: Json | None) -> None:
        """Take from the kit's page how long it needed to leave a link that was cut."""
        for row in kit["links"] if kit is not None else ():
            knob, switch = self.knobs.get(row["name"]), row["switch"]
            if knob is not None and switch is not None and knob.state == "cut" and switch["at_ms"] >= knob.since_ms:
                knob.switch_s = switch["took_s"]

    def switches(self) -> dict[str, float]:
        """Of each link that was left after its last cut, how long that took."""
        return {name: knob.switch_s for name, knob in self.knobs.items() if knob.switch_s is not None}

    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes of frames the kit gave to each link, and of those the link brought it, over restarts of the kit."""
        return {
            name: {
                "sent_bytes": knob.link.up.carried()["offered_bytes"],
                "received_bytes": knob.link.down.carried()["carried_bytes"],
            }
            for name, knob in self.knobs.items()
        }

    def timeline(self, end_s: float) -> list[dict[str, object]]:
        """What each link was, from second to second."""
        rows: list[dict[str, object]] = []
        for name, knob in self.knobs.items():
            changes = [(0.0, "restored"), *knob.spans, (end_s, "end")]
            spans = [
                {"from_s": round(at_s, 1), "to_s": round(until_s, 1), "state": "up" if state == "restored" else state}
                for (at_s, state), (until_s, _) in pairwise(changes)
                if until_s > at_s
            ]
            rows.append({"zh": WORDS[name][0], "en": WORDS[name][1], "spans": spans})
        return rows
