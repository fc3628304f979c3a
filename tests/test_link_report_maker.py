"""A link report for a page: made by a process of its own, one at a time, and never for ever."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent import link_report_maker
from edge_agent.core.errors import ActionError
from edge_agent.link_report_maker import ASKED_AT_ONCE, report_maker
from edge_agent.link_report_rows import StatedLink
from edge_agent.link_seconds_files import FOLDER, days_of
from edge_agent.web.report import ReportMaker

LINKS = [StatedLink("4g", "udp", "cellular"), StatedLink("<radio>", "serial_radio", "")]


def maker(folder: Path) -> ReportMaker:
    config: Any = SimpleNamespace(data_dir=folder, node_id="kit-1")  # Any: stands where a Config stands
    return report_maker(config, lambda: LINKS)


async def test_the_page_names_every_link_and_leads_to_other_days(tmp_path: Path) -> None:
    page = await maker(tmp_path)("2026-11-19")
    assert "Link report 链路报告 · kit-1 · 2026-11-19" in page.html
    assert "&lt;radio&gt;" in page.html
    assert "<radio>" not in page.html
    assert f"<style>{page.style}</style>" in page.html


async def test_days_with_seconds_are_offered(tmp_path: Path) -> None:
    place = tmp_path / FOLDER / "4g" / "command"
    place.mkdir(parents=True)
    (place / "2026-11-20.csv").write_text("")
    assert list(days_of(tmp_path / FOLDER)) == ["2026-11-20"]
    page = await maker(tmp_path)("2026-11-19")
    assert '<a href="/report/2026-11-20">2026-11-20</a>' in page.html


async def test_a_report_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="could not be made: ValueError"):
        await maker(tmp_path)("2026-02-30")


async def test_a_report_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_report_maker, "REPORT_LONGEST_S", 0.01)
    with pytest.raises(ActionError, match=r"not made within 0\.01 s"):
        await maker(tmp_path)("")


async def test_only_some_wait_and_one_is_made_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    started = asyncio.create_subprocess_exec

    async def count(*args: Any, **more: Any) -> asyncio.subprocess.Process:  # Any: what asyncio's own takes
        nonlocal running, most
        running += 1
        most = max(most, running)
        process = await started(*args, **more)
        communicate = process.communicate

        async def end(asked: bytes | None = None) -> tuple[bytes, bytes]:
            nonlocal running
            told = await communicate(asked)
            running -= 1
            return told

        process.communicate = end  # type: ignore[method-assign]  # to see its end
        return process

    monkeypatch.setattr(link_report_maker.asyncio, "create_subprocess_exec", count)
    make = maker(tmp_path)
    told = await asyncio.gather(*(make("") for _ in range(ASKED_AT_ONCE + 2)), return_exceptions=True)
    refused = [each for each in told if isinstance(each, ActionError)]
    assert len(refused) == 2
    assert "ask again in a moment" in str(refused[0])
    assert most == 1
