"""Named links: each number with its source, each profile with the statistics it has.

They stand in named/*.toml. One profile is a table: ``about``; numbers of LinkProfile in ``both``, ``up``, ``down``;
``varied`` inside a direction makes a rate schedule (varied.varied_schedule); ``source`` gives the origin of each
number, by its name or as "up.NAME"; ``reproduces`` states the statistics that a test measures over the link model;
``same_as`` is another name for the whole.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles.path import PathProfile
from link_sim.profiles.tables import profile_from
from link_sim.profiles.varied import varied_schedule
from link_sim.traces.files import Way

_FOLDER = Path(__file__).parent / "named"
_DIRECTIONS = ("both", "up", "down")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCard:
    """What is known of a named profile. ``sources`` and ``reproduces`` are by direction: "both", "up" or "down"."""

    about: str
    numbers: Mapping[str, Mapping[str, Any]]  # Any: values of LinkProfile, by direction
    sources: Mapping[str, Mapping[str, str]]
    reproduces: Mapping[str, Mapping[str, Any]]  # Any: numbers, and the list of an outage


class Catalogue(Mapping[str, PathProfile]):
    """The named profiles. Each is made when it is asked for, and then kept."""

    def __getitem__(self, name: str) -> PathProfile:
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_tables())

    def __len__(self) -> int:
        return len(_tables())

    def __contains__(self, name: object) -> bool:
        return name in _tables()


NAMED = Catalogue()


@cache
def _tables() -> Mapping[str, Mapping[str, Any]]:  # Any: TOML
    tables: dict[str, Mapping[str, Any]] = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        tables |= tomllib.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType(tables)


def card(name: str) -> ProfileCard:
    """Numbers, sources and stated statistics of a named profile. Raises KeyError."""
    table = _tables()[name]
    if "same_as" in table:
        return card(table["same_as"])
    sources: dict[str, dict[str, str]] = {each: {} for each in _DIRECTIONS}
    for key, text in table.get("source", {}).items():
        direction, _, number = key.rpartition(".")
        sources[direction or "both"][number] = text
    return ProfileCard(
        about=table["about"],
        numbers={each: table.get(each, {}) for each in _DIRECTIONS},
        sources=sources,
        reproduces=table.get("reproduces", {}),
    )


@cache
def _made(name: str) -> PathProfile:
    found = card(name)
    return PathProfile(name=name, up=_direction(name, found, Way.UP), down=_direction(name, found, Way.DOWN))


def _direction(name: str, found: ProfileCard, way: Way) -> LinkProfile:
    table = {**found.numbers["both"], **found.numbers[way.value]}
    varied = table.pop("varied", None)
    if varied is not None:
        table["rate_schedule"] = varied_schedule(f"{name} {way.value}", **varied)
        table["schedule_period_s"] = varied["period_s"]
    return profile_from(f"profile {name} [{way.value}]", table, way=way)


def profile(name_or_file: str) -> PathProfile:
    """A named profile, or one from a TOML file. Raises ProfileError naming what is wrong and what is allowed."""
    if name_or_file in NAMED:
        return NAMED[name_or_file]
    path = Path(name_or_file)
    if path.suffix == ".toml":
        return _from_file(path)
    raise ProfileError(f"profile {name_or_file!r}: allowed is {', '.join(NAMED)} or a file *.toml")


def _from_file(path: Path) -> PathProfile:
    """Keys of LinkProfile, in ``[up]`` and ``[down]``, or at the top for both directions; traces lie beside it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    ways = {way: table.pop(way.value, {}) for way in Way}
    for way, part in ways.items():
        if not isinstance(part, dict):
            raise ProfileError(f"profile {path}: {way.value} {part!r}: allowed is a table [{way.value}]")
    directions = {
        way: profile_from(f"{path} [{way.value}]", {**table, **part}, way=way, folder=path.parent)
        for way, part in ways.items()
    }
    return PathProfile(name=path.stem, up=directions[Way.UP], down=directions[Way.DOWN])
