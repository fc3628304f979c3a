"""Traces by name: those shipped with the package (origin and licence in traces/ATTRIBUTION.md), and files."""

from pathlib import Path

from link_sim.errors import ProfileError
from link_sim.traces.files import PathTrace, Way, read_trace
from link_sim.traces.trace import LinkTrace

_FOLDER = Path(__file__).parent / "traces"


def shipped_traces() -> tuple[str, ...]:
    """Names of the traces in the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.csv")))


def find_trace(name_or_file: str, *, way: Way | None = None, folder: Path | None = None) -> LinkTrace:
    """One direction of a trace. ``NAME#up`` or ``NAME#down`` takes that one, whatever ``way`` says.

    Without either, a trace that says the same of both directions is taken. Raises ProfileError.
    """
    text, mark, wish = name_or_file.rpartition("#")
    if mark and wish in ("up", "down"):
        way = Way(wish)
    else:
        text = name_or_file
    trace = _path_trace(text, folder)
    if way is not None:
        return trace.way(way)
    ways = [each for each in (trace.up, trace.down) if each is not None]
    if any(each != ways[0] for each in ways):
        raise ProfileError(f"says different things of up and down: allowed is {text}#up or {text}#down")
    return ways[0]


def _path_trace(text: str, folder: Path | None) -> PathTrace:
    if text in shipped_traces():
        return read_trace(_FOLDER / f"{text}.csv")
    path = Path(text)
    if not path.suffix:
        raise ProfileError(f"is not known: allowed is {', '.join(shipped_traces())}, or a file")
    return read_trace((folder or Path()) / path)
