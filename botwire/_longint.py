"""Very long ints to digits and back, in far less than the quadratic time that Python takes.

Python also refuses such conversions altogether, from 4,300 digits on or from as few as 640, since they could be
used to stall it. Halving the digits, and multiplying by Decimal, whose products are fast at any length, takes about
a second for a million digits, where ``int`` and ``str`` take half a minute.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, Context, Decimal
from functools import cache

LONG_BITS = 2_000
"""From so many bits on an int is converted here: fewer digits than any limit that Python may be given."""

_FEW_DIGITS = 600
_FEW_BITS = 4_096
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX)


def parse_int(digits: str) -> int:
    """The int that decimal digits stand for, with a minus sign or without."""
    if digits.startswith("-"):
        return -parse_int(digits[1:])

    @cache
    def power(width: int) -> int:
        return 5**width << width

    def part(start: int, end: int) -> int:
        if end - start <= _FEW_DIGITS:
            return int(digits[start:end])
        low = (end - start) // 2
        return part(start, end - low) * power(low) + part(end - low, end)

    return part(0, len(digits))


def int_text(number: int) -> str:
    """The decimal digits of an int, with a minus sign if it has one."""

    @cache
    def power(width: int) -> Decimal:
        if width <= _FEW_BITS:
            return _EXACT.power(Decimal(2), width)
        return _EXACT.multiply(power(width // 2), power(width - width // 2))

    def part(bits: int, width: int) -> Decimal:
        if width <= _FEW_BITS:
            return Decimal(bits)
        low = width // 2
        high = bits >> low
        return _EXACT.add(_EXACT.multiply(part(high, width - low), power(low)), part(bits - (high << low), low))

    digits = str(part(abs(number), number.bit_length()))
    return "-" + digits if number < 0 else digits
