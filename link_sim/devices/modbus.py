"""Modbus RTU slaves on one line, each with a map of registers.

Source: MODBUS application protocol V1.1b3, sections 6 and 7 (functions, exception codes), and MODBUS over serial line
V1.02, section 2.5 (RTU frame: unit, PDU, CRC-16 with the low byte first). Checked against a recorded exchange of mbpoll
(libmodbus) with pymodbus. Frames are told by their length; a silence ends one that was cut (``GAP_S``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.stand_in import COMMON_FAULTS, StandIn

GAP_S = 0.05  # 3.5 characters are 1.8 to 36 ms; USB adapters hand bytes over in batches of 16 ms
FRAME_BYTES_MAX = 256
BROADCAST_UNIT = 0
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3
_READ_COILS, _READ_DISCRETE, _READ_HOLDING, _READ_INPUT = 1, 2, 3, 4
_WRITE_COIL, _WRITE_REGISTER, _WRITE_COILS, _WRITE_REGISTERS = 5, 6, 15, 16
_FIXED_REQUEST_BYTES = 8  # unit, function, address, value or count, CRC
_BITS_MAX, _WORDS_MAX, _WRITE_BITS_MAX, _WRITE_WORDS_MAX = 2000, 125, 1968, 123  # V1.1b3, sections 6.1 to 6.12


@dataclass(slots=True, kw_only=True)
class RegisterMap:
    """What one unit holds, by 0-based address; tests change it while it is served.

    ``holding`` and ``inputs`` are 16-bit words, ``coils`` and ``discrete`` are bits. An address that is not there is
    refused with exception 2.
    """

    holding: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    coils: dict[int, bool] = field(default_factory=dict)
    discrete: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in (("holding", self.holding), ("inputs", self.inputs)):
            for address, word in words.items():
                if not (0 <= address <= 0xFFFF and 0 <= word <= 0xFFFF):
                    raise DeviceError(f"{name} register {address} = {word}: allowed is 0 to 65535 for both")
        for address in (*self.coils, *self.discrete):
            if not 0 <= address <= 0xFFFF:
                raise DeviceError(f"bit {address}: allowed is 0 to 65535")


class _RefusedError(Exception):
    """A request gets an exception answer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class ModbusSlave(StandIn):
    """Units on an RTU line. Faults match ``"unit3 fc16"``; ``REFUSE`` answers exception ``value``."""

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS | {FaultKind.WRONG_CHECKSUM, FaultKind.REFUSE}

    def __init__(
        self,
        units: Mapping[int, RegisterMap],
        *,
        baud_rate: int | None = 9600,
        answer_after_s: float = 0.002,
        faults: Iterable[Fault] = (),
        seed: int = 1,
    ) -> None:
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)
        for unit in units:
            if not 1 <= unit <= 247:
                raise DeviceError(f"unit {unit}: allowed is 1 to 247 (0 is broadcast)")
        self.units = dict(units)
        self._answer_after_s = answer_after_s
        self._heard = b""
        self._silent_from_s = 0.0

    def _next_wake_s(self) -> float | None:
        return self._silent_from_s + GAP_S if self._heard else None

    def _wake(self, now_s: float) -> None:
        if self._heard and now_s >= self._silent_from_s + GAP_S:
            self._note("cut_frame", self._heard.hex())
            self._heard = b""

    def _receive(self, received: bytes, now_s: float) -> None:
        self._silent_from_s = now_s
        self._heard += received
        while (length := _request_bytes(self._heard)) is not None and len(self._heard) >= length:
            frame, self._heard = self._heard[:length], self._heard[length:]
            if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
                self._note("wrong_crc", (frame + self._heard).hex())
                self._heard = b""  # nobody knows where the next frame begins, but for a silence
                return
            self._take(frame[0], frame[1:-2])
        if len(self._heard) > FRAME_BYTES_MAX:
            self._note("noise", self._heard.hex())
            self._heard = b""

    def _take(self, unit: int, pdu: bytes) -> None:
        request = f"unit{unit} fc{pdu[0]}"
        if unit == BROADCAST_UNIT:
            self._note("broadcast", request)
            for each in self.units.values():
                self._answered(each, pdu, request)
            return
        registers = self.units.get(unit)
        if registers is None:
            self._note("other_unit", request)
            return
        self._note("request", f"{request} {pdu.hex()}")
        frame = bytes((unit,)) + self._answered(registers, pdu, request)
        crc = crc16(frame)
        if self._script.take(FaultKind.WRONG_CHECKSUM, self._now_s, request) is not None:
            self._note("wrong_checksum", request)
            crc ^= 0x0101
        self._say(frame + crc.to_bytes(2, "little"), request=request, after_s=self._answer_after_s)

    def _answered(self, registers: RegisterMap, pdu: bytes, request: str) -> bytes:
        """The PDU of the answer, exceptions included."""
        refusal = self._script.take(FaultKind.REFUSE, self._now_s, request)
        try:
            if refusal is not None:
                raise _RefusedError(int(refusal.value))
            return bytes((pdu[0],)) + _served(registers, pdu)
        except _RefusedError as error:
            self._note("exception", f"{request} code {error.code}")
            return bytes((pdu[0] | 0x80, error.code))

    def _restart(self, now_s: float) -> None:
        self._heard = b""


