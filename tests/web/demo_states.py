"""States of the demo page, as the contract of docs/api.md gives them."""

from typing import Any

State = dict[str, Any]  # Any: JSON


def demo_running(now_ms: int, pages: dict[str, str]) -> State:
    """Step 4 of 9: only the radio is left, a picture is on its way, an SOS was raised."""
    return {
        "clock_ms": now_ms,
        "is_paused": False,
        "pages": pages,
        "step": {
            "n": 4,
            "of": 9,
            "zh": "只剩电台,图片在路上,求救",
            "en": "only the radio is left, a picture is on its way, SOS",
        },
        "tally": {
            "accepted": 1284,
            "delivered": 1274,
            "waiting": 4,
            "expired": 0,
            "superseded": 6,
            "lost": 0,
            "doubled": 0,
        },
        "links": {
            "4g": {
                "zh": "4G",
                "en": "4G",
                "state": "cut",
                "since_ms": now_ms - 50_000,
                "rate_bps": None,
                "switch_s": 0.836,
            },
            "vsat": {
                "zh": "卫星",
                "en": "Satellite",
                "state": "slow",
                "since_ms": now_ms - 29_000,
                "rate_bps": None,
                "switch_s": None,
            },
            "radio": {
                "zh": "电台",
                "en": "Radio",
                "state": "restored",
                "since_ms": now_ms - 90_000,
                "rate_bps": 9600,
                "switch_s": None,
            },
        },
        "arrivals": [
            {"n": 1, "zh": "求救", "en": "SOS", "is_pending": False},
            {"n": 2, "zh": "位置", "en": "Position", "is_pending": False},
            {"n": 3, "zh": "读数", "en": "Readings", "is_pending": False},
            {"n": 4, "zh": "图片", "en": "Picture", "is_pending": True},
        ],
        "proof": None,
    }


def _row(zh: str, en: str, run: str, required: str, holds: bool | None = True) -> State:
    return {
        "zh": zh,
        "en": en,
        "run": {"zh": run, "en": run},
        "required": {"zh": required, "en": required},
        "holds": holds,
    }


def _lane(zh: str, en: str, from_s: float, to_s: float) -> State:
    spans = [(0, from_s, "up"), (from_s, to_s, "cut"), (to_s, 90, "up")]
    return {"zh": zh, "en": en, "spans": [{"from_s": a, "to_s": b, "state": state} for a, b, state in spans]}


def demo_proved(now_ms: int, pages: dict[str, str]) -> State:
    """The last screen."""
    state = demo_running(now_ms, pages)
    state["step"]["n"] = 9
    state["tally"] |= {"accepted": 2418, "delivered": 2403, "waiting": 0, "superseded": 15}
    state["proof"] = {
        "sentence": {
            "zh": "三条链路先后断开。没有丢失,没有重复。",
            "en": "Three links failed one after another. Nothing lost, nothing doubled.",
        },
        "rows": [
            _row("凡已存入的都有下落", "Everything accepted is accounted for", "0 · 0", "0 · 0"),
            _row("只剩电台时的求救", "SOS while only the radio was left", "1.4 s", "<= 2 s"),
            _row("最长的静默", "Longest silence of the healthy unit", "3.4 s", "<= 3 s", holds=False),
            _row("抖动", "Jitter", "-", "<= 3 s", holds=None),
        ],
        "timeline": {
            "end_s": 90,
            "links": [_lane("4G", "4G", 18, 74), _lane("卫星", "Satellite", 30, 66), _lane("电台", "Radio", 44, 58)],
            "marks": [
                {"at_s": 36, "zh": "求救 0:36 → 1.4 s", "en": "SOS 0:36 → 1.4 s", "row": "top"},
                {"at_s": 50, "zh": "失联", "en": "lost contact", "row": "top"},
                {
                    "at_s": 58,
                    "zh": "1 紧急 → 2 最新 → 3 历史",
                    "en": "1 urgent → 2 newest → 3 history",
                    "row": "bottom",
                },
            ],
        },
        "command": "scripts/demo --headless --seconds 90 --json report.json",
        "report": "/demo/report.json",
        "items": None,
    }
    return state
