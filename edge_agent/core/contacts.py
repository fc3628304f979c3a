"""All links and contacts of a node: who is behind which address, and the handshake that gives each contact its keys.

A HELLO whose session could be a recording is answered, but what it carries is held until the peer proves, by a frame
under both salts, that it is alive. It is acted on at once only when this process remembers the peer from before and
the salt is new (docs/adr/0003-early-data.md).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from random import Random

from edge_agent.core.arq import REORDER_FRAMES_TUNNELLED, SentFrame
from edge_agent.core.budgets import begin_meter
from edge_agent.core.contact import Contact, Link
from edge_agent.core.effects import LinkState
from edge_agent.core.envelope import Envelope, rebuild_number
from edge_agent.core.frame import SALT_BYTES, FrameCipher, LinkKeys
from edge_agent.core.hello import OWN_FEATURES, TAKES_SHORT_TAGS, WANTS_SHORT_TAGS, Hello, read_hello
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer
from edge_agent.core.report import NodeSettings
from edge_agent.core.session import Session, answer_session, key_initiator, open_session, settle_initiator

CONTACTS_MAX = 4096
"""Peers on one listening link; each costs a proof of the deployment secret before it costs memory."""
REMEMBERED_SALTS = 256
"""Sessions of one start of a peer whose early data is acted on at once; later ones wait for the proof."""
HELD_EARLY_BYTES = 65_536
HELLO_WAIT_S = 0.5
BURST_REASON = "a burst link needs this node's number ([node] number = 1 to 65535)"
"""The number names the sender there, and its key is born of it (docs/adr/0009-burst-links.md)."""
LOSER_WAIT_S = 8.0


@dataclass(slots=True)
class _Memory:
    """What this process saw of one peer's newest start."""

    process_number: int
    is_whole: bool
    """The start came after an earlier one had proved to be alive: no session of it can be older than this process."""
    salts: set[bytes] = field(default_factory=set)


