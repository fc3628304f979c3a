"""Flows: how bundles of one name are ordered, how urgent they are and how long they live."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edge_agent.core.bundle import FlowOrder, Precedence

DAY_S = 86_400.0
PROFILE_LIFETIME_S = 3_600.0  # whoever is at the kit may have chosen another one since
REPORT_LIFETIME_S = 600.0  # an older word on links and backlog would only mislead


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRule:
    """What holds for flows whose name matches ``pattern`` (a shell glob). None: what the built-in rule says.

    ``protected`` flows below IMMEDIATE hold 30 % of each link where IMMEDIATE would take all; bundles of one frame
    leave on two links at once (``core.copies`` says where).
    """

    pattern: str
    order: FlowOrder | None = None
    precedence: Precedence | None = None
    lifetime_s: float | None = None
    protected: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTerms:
    """What holds for one flow."""

    order: FlowOrder
    precedence: Precedence
    lifetime_s: float
    protected: bool


def built_in_rules() -> tuple[FlowRule, ...]:
    """The table of DESIGN section 4 (scheduler, defaults); the first match counts."""
    fifo, newest, latest = FlowOrder.FIFO, FlowOrder.NEWEST, FlowOrder.LATEST
    return (
        _rule("sos", fifo, Precedence.FLASH, DAY_S),
        _rule("sos.*", fifo, Precedence.FLASH, DAY_S),
        _rule("alarm*", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("withdraw", fifo, Precedence.FLASH, DAY_S),
        _rule("order*", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("cancel", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("pull", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("profile", latest, Precedence.IMMEDIATE, PROFILE_LIFETIME_S),
        _rule("text*", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("read", fifo, Precedence.IMMEDIATE, DAY_S),
        _rule("position*", newest, Precedence.PRIORITY, DAY_S, protected=True),
        _rule("report", latest, Precedence.PRIORITY, REPORT_LIFETIME_S, protected=True),
        _rule("reading*", fifo, Precedence.ROUTINE, DAY_S),
        _rule("picture*", fifo, Precedence.ROUTINE, DAY_S),
        _rule("receipt", fifo, Precedence.ROUTINE, DAY_S),
        _rule("history*", fifo, Precedence.DEFERRED, 7 * DAY_S),
        _rule("*", fifo, Precedence.ROUTINE, DAY_S),
    )


def _rule(
    pattern: str, order: FlowOrder, precedence: Precedence, lifetime_s: float, *, protected: bool = False
) -> FlowRule:
    return FlowRule(pattern=pattern, order=order, precedence=precedence, lifetime_s=lifetime_s, protected=protected)


class FlowTable:
    """The configured rules over the built-in ones; in each list the first match counts."""

    def __init__(self, rules: Sequence[FlowRule] = ()) -> None:
        self._rules = tuple(rules)
        self._built_in = built_in_rules()
        self._known: dict[str, FlowTerms] = {}

    def terms(self, flow: str) -> FlowTerms:
        """What holds for ``flow``: the configured rule, and what it leaves open from the built-in one."""
        terms = self._known.get(flow)
        if terms is None:
            terms = self._work_out(flow)
            if len(self._known) < 4096:  # names may come from outside; beyond this they are worked out again
                self._known[flow] = terms
        return terms

    def _work_out(self, flow: str) -> FlowTerms:
        base = next(rule for rule in self._built_in if fnmatchcase(flow, rule.pattern))
        own = next((rule for rule in self._rules if fnmatchcase(flow, rule.pattern)), base)
        order = own.order or base.order
        precedence = base.precedence if own.precedence is None else own.precedence
        lifetime_s = base.lifetime_s if own.lifetime_s is None else own.lifetime_s
        protected = base.protected if own.protected is None else own.protected
        assert order is not None  # built-in rules are complete, here and below
        assert precedence is not None
        assert lifetime_s is not None
        return FlowTerms(order=order, precedence=precedence, lifetime_s=lifetime_s, protected=bool(protected))
