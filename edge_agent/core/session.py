"""One session of one contact: two salts, two keys, one number space each way.

Both sides draw a fresh salt for every session, so a (key, number) pair cannot come twice, whatever crashes. The
initiator's first frames (HELLO) go under a key of its own salt alone; after the answer everything is under both.
Numbers count on across that change: each key still sees each number once.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.core.arq import Arq
from edge_agent.core.brief import ProfileReader, ProfileWriter
from edge_agent.core.fec import Decoder
from edge_agent.core.frame import Direction, FrameCipher, LinkKeys, SessionSalts
from edge_agent.core.peer_clock import PeerClock
from edge_agent.core.receive_space import ReceiveSpace

if TYPE_CHECKING:
    from edge_agent.core.repairs import Repairs


@dataclass(slots=True, eq=False)
class Session:
    """Keys and numbers of two nodes over one link. ``receive_id`` is ours, ``peer_receive_id`` goes on the wire."""

    direction: Direction
    own_salt: bytes
    receive_id: int
    seal: FrameCipher
    started_s: float
    suite: int
    epoch: int
    arq: Arq = field(default_factory=Arq)
    space: ReceiveSpace = field(init=False)
    peer_clock: PeerClock = field(default_factory=PeerClock)
    profiles_sent: ProfileWriter = field(default_factory=ProfileWriter)
    profiles_read: ProfileReader = field(default_factory=ProfileReader)
    repairs: "Repairs | None" = None
    """Made for the first live bundle that leaves by it."""
    live_blocks: Decoder | None = None
    """Made for the first live block that a repair may be about."""
    open: FrameCipher | None = None
    is_keyed: bool = False
    """Whether both salts are known here: ``open`` is there."""
    early_open: FrameCipher | None = None
    peer_salt: bytes = b""
    peer_receive_id: int = 0
    peer_node_id: str = ""
    """Who introduced itself in this session; nobody else may."""
    is_early_trusted: bool | None = None
    """Whether early data of this session is acted on at once; None before its first frame."""
    is_proven: bool = False
    """The peer has shown that it holds both salts: nothing in this session can be a recording."""

    def __post_init__(self) -> None:
        self.space = ReceiveSpace(self.started_s)


def open_session(keys: LinkKeys, salt: bytes, receive_id: int, now_s: float) -> Session:
    """A session that this side begins; it can send HELLO frames at once."""
    seal = keys.early(salt, keys.suite, keys.epoch)
    assert seal is not None, "a node knows its own suite and epoch"
    return Session(
        direction=Direction.INITIATOR,
        own_salt=salt,
        receive_id=receive_id,
        seal=seal,
        started_s=now_s,
        suite=keys.suite,
        epoch=keys.epoch,
    )


def key_initiator(session: Session, keys: LinkKeys, peer_salt: bytes, suite: int) -> FrameCipher | None:
    """The cipher that opens the answer to our HELLO; the session is not changed before something opened."""
    salts = SessionSalts(initiator=session.own_salt, responder=peer_salt)
    return keys.traffic(salts, Direction.RESPONDER, suite, session.epoch)


def settle_initiator(session: Session, keys: LinkKeys, peer_salt: bytes, opener: FrameCipher, suite: int) -> None:
    """The answer was authentic: from now on everything goes under both salts, by the suite that the answer chose."""
    salts = SessionSalts(initiator=session.own_salt, responder=peer_salt)
    seal = keys.traffic(salts, Direction.INITIATOR, suite, session.epoch)
    assert seal is not None, "the other direction of the same suite and epoch opened"
    session.peer_salt, session.open, session.seal, session.is_proven = peer_salt, opener, seal, True
    session.is_keyed, session.suite = True, suite


def answer_session(
    keys: LinkKeys,
    early: FrameCipher,
    peer_salt: bytes,
    own_salt: bytes,
    receive_id: int,
    now_s: float,
    suite: int,
    epoch: int,
) -> Session | None:
    """The session that answers a HELLO; None for a suite or epoch that ``keys`` do not know."""
    salts = SessionSalts(initiator=peer_salt, responder=own_salt)
    seal = keys.traffic(salts, Direction.RESPONDER, suite, epoch)
    opener = keys.traffic(salts, Direction.INITIATOR, suite, epoch)
    if seal is None or opener is None:
        return None
    session = Session(
        direction=Direction.RESPONDER,
        own_salt=own_salt,
        receive_id=receive_id,
        seal=seal,
        started_s=now_s,
        suite=suite,
        epoch=epoch,
    )
    session.open, session.is_keyed, session.early_open, session.peer_salt = opener, True, early, peer_salt
    return session
