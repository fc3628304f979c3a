"""Link trial: a short dense world made from a seed, in which every kind of link fault falls at once, and a lie or two.

One or two kits with two to four links each to a command post; what is promised is judged as in a long trial. When all
faults are over, something of what waits must leave somebody all the time: a node that could send and does not stands
still.
"""

import random
from dataclasses import replace
from functools import partial

from edge_agent.core.bundle import COMMAND
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.judge.faults import USUAL_COMMIT_S
from link_sim.judge.link_faults import Weather, draw_link_fault
from link_sim.judge.open_keys import OpenKeys
from link_sim.judge.trial import (
    RADIO_LIMITS,
    SETTLE_S,
    URGENT,
    WINDOW_ENTRIES,
    Trial,
    drawn_profile,
)
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.profiles import profile

LINKS_SPAN_S = 60.0
LEAST_LINK_FAULTS, MOST_LINK_FAULTS = 20, 45
LINK_FAULTS_RATIO = 0.9
STILL_S = 30.0
"""So long nothing of any bundle leaves though some wait and every link is whole: it waits for nothing any more."""
LOOK_S = 5.0
LIAR_RATIO = 0.4
LARGEST_RATIO = 0.2
"""Of the links that a kit has besides its main one."""
_JUMPS_S = (-30.0, -1.0, -0.1, 0.02, 0.1, 1.0, 30.0)


class LinkTrial(Trial):
    """A trial of links; equal seeds and spans make equal worlds."""

    def _build(self, rng: random.Random) -> None:
        world, keys, memory, terms = self.world, OpenKeys(), self._stream("memory"), self._stream("terms")
        self._lines: set[tuple[str, str]] = set()
        world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys, commit_s=USUAL_COMMIT_S)
        self.kits = [f"kit-{number}" for number in range(1, rng.choice((2, 2, 3)))]
        for kit in self.kits:
            settings = NodeSettings(node_id=kit, window_entries=memory.choice(WINDOW_ENTRIES))
            world.add_node(settings, keys=keys, commit_s=USUAL_COMMIT_S)
            world.connect("main", kit, COMMAND, drawn_profile(rng, 100_000))  # it takes everything in the end
            self.links.append((kit, "main"))
            for number in range(rng.choice((1, 1, 2, 3))):
                link, is_line = f"side-{number}", rng.random() < 0.15
                world.connect(
                    link,
                    kit,
                    COMMAND,
                    profile("radio9600") if is_line else drawn_profile(rng, 20_000),
                    limits=RADIO_LIMITS if is_line else None,
                    policy=_with_terms(terms, _drawn_link_policy(rng)),
                    listener_link=f"{link}-{kit}",
                )
                self.links.append((kit, link))
                if is_line:
                    self._lines.add((kit, link))

    def _plan_faults(self, rng: random.Random) -> None:
        latest_s, weather = LINK_FAULTS_RATIO * self.span_s, Weather(self.world)
        for _ in range(rng.randint(LEAST_LINK_FAULTS, MOST_LINK_FAULTS)):
            node, link = rng.choice(self.links)
            fault = draw_link_fault(rng, node, link, latest_s, is_line=(node, link) in self._lines)
            weather.plan(fault)
            self.faults.append(fault)
        if rng.random() < 0.5:
            self._plan_restarts(rng, latest_s, most=2)
        if rng.random() < LIAR_RATIO:
            self._plan_lies(rng, latest_s)

    def _plan_lies(self, rng: random.Random, latest_s: float) -> None:
        """One node tells wrong times of what arrived there: its clock leaps, of all sessions at once."""
        liar = rng.choice([COMMAND, *self.kits])
        now_s = rng.uniform(1.0, 0.7 * latest_s)
        until_s = rng.uniform(now_s, latest_s)
        self.restarts.append(f"{now_s:.3f} to {until_s:.3f} s: {liar} lies about time")
        while now_s < until_s:
            self.world.at(now_s, partial(self._lie, liar, rng.choice(_JUMPS_S)))
            now_s += rng.uniform(0.1, 3.0)

    def _lie(self, liar: str, jump_s: float) -> None:
        node = self.world.node(liar) if self.world.is_running(liar) else None
        for contact in node.contacts.contacts if isinstance(node, Node) else ():
            if contact.session is not None:
                contact.session.space.started_s -= jump_s

    def _settle(self) -> None:
        """As in any trial, and somebody sends a piece of something all the while."""
        world, checker, end_s = self.world, self.checker, self.span_s
        pieces, since_s = checker.pieces, end_s
        while (waiting := world.ledger.waiting()) and end_s < self.span_s + SETTLE_S:
            end_s += LOOK_S
            world.run_until(end_s)
            if checker.pieces != pieces:
                pieces, since_s = checker.pieces, end_s
            elif end_s - since_s >= STILL_S and world.ledger.waiting():
                raise BrokenPromiseError(
                    f"seed {self.seed}, t {end_s:.9f} s: {len(waiting)} bundles wait, {waiting[0]} among them, and "
                    f"nothing has left any node for {end_s - since_s:g} s, though every link is whole"
                )


def _drawn_link_policy(rng: random.Random) -> LinkPolicy:
    """Free, or with a budget that is soon used up, or for urgent bundles only, or undescribed."""
    kind = rng.choice(("free", "free", "budget", "urgent", "undescribed"))
    if kind == "budget":
        return LinkPolicy(metered=True, bytes_per_day=rng.choice((3_000, 20_000, 100_000)))
    if kind == "urgent":
        return LinkPolicy(metered=False, precedences=URGENT)
    return LinkPolicy(metered=None if kind == "undescribed" else False)


def _with_terms(rng: random.Random, policy: LinkPolicy) -> LinkPolicy:
    """A budget may be that of the month, and small bundles may be all that a link takes."""
    if policy.bytes_per_day is not None and rng.random() < 0.5:
        policy = replace(policy, bytes_per_day=None, bytes_per_month=policy.bytes_per_day)
    if rng.random() < LARGEST_RATIO:
        policy = replace(policy, largest_bundle_bytes=rng.choice((300, 2_000, 20_000)))
    return policy