class Contacts:
    """Links, peers, and the sessions between them."""

    def __init__(
        self,
        settings: NodeSettings,
        keys: LinkKeys,
        rng: Random,
        outputs: Outputs,
        incarnation: int,
        process_number: int,
        give_up: Callable[[Contact, list[SentFrame], float], None],
    ) -> None:
        self.settings = settings
        self.keys = keys
        self.links: dict[str, Link] = {}
        self.peers: dict[str, Peer] = {}
        self.contacts: list[Contact] = []
        self._rng = rng
        self._outputs = outputs
        self._incarnation = incarnation
        self._process_number = process_number
        self.give_up = give_up
        self._by_id: dict[tuple[str, int], tuple[Contact, Session]] = {}
        self._by_salt: dict[tuple[str, bytes], Contact] = {}
        self._memories: dict[str, _Memory] = {}

    def own_hello(self, session: Session, limits: LinkLimits) -> Hello:
        """How this node introduces itself in ``session`` of a link with ``limits``."""
        return Hello(
            node_id=self.settings.node_id,
            number=self.settings.number,
            role=self.settings.role,
            incarnation=self._incarnation,
            process_number=self._process_number,
            receive_id=session.receive_id,
            features=OWN_FEATURES | WANTS_SHORT_TAGS if limits.is_thin else OWN_FEATURES,
        )

    def set_link(
        self, name: str, limits: LinkLimits | None, policy: LinkPolicy, is_listener: bool, reason: str, now_s: float
    ) -> None:
        """A link came, changed or went."""
        link = self.links.get(name)
        if link is None:
            link = self.links[name] = Link(name, None, policy, is_listener, begin_meter(now_s))
        was_up = link.limits is not None
        if limits is not None and limits.shape is LinkShape.BURST and not self.settings.number:
            limits, reason = None, BURST_REASON
        link.limits, link.reason = limits, reason
        link.set_policy(policy)
        if not was_up:
            link.is_busy = False
        if limits is None:
            for contact in link.contacts:
                self.convict(contact, reason or "link down", now_s)
                contact.probe_at_s = None
            return
        if not link.contacts and not is_listener:
            self._add_contact(Contact(link, limits, None, now_s))
        for contact in link.contacts:
            is_same_shape = limits.shape is contact.limits.shape
            self._apply_limits(contact, limits, policy.reserve_bps)
            if not was_up:
                self._begin(contact, now_s, may_resume=is_same_shape)

    def _begin(self, contact: Contact, now_s: float, *, may_resume: bool = False) -> None:
        """A contact's link is there (again); keys outlive outages (docs/adr/0011-sessions-outlive-outages.md)."""
        if contact.limits.is_burst:
            contact.change_state(LinkState.UP, "not watched", now_s, self._outputs)
            return
        if may_resume and contact.session is not None and contact.session.is_keyed:
            contact.resume(now_s, self._outputs)
        elif not contact.link.is_listener:
            self.begin_session(contact, now_s)
        contact.probe_at_s = now_s

    def burst_contact(self, link: Link, address: Hashable | None, peer: Peer, now_s: float) -> Contact | None:
        """The contact of a burst link from which ``peer`` was heard, made on first use; None (counted): too many."""
        for contact in link.contacts:
            if contact.address == address:
                contact.meet(peer)
                return contact
        if link.limits is None or len(link.contacts) >= CONTACTS_MAX:
            self._outputs.drop("contact_limit")
            return None
        contact = Contact(link, link.limits, address, now_s)
        contact.meet(peer)
        self._add_contact(contact)
        self._begin(contact, now_s)
        return contact

    @staticmethod
    def _apply_limits(contact: Contact, limits: LinkLimits, reserve_bps: float) -> None:
        if limits != contact.limits:
            contact.limits = limits
            contact.set_size()
            contact.controller.describe(limits.rate_bps, reserve_bps)
            contact.controller.is_ceiling = limits.rate_is_ceiling
        elif reserve_bps != contact.controller.reserve_bps:
            contact.controller.describe(limits.rate_bps, reserve_bps)

    def _add_contact(self, contact: Contact) -> None:
        contact.link.contacts.append(contact)
        self.contacts.append(contact)

    def new_receive_id(self, link: Link) -> int:
        """An id that this node uses nowhere: one byte where one peer is on the line, four where many may be.

        No two links share one, because an ACK names by it a session of another link. 0 means not known yet.
        """
        used = {receive_id for _, receive_id in self._by_id}
        while True:
            receive_id = self._rng.randrange(
                1, 1 << 8 if link.limits is not None and link.limits.is_narrow else 1 << 32
            )
            if receive_id not in used:
                return receive_id

    def begin_session(self, contact: Contact, now_s: float) -> None:
        """Start over with a fresh salt: what was in flight goes back, the old keys still open late frames."""
        if contact.session is not None:
            self._retire(contact, contact.session, now_s)
        salt = self._rng.randbytes(SALT_BYTES)
        session = open_session(self.keys, salt, self.new_receive_id(contact.link), now_s)
        self._install(contact, session, now_s)
        contact.probe_at_s = now_s
        contact.probe_wait_s = HELLO_WAIT_S

    def _install(self, contact: Contact, session: Session, now_s: float) -> None:
        if contact.limits.shape is LinkShape.TUNNELLED:
            session.arq.reorder_frames = REORDER_FRAMES_TUNNELLED
        contact.session = session
        contact.controller.restart_clock()
        contact.controller.start_at_most(contact.link.hints.rate_bps(now_s))
        contact.tally.restart_clock()
        contact.progress_s = now_s
        contact.pto_backoff = 0
        contact.convicted_number = -1
        self._by_id[(contact.link.name, session.receive_id)] = (contact, session)

    def _retire(self, contact: Contact, session: Session, now_s: float) -> None:
        """A session is replaced; its keys go with it (a frame still under way is sent again under the new ones)."""
        self._by_id.pop((contact.link.name, session.receive_id), None)
        self._by_salt.pop((contact.link.name, session.peer_salt), None)
        self.give_up(contact, session.arq.give_up_all(), now_s)
        self.release(contact, now_s)

    def convict(self, contact: Contact, reason: str, now_s: float) -> None:
        """The link is dead for this peer: all that is in flight may go elsewhere at once.

        Where there is no elsewhere it stays: much of it has arrived, and the first word after the outage tells what.
        """
        contact.change_state(LinkState.DOWN, reason, now_s, self._outputs)
        contact.reason = reason
        session = contact.session
        tallies = [each.tally for each in contact.siblings()]
        if session is not None and session.arq.pieces_in_flight and not contact.is_suspect:
            contact.tally.suspect(tallies, now_s, session.arq.oldest_pieces_s())
        contact.tally.convict(tallies, now_s)
        if session is not None:
            contact.convicted_number = session.arq.next_number
            frames = session.arq.give_up_all()
            if contact.has_usable_sibling():
                self.give_up(contact, frames, now_s)
            else:
                contact.stranded += [frame for frame in frames if not frame.is_urgent]
                self.give_up(contact, [frame for frame in frames if frame.is_urgent], now_s)
        contact.is_suspect = False
        contact.pto_backoff = 0
        contact.unanswered_probes = 0
        contact.probe_wait_s = HELLO_WAIT_S

    def release(self, contact: Contact, now_s: float) -> None:
        """What stayed with a dead link is sent again, as far as it has not arrived."""
        stranded, contact.stranded = contact.stranded, []
        self.give_up(contact, stranded, now_s)

    def find(self, link: str, receive_id: int) -> tuple[Contact, Session] | None:
        """Contact and session of an id that this node gave out."""
        return self._by_id.get((link, receive_id))

    def open_data(self, session: Session, envelope: Envelope, frame: bytes) -> tuple[int, bytes] | None:
        """Number and body of a DATA frame of ``session``; None (counted) for a replay or a forgery."""
        if session.open is None:
            self._outputs.drop("frame_before_key")
            return None
        number = rebuild_number(envelope.number, envelope.number_bytes, session.space.highest)
        if session.space.is_replay(number):
            self._outputs.drop("frame_replayed")
            return None
        body = session.open.open(number, frame[: envelope.length], frame[envelope.length :])
        if body is None:
            self._outputs.drop("frame_not_authentic")
            return None
        return number, body

    def open_hello_ack(
        self, contact: Contact, session: Session, envelope: Envelope, frame: bytes, now_s: float
    ) -> bytes | None:
        """Body of the answer to our HELLO; keys the session the first time."""
        number = envelope.number
        if session.space.is_replay(number):
            self._outputs.drop("frame_replayed")
            return None
        opener = session.open if session.peer_salt == envelope.salt else None
        if opener is None and not session.is_keyed and envelope.suite in (session.suite, self.keys.short_suite):
            opener = key_initiator(session, self.keys, envelope.salt, envelope.suite)
        if opener is None:
            self._outputs.drop("hello_ack_unwanted")
            return None
        body = opener.open(number, frame[: envelope.length], frame[envelope.length :])
        if body is None:
            self._outputs.drop("frame_not_authentic")
            return None
        if not session.is_keyed:
            settle_initiator(session, self.keys, envelope.salt, opener, envelope.suite)
            contact.probe_wait_s = HELLO_WAIT_S
            contact.convicted_number = -1
        session.space.record(number, now_s)
        session.space.want_ack(now_s)
        return body

    def open_hello(
        self, link: Link, address: Hashable | None, envelope: Envelope, frame: bytes, now_s: float
    ) -> tuple[Contact, Session, bytes] | None:
        """Contact, answering session and body of a HELLO; None (counted) when it is not answered."""
        early = self.keys.early(envelope.salt, envelope.suite, envelope.epoch)
        if early is None:
            self._outputs.drop("hello_unknown_suite")
            return None
        contact = self._by_salt.get((link.name, envelope.salt))
        session = None
        if contact is not None:
            session = next(
                (
                    each
                    for each in (contact.candidate, contact.session)
                    if each is not None and each.peer_salt == envelope.salt
                ),
                None,
            )
        if session is not None and session.space.is_replay(envelope.number):
            self._outputs.drop("frame_replayed")
            return None
        body = early.open(envelope.number, frame[: envelope.length], frame[envelope.length :])
        if body is None:
            self._outputs.drop("frame_not_authentic")
            return None
        if contact is None or session is None:
            answered = self._answer(link, address, envelope, early, body, now_s)
            if answered is None:
                return None
            contact, session = answered
        elif session is contact.candidate:
            contact.candidate_address = address  # an answer goes where the last question came from, and nowhere else
        session.space.record(envelope.number, now_s)
        session.space.want_ack(now_s)
        return contact, session, body

    def _answer(
        self, link: Link, address: Hashable | None, envelope: Envelope, early: FrameCipher, body: bytes, now_s: float
    ) -> tuple[Contact, Session] | None:
        hello = read_hello(body)
        if hello is None or hello.node_id == self.settings.node_id:
            self._outputs.drop("hello_malformed" if hello is None else "hello_from_self")
            return None
        contact = self._contact_for(link, hello, address, now_s)
        if contact is None:
            return None
        if self._wins_over(contact, hello):
            self.is_early_trusted(hello, envelope.salt)  # what comes again under this salt is not new
            return None
        session = answer_session(
            self.keys,
            early,
            envelope.salt,
            self._rng.randbytes(SALT_BYTES),
            self.new_receive_id(link),
            now_s,
            self.keys.short_suite if _takes_short_tags(link.limits, hello) else envelope.suite,
            envelope.epoch,
        )
        if session is None:
            self._outputs.drop("hello_unknown_suite")
            return None
        session.peer_receive_id, session.peer_node_id = hello.receive_id, hello.node_id
        if contact.candidate is not None:
            self._by_id.pop((link.name, contact.candidate.receive_id), None)
            self._by_salt.pop((link.name, contact.candidate.peer_salt), None)
        contact.candidate, contact.candidate_address = session, address
        contact.held_early.clear()
        self._by_id[(link.name, session.receive_id)] = (contact, session)
        self._by_salt[(link.name, envelope.salt)] = contact
        return contact, session

    def _wins_over(self, contact: Contact, hello: Hello) -> bool:
        """Two nodes on one line said HELLO at once: the lower id goes on, the other one answers."""
        session = contact.session
        if contact.link.is_listener or session is None or session.is_keyed:
            return False
        if self.settings.node_id < hello.node_id and contact.unanswered_probes < 3:
            self._outputs.drop("hello_crossed")
            return True
        contact.probe_wait_s = LOSER_WAIT_S
        return False

    def _contact_for(self, link: Link, hello: Hello, address: Hashable | None, now_s: float) -> Contact | None:
        for contact in link.contacts:
            if contact.peer is None or contact.peer.node_id == hello.node_id or not link.is_listener:
                return contact
        if not link.is_listener or link.limits is None or len(link.contacts) >= CONTACTS_MAX:
            self._outputs.drop("contact_limit")
            return None
        contact = Contact(link, link.limits, address, now_s)
        contact.meet(self.peer(hello.node_id))
        self._add_contact(contact)
        return contact

    def peer(self, node_id: str) -> Peer:
        """The peer of this name, made on first use."""
        peer = self.peers.get(node_id)
        if peer is None:
            peer = self.peers[node_id] = Peer(node_id)
        return peer

    def is_early_trusted(self, hello: Hello, salt: bytes) -> bool:
        """Whether early data of this HELLO cannot be a recording; asked once a session, and then remembered."""
        memory = self._memories.get(hello.node_id)
        if memory is None or hello.process_number < memory.process_number:
            return False
        self.remember_start(hello)
        memory = self._memories[hello.node_id]
        if not memory.is_whole or salt in memory.salts or len(memory.salts) >= REMEMBERED_SALTS:
            return False
        memory.salts.add(salt)
        return True

    def remember_start(self, hello: Hello) -> None:
        """This start of the peer is alive, or newer than one that was."""
        memory = self._memories.get(hello.node_id)
        if memory is None or hello.process_number > memory.process_number:
            self._memories[hello.node_id] = _Memory(hello.process_number, is_whole=memory is not None)

    def promote(self, contact: Contact, now_s: float) -> None:
        """The peer has proved to hold both salts: the answering session becomes the contact's session."""
        session = contact.candidate
        assert session is not None
        contact.candidate = None
        contact.address, contact.new_address = contact.candidate_address, None
        if contact.session is not None:
            self._retire(contact, contact.session, now_s)
        session.is_proven = True
        self._install(contact, session, now_s)


def _takes_short_tags(limits: LinkLimits | None, hello: Hello) -> bool:
    """Whether this link is thin as seen from here or from there, and who says HELLO can do with short tags."""
    is_thin = (limits is not None and limits.is_thin) or bool(hello.features & WANTS_SHORT_TAGS)
    return is_thin and bool(hello.features & TAKES_SHORT_TAGS)
