"""A WebRTC pair behind congested 4G: two aiortc peers talk, and every candidate of one is a proxy for the other.

The peers find each other by ICE alone, so both candidates must lead through a link: a peer that learns the other's true
address goes around it. The test counts what the links carried, and that nobody fell silent.
"""

import asyncio
import contextlib
import re
import time
from contextlib import AsyncExitStack

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from examples.bad_links.worse import worse
from link_sim.assertions import assert_gap_below
from link_sim.profiles import PathProfile
from link_sim.real_time.live_links import LiveLinks
from link_sim.real_time.udp_proxy import UdpProxy

CELL = "4g-congested"  # 25 ms and a long tail each way, 1 % loss
TALK_S = 4.0
FRAME_S = 0.02  # of sound
CONNECT_S = 8.0
_CANDIDATE = re.compile(r"a=candidate:(\S+ \d udp \d+) (\S+) (\d+) typ host.*\r\n", re.IGNORECASE)

pytestmark = pytest.mark.slow


class Call:
    """Two peers, and the links between them."""

    def __init__(self, links: LiveLinks, profile: PathProfile) -> None:
        self._links = links
        self._profile = profile
        self.proxies: list[UdpProxy] = []
        self.caller, self.callee = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))

    async def behind_links(self, said: RTCSessionDescription, stack: AsyncExitStack) -> RTCSessionDescription:
        """The description with a proxy for each IPv4 candidate, and without the others."""
        sdp = said.sdp
        for found in list(_CANDIDATE.finditer(said.sdp)):
            kind, host, port = found.groups()
            line = ""
            if ":" not in host:
                proxy = await stack.enter_async_context(self._links.udp(self._profile, to=(host, int(port))))
                self.proxies.append(proxy)
                line = f"a=candidate:{kind} {proxy.address.host} {proxy.address.port} typ host\r\n"
            sdp = sdp.replace(found.group(), line)
        assert self.proxies, "a machine with no address but 127.0.0.1 has no candidates"
        return RTCSessionDescription(sdp=sdp, type=said.type)

    async def connect(self, stack: AsyncExitStack) -> None:
        """Offer, answer, ICE and DTLS. Raises TimeoutError."""
        connected = asyncio.Event()

        @self.caller.on("connectionstatechange")
        def changed() -> None:
            if self.caller.connectionState == "connected":
                connected.set()

        self.caller.addTrack(AudioStreamTrack())
        self.callee.addTransceiver("audio", direction="recvonly")
        await self.caller.setLocalDescription(await self.caller.createOffer())
        await self.callee.setRemoteDescription(await self.behind_links(self.caller.localDescription, stack))
        await self.callee.setLocalDescription(await self.callee.createAnswer())
        await self.caller.setRemoteDescription(await self.behind_links(self.callee.localDescription, stack))
        async with asyncio.timeout(CONNECT_S):
            await connected.wait()

    async def close(self) -> None:
        """End the call at both ends."""
        await self.caller.close()
        await self.callee.close()

    def carried_frames(self) -> int:
        """How many datagrams the links carried, both ways."""
        lines = (line for proxy in self.proxies for line in (proxy.link.up, proxy.link.down))
        return sum(line.line.model.counts()["delivered"] for line in lines)


async def hear(track: MediaStreamTrack) -> list[float]:
    """When each frame of sound came, while they talk."""
    arrived_s: list[float] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TALK_S):
            while True:
                await track.recv()
                arrived_s.append(time.monotonic())
    return arrived_s


@pytest.mark.parametrize(
    "times",
    [
        1,
        pytest.param(
            10,
            marks=pytest.mark.xfail(raises=(AssertionError, TimeoutError), strict=True, reason="ten times worse"),
        ),
    ],
)
async def test_nobody_falls_silent_for_half_a_second(link: LiveLinks, times: int) -> None:
    call = Call(link, worse(CELL, times))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(call.close)
        await call.connect(stack)
        started_s = time.monotonic()
        arrived_s = await hear(call.callee.getReceivers()[0].track)
        assert_gap_below(arrived_s, 0.5, start_s=started_s, end_s=started_s + TALK_S)
        assert len(arrived_s) > 0.8 * TALK_S / FRAME_S
        assert call.carried_frames() >= len(arrived_s), "the sound went around the links"
