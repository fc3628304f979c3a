"""A file of carried bundles: whole it gives everything back; damaged, what stands before, and which record it was."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import carry
from edge_agent.carry import HEAD_BYTES, Carried, CarryFileError, CarryReader, CarryWriter, pack_meta
from edge_agent.core.bundle import LIFETIME_MAX_S, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.security.carry_seal import CarryCipher, CarrySealError

SECRET = bytes(range(32))
WALL_MS = 1_763_745_164_000


def record(number: int, payload_bytes: int) -> BundleRecord:
    bundle = BundleId("kit-1", (1 << 64) - 7, Precedence(number % 5), number)
    header = BundleHeader(destination="command", flow="text", created_at_ms=WALL_MS)
    return BundleRecord(
        id=bundle, header=header, payload_bytes=payload_bytes, as_of_s=90.0, age_low_s=5.0, age_high_s=8.0
    )


def write(payloads: Sequence[bytes], secret: bytes = SECRET) -> bytes:
    writer = CarryWriter(secret)
    file = bytearray(writer.head())
    for number, payload in enumerate(payloads):
        file += writer.put(pack_meta(record(number, len(payload)), 100.0, WALL_MS) + payload)
    return bytes(file + writer.finish())


def read(file: bytes, step: int = 1 << 20, secret: bytes = SECRET) -> tuple[list[Carried], str]:
    reader = CarryReader(secret)
    found: list[Carried] = []
    for start in range(0, len(file), step):
        found += reader.feed(file[start : start + step])
    reader.finish()
    return found, reader.damage


PAYLOADS = [b"", b"two injured", bytes(200_000), "求救".encode() * 100, b"last"]


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 5_000))
def test_what_was_written_is_read_in_pieces_of_any_size(payloads: list[bytes], step: int) -> None:
    found, damage = read(write(payloads), step)
    assert damage == ""
    assert [each.payload for each in found] == payloads
    assert [each.bundle for each in found] == [record(number, 0).id for number in range(len(payloads))]
    assert all((each.age_low_ms, each.age_high_ms, each.wall_ms) == (15_000, 18_000, WALL_MS) for each in found)
    assert all(each.header == record(0, 0).header for each in found)


@given(st.data())
def test_a_file_cut_anywhere_gives_only_whole_records_and_says_where_it_ends(data: st.DataObject) -> None:
    file = write(PAYLOADS)
    found, damage = read(file[: data.draw(st.integers(HEAD_BYTES, len(file) - 1))])
    assert [each.payload for each in found] == PAYLOADS[: len(found)]
    assert damage.startswith(f"record {len(found) + 1}: ")


@given(st.data())
def test_a_changed_byte_is_never_taken_for_good(data: st.DataObject) -> None:
    file = bytearray(write(PAYLOADS))
    at = data.draw(st.integers(carry.HEAD_BYTES - 16, len(file) - 1))  # the salt and all that follows
    file[at] ^= data.draw(st.integers(1, 255))
    found, damage = read(bytes(file))
    assert [each.payload for each in found] == PAYLOADS[: len(found)]
    assert damage.startswith(f"record {len(found) + 1}: ")


def test_a_file_cut_between_two_chunks_is_noticed() -> None:
    """The plain text ends with a whole record there: only the mark of the last chunk can tell."""
    first = write([bytes(carry.CHUNK_BYTES - len(pack_meta(record(0, 60_000), 100.0, WALL_MS)))])
    whole = write([bytes(carry.CHUNK_BYTES - len(pack_meta(record(0, 60_000), 100.0, WALL_MS))), b"second"])
    chunk_end = HEAD_BYTES + 4 + carry.CHUNK_BYTES + carry.OVERHEAD_BYTES
    assert len(first) == chunk_end < len(whole)
    found, damage = read(whole[:chunk_end])
    assert (len(found), damage) == (1, "record 2: the file is cut off")
    marked = bytearray(whole[:chunk_end])
    marked[HEAD_BYTES] |= 0x80  # somebody calls it the last one
    assert read(bytes(marked)) == ([], "record 1: is not of this deployment, or was changed")


def test_chunks_that_changed_places_are_noticed() -> None:
    file = write([bytes(300_000)])
    size = 4 + carry.CHUNK_BYTES + carry.OVERHEAD_BYTES
    first, second = (file[HEAD_BYTES + at * size : HEAD_BYTES + (at + 1) * size] for at in (0, 1))
    found, damage = read(file[:HEAD_BYTES] + second + first + file[HEAD_BYTES + 2 * size :])
    assert (found, damage) == ([], "record 1: is not of this deployment, or was changed")


def test_what_follows_the_end_is_said_and_everything_before_it_is_good() -> None:
    found, damage = read(write(PAYLOADS) + b"x")
    assert [each.payload for each in found] == PAYLOADS
    assert damage == "record 6: something follows the end of the file"


def test_a_file_of_another_deployment_gives_nothing() -> None:
    found, damage = read(write(PAYLOADS, secret=bytes(32)))
    assert (found, damage) == ([], "record 1: is not of this deployment, or was changed")


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "is shorter than"),
        (b"LIFELINE", "is shorter than"),
        (b"PK\x03\x04 something else", "is not a file of carried bundles"),
        (carry.MAGIC + b"\x02" + bytes(16), "has version 2, this program reads version 1"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_as_a_whole(file: bytes, why: str) -> None:
    with pytest.raises(CarryFileError, match=why):
        read(file)


def test_the_greatest_age_grows_by_the_time_on_the_way_and_the_least_does_not() -> None:
    (carried,), _ = read(write([b"x"]))
    taken = carried.record_at(1_000.0, WALL_MS + 3_600_000)
    assert (taken.as_of_s, taken.age_low_s, taken.age_high_s) == (1_000.0, 15.0, 3_618.0)
    backwards = carried.record_at(1_000.0, WALL_MS - 1)
    assert (backwards.age_low_s, backwards.age_high_s) == (15.0, LIFETIME_MAX_S)


def test_a_writer_whose_clock_was_not_set_leaves_the_greatest_age_unbounded() -> None:
    writer = CarryWriter(SECRET)
    file = writer.head() + writer.put(pack_meta(record(0, 1), 100.0, 86_400_000) + b"x") + writer.finish()
    (carried,), _ = read(file)
    assert carried.record_at(0.0, WALL_MS).age_high_s == LIFETIME_MAX_S


def test_two_files_never_share_a_key() -> None:
    ciphers = [CarryCipher(SECRET), CarryCipher(SECRET)]
    first, second = (cipher.seal(b"the same", is_last=True) for cipher in ciphers)
    assert ciphers[0].salt != ciphers[1].salt
    assert first != second
    with pytest.raises(CarrySealError):
        CarryCipher(SECRET, ciphers[0].salt).open(second, is_last=True)
