"""Scenarios: nodes, links, traffic, what happens when, and what must hold. Read from files by ``scenario_file``."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.core.bundle import FlowOrder, Precedence
from link_sim.profiles import PathProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioNode:
    """One node."""

    id: str
    role: str
    commit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioLink:
    """One link between two nodes; up is away from ``near``."""

    name: str
    near: str
    far: str
    path: PathProfile
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bundles that a node is given. ``every_s`` 0: one, at ``start_s``."""

    near: str
    to: str
    flow: str
    precedence: Precedence
    order: FlowOrder
    payload_bytes: int
    every_s: float
    start_s: float
    stop_s: float
    lifetime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens at ``at_s``, to links or to a node. Spans are 0 where they do not apply."""

    at_s: float
    links: tuple[str, ...]
    node: str
    direction: str
    outage_s: float
    holds: bool
    changes: Mapping[str, object]
    restores: bool
    crash_s: float
    unplug_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What must hold at the end."""

    kind: str
    flow: str
    within_s: float
    ratio: float
    link: str
    limit_bytes: int
    points: int

    @property
    def name(self) -> str:
        """What it is called in reports."""
        about = self.link or (self.flow if self.flow != "*" else "")
        return f"{self.kind} {about}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole scenario, checked."""

    name: str
    seed: int
    duration_s: float
    nodes: tuple[ScenarioNode, ...]
    links: tuple[ScenarioLink, ...]
    traffic: tuple[Traffic, ...]
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
