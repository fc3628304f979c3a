"""Plugins by entry point: from a word in the configuration to the class of a transport or driver."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from edge_agent.core.errors import EdgeAgentError
from edge_agent.ports import Driver, Transport

TRANSPORT_GROUP = "edge_agent.transports"
DRIVER_GROUP = "edge_agent.drivers"

PluginT = TypeVar("PluginT")


class PluginUnknownError(EdgeAgentError):
    """No installed plugin has this name, or it cannot be imported; the message says what is available."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """What is installed, by name; classes are imported only when a configuration uses them."""

    transports: Mapping[str, Callable[[], type[Transport]]] = field(default_factory=dict)
    drivers: Mapping[str, Callable[[], type[Driver]]] = field(default_factory=dict)

    def transport(self, name: str) -> type[Transport]:
        """The class of a transport. Raises PluginUnknownError."""
        return _load("transport", name, self.transports)

    def driver(self, kind: str) -> type[Driver]:
        """The class of a driver. Raises PluginUnknownError."""
        return _load("driver", kind, self.drivers)


def installed_plugins() -> Plugins:
    """Every transport and driver whose distribution is installed, the built-in ones among them."""
    from importlib.metadata import entry_points  # 15 ms that programs which only talk to an agent need not spend

    return Plugins(
        transports={point.name: point.load for point in entry_points(group=TRANSPORT_GROUP)},
        drivers={point.name: point.load for point in entry_points(group=DRIVER_GROUP)},
    )


def _load(what: str, name: str, loaders: Mapping[str, Callable[[], type[PluginT]]]) -> type[PluginT]:
    loader = loaders.get(name)
    if loader is None:
        available = ", ".join(sorted(loaders)) or "none is installed"
        raise PluginUnknownError(f"no {what} of this name is installed; available: {available}")
    try:
        return loader()
    except (ImportError, AttributeError) as error:  # a broken plugin must not keep the others from being checked
        raise PluginUnknownError(f"this {what} is installed but cannot be loaded: {error}") from error
