"""Headers that came before, kept unpacked: the bundles of a flow often have equal ones."""

from edge_agent.core.bundle import BundleHeader

HEADERS_KEPT = 64


class KnownHeaders:
    """Unpacks headers."""

    def __init__(self) -> None:
        self._headers: dict[bytes, BundleHeader] = {}

    def unpack(self, packed: bytes) -> BundleHeader:
        """The header; most are equal to one that came before. Raises MalformedError."""
        header = self._headers.get(packed)
        if header is None:
            if len(self._headers) >= HEADERS_KEPT:
                self._headers.clear()
            header = self._headers[packed] = BundleHeader.unpack(packed)
        return header