def crc16(frame: bytes) -> int:
    """CRC-16/MODBUS: polynomial A001 reflected, start FFFF (over serial line V1.02, section 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def _request_bytes(heard: bytes) -> int | None:
    """Length of the request that begins here, with CRC; None while too little of it is there."""
    if len(heard) < 2:
        return None
    if heard[1] in (_WRITE_COILS, _WRITE_REGISTERS):
        return 9 + heard[6] if len(heard) > 6 else None
    if _READ_COILS <= heard[1] <= _WRITE_REGISTER:
        return _FIXED_REQUEST_BYTES
    for length in range(4, len(heard) + 1):  # a function unknown here: its frame ends where the CRC is right
        if crc16(heard[: length - 2]) == int.from_bytes(heard[length - 2 : length], "little"):
            return length
    return None


def _served(registers: RegisterMap, pdu: bytes) -> bytes:
    """What follows the function code. Raises _RefusedError with the exception's code."""
    function, start, number = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    match function:
        case 1 | 2:
            bits = registers.coils if function == _READ_COILS else registers.discrete
            return _sized(_packed([bits[at] for at in _span(bits, start, number, _BITS_MAX)]))
        case 3 | 4:
            words = registers.holding if function == _READ_HOLDING else registers.inputs
            return _sized(b"".join(words[at].to_bytes(2, "big") for at in _span(words, start, number, _WORDS_MAX)))
        case 5:
            if number not in (0x0000, 0xFF00):
                raise _RefusedError(_ILLEGAL_VALUE)
            registers.coils[_span(registers.coils, start, 1, 1)[0]] = number == 0xFF00
        case 6:
            registers.holding[_span(registers.holding, start, 1, 1)[0]] = number
        case 15:
            span = _span(registers.coils, start, number, _WRITE_BITS_MAX)
            if pdu[5] != (number + 7) // 8:
                raise _RefusedError(_ILLEGAL_VALUE)
            for offset, at in enumerate(span):
                registers.coils[at] = bool(pdu[6 + offset // 8] >> offset % 8 & 1)
        case 16:
            span = _span(registers.holding, start, number, _WRITE_WORDS_MAX)
            if pdu[5] != 2 * number:
                raise _RefusedError(_ILLEGAL_VALUE)
            for offset, at in enumerate(span):
                registers.holding[at] = int.from_bytes(pdu[6 + 2 * offset : 8 + 2 * offset], "big")
        case _:
            raise _RefusedError(_ILLEGAL_FUNCTION)
    return pdu[1:5]


def _span(there: Mapping[int, int], start: int, number: int, number_max: int) -> range:
    if not 1 <= number <= number_max:
        raise _RefusedError(_ILLEGAL_VALUE)
    span = range(start, start + number)
    if any(at not in there for at in span):
        raise _RefusedError(_ILLEGAL_ADDRESS)
    return span


def _sized(values: bytes) -> bytes:
    return bytes((len(values),)) + values


def _packed(bits: list[bool]) -> bytes:
    number = sum(bit << at for at, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little")
