"""Links in real time for tests: proxies on free ports of this machine, and whether any of them was late."""

from typing import TYPE_CHECKING

from edge_agent.addresses import HostPort
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile
from link_sim.profiles import profile as named_profile
from link_sim.real_time.live import LiveLink
from link_sim.real_time.tcp_proxy import TcpProxy
from link_sim.real_time.udp_proxy import UdpProxy
from link_sim.virtual.segments import HEADER_BYTES

if TYPE_CHECKING:
    from link_sim.evidence.recorder import Recorder
    from link_sim.real_time.pty_proxy import PtyProxy

LOCAL = HostPort(host="127.0.0.1", port=0)


class LiveLinks:
    """Makes proxies; ``async with`` starts and ends each. Profiles by name, for both ways, or for one and the other.

    ``recorder`` is told of all that they do.
    """

    def __init__(self, seed: int, recorder: "Recorder | None" = None) -> None:
        self.seed = seed
        self._recorder = recorder
        self._links: list[LiveLink] = []

    def udp(self, profile: str | LinkProfile | PathProfile, *, to: tuple[str, int]) -> UdpProxy:
        """A UDP link to a program that listens at ``to``; send to its ``address``. Raises ProfileError."""
        made = UdpProxy(*self._named(profile), listen=LOCAL, upstream=_host_port(to), seed=self.seed)
        self._add(made.link)
        return made

    def tcp(self, profile: str | LinkProfile | PathProfile, *, to: tuple[str, int]) -> TcpProxy:
        """A TCP link to a program that listens at ``to``; connect to its ``address``. Raises ProfileError."""
        made = TcpProxy(*self._named(profile), listen=LOCAL, upstream=_host_port(to), seed=self.seed)
        self._add(made.link, header_bytes=HEADER_BYTES)
        return made

    def pty(self, profile: str | LinkProfile | PathProfile = "radio9600") -> "PtyProxy":
        """A serial line between ``a_path`` and ``b_path``. POSIX only. Raises ProfileError."""
        from link_sim.real_time.pty_proxy import PtyProxy  # not on Windows, where the others work

        made = PtyProxy(*self._named(profile), seed=self.seed)
        self._add(made.link)
        return made

    def _add(self, link: LiveLink, *, header_bytes: int = 0) -> None:
        self._links.append(link)
        if self._recorder is not None:
            self._recorder.watch_live(link, header_bytes=header_bytes)

    def _named(self, profile: str | LinkProfile | PathProfile) -> tuple[str, PathProfile]:
        path = named_profile(profile) if isinstance(profile, str) else profile
        if isinstance(path, LinkProfile):
            path = PathProfile(name="link", up=path, down=path)
        name = f"{path.name}-{len(self._links)}" if self._links else path.name
        return name, path

    def late(self) -> str:
        """What the links say against themselves: which were served too late to mean anything; empty when none."""
        return "; ".join(f"{link.name}: {each}" for link in self._links for each in link.complaints())


def _host_port(address: tuple[str, int]) -> HostPort:
    return HostPort(host=address[0], port=address[1])
