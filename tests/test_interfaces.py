"""What the kernel tells of interfaces becomes names, carriers, addresses and default routes; nonsense none."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import interfaces
from edge_agent.interfaces import Interface, InterfaceWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")

STEPS = """
import select, subprocess
from edge_agent.interfaces import InterfaceWatch

def step(words):
    subprocess.run(["ip", *words.split()], check=True)
    fresh = InterfaceWatch()
    for _ in range(300):  # the kernel tells of carriers at most once a second
        watch.read()
        if watch.interfaces == fresh.interfaces:
            break
        select.select((watch.fileno(),), (), (), 0.01)
    fresh.close()
    m0 = watch.named("m0")
    print(words, "|", m0 and (m0.carries, sorted(m0.addresses), sorted(m0.default_routes)))

watch = InterfaceWatch()
step("link add m0 type veth peer name far0")
step("addr add 10.9.9.1/24 dev m0")
step("link set far0 up")
step("link set m0 up")
step("route add default via 10.9.9.2 dev m0")
step("link set far0 down")
step("addr add fd00:9::1/64 dev m0 nodad")
step("link set far0 up")
step("link set m0 down")
step("link del m0")
print(InterfaceWatch().interfaces == watch.interfaces)
"""
SEEN = """link add m0 type veth peer name far0 | (False, [], [])
addr add 10.9.9.1/24 dev m0 | (False, ['10.9.9.1'], [])
link set far0 up | (False, ['10.9.9.1'], [])
link set m0 up | (True, ['10.9.9.1'], [])
route add default via 10.9.9.2 dev m0 | (True, ['10.9.9.1'], [2])
link set far0 down | (False, ['10.9.9.1'], [2])
addr add fd00:9::1/64 dev m0 nodad | (False, ['10.9.9.1', 'fd00:9::1'], [2])
link set far0 up | (True, ['10.9.9.1', 'fd00:9::1'], [2])
link set m0 down | (False, ['10.9.9.1'], [])
link del m0 | None
True
"""


@pytest.mark.kernel
def test_each_change_is_seen_when_it_is_read(require: Callable[[str], Path]) -> None:
    require("root")
    require("ip")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", STEPS],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == SEEN, done.stderr


def test_the_loopback_interface_is_known() -> None:
    watch = InterfaceWatch()
    try:
        holder = watch.holder("127.0.0.1")
        assert holder is not None
        assert (holder.name, holder.is_loopback) == ("lo", True)
        assert watch.named("nosuch0") is None
        assert watch.holder("192.0.2.77") is None
    finally:
        watch.close()


@given(st.lists(st.tuples(st.sampled_from([16, 17, 20, 21, 24, 25, 2, 3, 99]), st.binary(max_size=64)), max_size=8))
def test_messages_of_any_content_are_taken_without_a_fault(told: list[tuple[int, bytes]]) -> None:
    watch = InterfaceWatch.__new__(InterfaceWatch)
    watch.interfaces = {1: Interface(1, "lo")}
    packed = b"".join(
        struct.pack("=IHHII", 16 + len(content), kind, 0, 0, 0) + content + bytes(-len(content) % 4)
        for kind, content in told
    )
    read = list(interfaces._messages(packed))
    assert read == told
    for kind, content in read:
        watch._take(kind, content)
