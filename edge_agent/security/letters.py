"""Bytes as letters that people read out, write down and type: Crockford's base 32.

0 and O are the same when they are typed, and so are 1, I and L. All letters are in the small alphabet of QR codes.
"""

from typing import Final

GROUP: Final = 4
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS: Final = str.maketrans("OIL", "011")
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}


def to_letters(data: bytes) -> str:
    """``data`` in letters of five bits each, the last one filled up with zeros."""
    count = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << count * 5 - len(data) * 8
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(count)))


def from_letters(text: str) -> bytes:
    """What ``to_letters`` made ``text`` of; case, white space and dashes do not matter. Raises ValueError."""
    letters = "".join(text.split()).replace("-", "").upper().translate(_READ_AS)
    number = 0
    for place, letter in enumerate(letters):
        if letter not in _VALUES:
            raise ValueError(f'letter {place + 1} (group {place // GROUP + 1}): "{letter}" is none of {_ALPHABET}')
        number = number << 5 | _VALUES[letter]
    spare = len(letters) * 5 % 8
    if spare >= 5 or number & (1 << spare) - 1:
        raise ValueError(f"{len(letters)} letters: one is missing or too many at the end")
    return (number >> spare).to_bytes(len(letters) * 5 // 8, "big")


def in_groups(letters: str) -> str:
    """``letters`` in groups of four, so that people do not lose their place."""
    return "-".join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))
