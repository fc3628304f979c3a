"""Makers of outgoing bundles and sent frames for the tests beside this file."""

from edge_agent.core.arq import Arq, Piece, SentFrame
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, FlowOrder, Origin, Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.queue import Queue
from edge_agent.core.scheduler import Scheduler


def outgoing(
    sequence: int = 0,
    length: int = 1000,
    precedence: Precedence = Precedence.ROUTINE,
    *,
    flow: str = "text",
    origin: Origin = Origin.MACHINE,
    source: str = "kit-1",
) -> Outgoing:
    """A bundle in custody of which nothing has left."""
    header = BundleHeader(destination=COMMAND, flow=flow, origin=origin)
    bundle = BundleId(source, 1, precedence, sequence)
    record = BundleRecord(id=bundle, header=header, payload_bytes=length, as_of_s=0.0)
    return Outgoing(record, header.pack(), None)


def queued(scheduler: Scheduler, bundle: Outgoing, order: FlowOrder = FlowOrder.FIFO) -> Queue:
    """The queue that the bundle waits in from now on."""
    record = bundle.record
    key = QueueKey(record.header.destination, record.id.precedence, record.id.source, record.header.flow)
    queue = scheduler.queue(key, order, record.header.origin)
    queue.put(bundle)
    scheduler.wake(queue)
    return queue


def sent(arq: Arq, at_s: float, *pieces: Piece, wire_bytes: int = 100) -> SentFrame:
    """The next frame of a session leaves."""
    number = arq.next_number
    arq.next_number += 1
    arq.sent_bytes_total += wire_bytes
    frame = SentFrame(number, at_s, wire_bytes, arq.sent_bytes_total, False, pieces, (), False)
    arq.record(frame)
    return frame
