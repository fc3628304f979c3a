"""What links cost, as status, pages and reports show it: spent, left, and until when it lasts at this rate."""

from collections.abc import Sequence
from typing import Any

from edge_agent.core.budgets import RECEIVED, WORDS
from edge_agent.core.bundle import Precedence
from edge_agent.link_terms import LinkTerms

Json = dict[str, Any]  # Any: JSON


def add_costs(rows: Sequence[Json], terms: LinkTerms, now_ms: int) -> list[Json]:
    """Rows of links, each with its terms and what it has cost."""
    terms.count()
    named = [(row, str(row["name"])) for row in rows]
    return [{**row, **terms_row(terms, name), "spending": spending_row(terms, name, now_ms)} for row, name in named]


def terms_row(terms: LinkTerms, link: str) -> Json:
    """How a link may be used now. ``tariff``: what a person said of one whose cost is asked for, or null."""
    policy, tariff = terms.policy(link), terms.tariff(link)
    return {
        "metered": policy.metered,
        "standby": policy.standby.name.lower(),
        "asks_cost": terms.is_open(link),
        "tariff": None if tariff is None else tariff.value,
        "held_back": policy.held_why,
    }


def spending_row(terms: LinkTerms, link: str, now_ms: int) -> Json:
    """Wire bytes of the running day and month, both directions; null for what has no bound or is not known."""
    ledger, policy = terms.ledgers[link], terms.policy(link)
    day_left = _left(policy.day_budget_bytes, ledger.day_bytes)
    month_left = _left(policy.bytes_per_month, ledger.month_bytes)
    lefts = [left for left in (day_left, month_left) if left is not None]
    left = min(lefts, default=None)
    until_ms = _until_ms(terms, link, now_ms)
    return {
        "day_bytes": ledger.day_bytes,
        "day_budget_bytes": policy.day_budget_bytes,
        "day_left_bytes": day_left,
        "month_bytes": ledger.month_bytes,
        "month_budget_bytes": policy.bytes_per_month,
        "month_left_bytes": month_left,
        "is_spent": left == 0,
        "until_ms": until_ms,
        "day_cost": ledger.day_bytes / 1e6 * policy.cost_per_mb,
        "month_cost": ledger.month_bytes / 1e6 * policy.cost_per_mb,
        "classes": {
            precedence.name.lower(): {
                "day_bytes": ledger.day[precedence],
                "month_bytes": ledger.month[precedence],
                "left_bytes": None if precedence in policy.lifted else left,
                "until_ms": None if precedence in policy.lifted else until_ms,
            }
            for precedence in Precedence
        },
        "words": {"day_bytes": ledger.day[WORDS], "month_bytes": ledger.month[WORDS]},
        "received": {"day_bytes": ledger.day[RECEIVED], "month_bytes": ledger.month[RECEIVED]},
    }


def report_rows(terms: LinkTerms, now_ms: int) -> list[list[Any]]:  # Any: the types of a UnitReport's row
    """[link, day bytes, budget of the day, month bytes, budget of the month, lasts until], of links that cost."""
    terms.count()
    rows = []
    for link in terms.ledgers:
        policy, ledger = terms.policy(link), terms.ledgers[link]
        if policy.metered is False and policy.day_budget_bytes is None and policy.bytes_per_month is None:
            continue
        until_ms = _until_ms(terms, link, now_ms)
        budgets = (policy.day_budget_bytes, policy.bytes_per_month)
        rows.append([link, ledger.day_bytes, budgets[0], ledger.month_bytes, budgets[1], until_ms])
    return rows


def _left(budget_bytes: int | None, spent_bytes: int) -> int | None:
    return None if budget_bytes is None else max(0, budget_bytes - spent_bytes)


def _until_ms(terms: LinkTerms, link: str, now_ms: int) -> int | None:
    """When at the rate of late a budget is used up before its period ends; None: it lasts, or nobody knows."""
    ledger, policy = terms.ledgers[link], terms.policy(link)
    rate_bytes_s = ledger.rate_bytes_s(terms.now_s())
    if not rate_bytes_s:
        return None
    spans_s = []
    periods = zip(
        (policy.day_budget_bytes, policy.bytes_per_month),
        (ledger.day_bytes, ledger.month_bytes),
        terms.ends_in_s(),
        strict=True,
    )
    for budget_bytes, spent_bytes, ends_in_s in periods:
        left = _left(budget_bytes, spent_bytes)
        if left and left / rate_bytes_s < ends_in_s:
            spans_s.append(left / rate_bytes_s)
    return now_ms + round(min(spans_s) * 1000) if spans_s else None
