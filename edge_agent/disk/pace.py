"""Pace: how fast the disk really syncs, and how many bytes may therefore go into one transaction.

A FLASH waits for the transaction under way. On a disk that syncs 100 MB/s four megabytes are 40 ms; on a worn card of
1 MB/s they would be four seconds. So a group, or a step of a file, is what the disk syncs in 25 ms.
"""

from dataclasses import dataclass

STEP_SPAN_S = 0.025
STEP_LEAST_BYTES = 16 << 10  # less would make a large file cost a sync for each page
STEP_MOST_BYTES = 4 << 20  # beyond it a commit is already as cheap as it gets
FILE_STEP_MOST_BYTES = 1 << 20
FIRST_BYTES_S = 50e6  # taken until the disk was seen at work: an ordinary SSD, so that the first sample counts
SAMPLE_LEAST_BYTES = 32 << 10  # of fewer bytes the time tells the latency of a sync, not the rate
LATENCY_FORGET = 1.02  # a sync's shortest time seen rises by so much with each sample: disks wear and get busy
BASE_SHARE_MAX = 0.75  # of a sample's time that may be called latency: the rest is what its bytes took
SMOOTHING = 0.25


@dataclass(slots=True)
class Pace:
    """What the syncs so far say. Used by the writer's thread; others read ``bytes_s`` as one number."""

    bytes_s: float = FIRST_BYTES_S
    """Payload bytes that the disk makes durable in a second."""
    is_known: bool = False
    _latency_s: float = 1.0

    @property
    def step_bytes(self) -> int:
        """Payload bytes of one transaction."""
        return self._clamp(STEP_MOST_BYTES)

    @property
    def file_step_bytes(self) -> int:
        """Bytes of files moved between two transactions."""
        return self._clamp(FILE_STEP_MOST_BYTES)

    def _clamp(self, most_bytes: int) -> int:
        return max(STEP_LEAST_BYTES, min(most_bytes, int(self.bytes_s * STEP_SPAN_S)))

    def note(self, synced_bytes: int, took_s: float) -> None:
        """A sync of ``synced_bytes`` (payload) took so long, from the first write on."""
        self._latency_s = min(self._latency_s * LATENCY_FORGET, max(took_s, 1e-6))
        if synced_bytes < SAMPLE_LEAST_BYTES:
            return
        moving_s = max(took_s - self._latency_s, took_s * (1 - BASE_SHARE_MAX), 1e-6)
        seen_bytes_s = synced_bytes / moving_s
        if not self.is_known:
            self.is_known, self.bytes_s = True, seen_bytes_s
        else:  # of times, not of rates: one fast sync out of a cache must not hide ten slow ones
            self.bytes_s = 1 / ((1 - SMOOTHING) / self.bytes_s + SMOOTHING / seen_bytes_s)
