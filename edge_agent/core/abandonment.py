"""Word to the next node that the rest of a bundle will not come.

CONTROL [4, precedence, sequence], with source and incarnation behind them where the sender is not the source. The
receiver forgets the part it has, and nothing else: the number stays open, for fragments under way may follow.
"""

from edge_agent.core.blocks import SEQUENCE_MAX, Control
from edge_agent.core.bundle import NODE_ID_PATTERN, BundleId, MalformedError, Precedence
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Peer

ABANDON_KIND = 4


def abandonment(outgoing: Outgoing) -> Control:
    """The word on one bundle."""
    bundle = outgoing.record.id
    fields: list[object] = [ABANDON_KIND, int(bundle.precedence), bundle.sequence]
    if outgoing.source is not None:
        fields += [outgoing.source.node_id, outgoing.source.incarnation]
    return Control(fields)


def read_abandoned(peer: Peer, block: Control) -> BundleId:
    """Which bundle ``peer`` will not go on with. Raises MalformedError."""
    fields = block.fields
    if len(fields) not in (3, 5) or any(type(number) is not int for number in fields[:3]):
        raise MalformedError("abandoned: fields")
    _, precedence, sequence = fields[:3]
    source, incarnation = fields[3:] or (peer.node_id, peer.incarnation)
    is_source = isinstance(source, str) and NODE_ID_PATTERN.fullmatch(source) and type(incarnation) is int
    if precedence not in list(Precedence) or not 0 <= sequence <= SEQUENCE_MAX or not is_source:
        raise MalformedError("abandoned: a field is out of range")
    return BundleId(source, incarnation, Precedence(precedence), sequence)
