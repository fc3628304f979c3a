"""What a datagram says of its urgency: the differentiated services field of its IP header, one for each class.

Networks that know nothing of it carry it or clear it. Source: RFC 2474 (the field), RFC 4594 section 2.3 (which value
for what), RFC 3246 (expedited forwarding), RFC 8622 (lower effort).
"""

import socket
from collections.abc import Mapping

from edge_agent.core.bundle import Precedence

EXPEDITED, SIGNALLING, CONFERENCE, LOW_LATENCY_DATA, LOWER_EFFORT = 46, 40, 34, 18, 1
CODE_POINTS: Mapping[Precedence | None, int] = {
    Precedence.FLASH: EXPEDITED,
    Precedence.IMMEDIATE: SIGNALLING,
    None: SIGNALLING,
    Precedence.PRIORITY: CONFERENCE,
    Precedence.ROUTINE: LOW_LATENCY_DATA,
    Precedence.DEFERRED: LOWER_EFFORT,
}
"""EF, CS5, AF41, AF21 and LE. None: words between nodes, on which everything waits."""
_NOT_YET = -1


class Marks:
    """Marks what one socket sends from now on; the kernel is told where the class is another than before."""

    __slots__ = ("_code_point", "_last", "_levels", "_udp")

    def __init__(self, udp: socket.socket) -> None:
        self._udp = udp
        self._code_point = _NOT_YET
        self._last: Precedence | int | None = _NOT_YET
        levels = [(socket.IPPROTO_IP, socket.IP_TOS)]
        if udp.family == socket.AF_INET6:  # beside it the other one, for IPv4 peers with mapped addresses
            levels.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS))
        self._levels = levels

    def mark(self, precedence: Precedence | None) -> None:
        """What leaves now is of this class. A system that refuses leaves it unmarked."""
        if precedence is self._last:  # most: members of an enum are slow to look up
            return
        self._last, code_point = precedence, CODE_POINTS[precedence]
        if code_point == self._code_point:
            return
        self._code_point = code_point
        for level, option in self._levels:
            try:
                self._udp.setsockopt(level, option, code_point << 2)  # the lower two bits are congestion's, RFC 3168
            except OSError:  # of a socket that is closing, or that has no such field
                continue
