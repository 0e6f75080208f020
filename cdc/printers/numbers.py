"""Integers, floats and numeric.

Source: src/common/d2s.c, f2s.c and src/backend/utils/adt/numeric.c of PostgreSQL.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import numpy as np

_NUMERIC_NAN, _NUMERIC_PLUS, _NUMERIC_MINUS = 0xC000, 0xD000, 0xF000


def integer(value: bytes) -> str:
    return str(int.from_bytes(value, "big", signed=True))


def unsigned(value: bytes) -> str:
    return str(int.from_bytes(value, "big"))


def boolean(value: bytes) -> str:
    return "t" if value[0] else "f"


def float8(value: bytes) -> str:
    return float8_text(struct.unpack(">d", value)[0])


def float8_text(x: float) -> str:
    if math.isnan(x) or math.isinf(x) or x == 0:
        return _special(x)
    text = repr(abs(x))
    # Only there can a neighbour's bound be a number of so few digits.
    if abs(x) >= 2**52 or abs(x) < 1e-300:
        text = _within(abs(x), math.nextafter(abs(x), 0), math.nextafter(abs(x), math.inf), text)
    return ("-" if x < 0 else "") + _notation(Decimal(text), 15)


def float4(value: bytes) -> str:
    x = struct.unpack(">f", value)[0]
    if math.isnan(x) or math.isinf(x) or x == 0:
        return _special(x)
    single = np.float32(abs(x))
    with np.errstate(over="ignore"):  # above the greatest lies infinity
        below, above = (float(np.nextafter(single, np.float32(end))) for end in (0, math.inf))
    text = _within(abs(x), below, above, np.format_float_scientific(single, unique=True))
    return ("-" if x < 0 else "") + _notation(Decimal(text), 6)


def _special(x: float) -> str:
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return "-0" if math.copysign(1, x) < 0 else "0"


def _within(x: float, below: float, above: float, text: str) -> str:
    """``text`` if it lies strictly between the midpoints to x's neighbours, else the shortest that does.

    Python takes a midpoint that would be read back as x by rounding to even; PostgreSQL leaves it to no reader.
    """
    exact = Fraction(x)
    least = (exact + Fraction(below)) / 2
    most = (exact + Fraction(above)) / 2 if not math.isinf(above) else exact + (exact - least)
    if least < Fraction(text) < most:
        return text
    for digits in range(1, 18):
        near = Fraction(f"{x:.{digits - 1}e}")
        step = Fraction(10) ** (Decimal(f"{x:.{digits - 1}e}").adjusted() - digits + 1)
        inside = [one for one in (near, near - step, near + step) if least < one < most]
        if inside:
            best = min(inside, key=lambda one: abs(one - exact))
            return f"{best.numerator // step if step >= 1 else int(best / step)}e{_exponent(step)}"
    return text


def _exponent(step: Fraction) -> int:
    """log10 of a power of ten."""
    return len(str(step.numerator)) - len(str(step.denominator))


def _notation(number: Decimal, plain_digits: int) -> str:
    """Plain from 0.0001 up to ``plain_digits`` digits, else with an exponent of two digits or more."""
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0") or "0"
    exponent = number.adjusted()
    if -4 <= exponent < plain_digits:
        if exponent < 0:
            return "0." + "0" * (-exponent - 1) + digits
        whole = digits[: exponent + 1].ljust(exponent + 1, "0")
        return whole + ("." + digits[exponent + 1 :] if len(digits) > exponent + 1 else "")
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def numeric(value: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">HhHH", value)
    if sign == _NUMERIC_NAN:
        return "NaN"
    if sign in (_NUMERIC_PLUS, _NUMERIC_MINUS):
        return "Infinity" if sign == _NUMERIC_PLUS else "-Infinity"
    groups: Iterable[int] = struct.unpack_from(f">{count}H", value, 8)
    number = int("".join(f"{group:04}" for group in groups) or "0")
    # The groups stand for number * 10**shift; what is printed has exactly ``scale`` decimal places.
    shift = 4 * (weight + 1 - count) + scale
    number = number * 10**shift if shift >= 0 else number // 10**-shift
    text = _long_text(number).rjust(scale + 1, "0")
    text = f"{text[:-scale]}.{text[-scale:]}" if scale else text
    return ("-" if sign else "") + text


def _long_text(number: int) -> str:
    # str() refuses more than 4,300 digits; Decimal prints any number.
    return str(number) if number < 10**4000 else f"{Decimal(number):f}"
