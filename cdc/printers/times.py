"""Dates, times and intervals: DateStyle ISO, time zone UTC, IntervalStyle iso_8601.

PostgreSQL counts from 2000-01-01 in its proleptic Gregorian calendar, in which 1 BC is followed by AD 1.
"""

from __future__ import annotations

import struct

_I32_MAX, _I32_MIN = 2**31 - 1, -(2**31)
_I64_MAX, _I64_MIN = 2**63 - 1, -(2**63)
_DAY_US = 86_400_000_000
_DAYS_TO_2000 = 730_425  # from 0000-03-01, where a leap day is the last of its year
_ERA_DAYS = 146_097  # four hundred years


def date(value: bytes) -> str:
    (days,) = struct.unpack(">i", value)
    if days in (_I32_MAX, _I32_MIN):
        return "infinity" if days > 0 else "-infinity"
    text, before_christ = _day(days)
    return text + before_christ


def timestamp(value: bytes) -> str:
    return _instant(value, "")


def timestamptz(value: bytes) -> str:
    return _instant(value, "+00")


def time(value: bytes) -> str:
    return _clock(struct.unpack(">q", value)[0])


def timetz(value: bytes) -> str:
    us, west = struct.unpack(">qi", value)  # the zone counts seconds west of Greenwich
    sign, zone = ("-", west) if west > 0 else ("+", -west)
    text = f"{_clock(us)}{sign}{zone // 3600:02}"
    if zone % 3600:
        text += f":{zone // 60 % 60:02}"
    return text + (f":{zone % 60:02}" if zone % 60 else "")


def interval(value: bytes) -> str:
    us, days, months = struct.unpack(">qii", value)
    if (us, days, months) == (_I64_MAX, _I32_MAX, _I32_MAX):
        return "infinity"
    if (us, days, months) == (_I64_MIN, _I32_MIN, _I32_MIN):
        return "-infinity"
    if us == days == months == 0:
        return "PT0S"
    years, months = int(months / 12), int(months - 12 * int(months / 12))
    calendar = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    sign, us = ("-", -us) if us < 0 else ("", us)
    seconds, fraction = divmod(us, 1_000_000)
    clock = "".join(f"{sign}{n}{unit}" for n, unit in ((seconds // 3600, "H"), (seconds // 60 % 60, "M")) if n)
    if seconds % 60 or fraction:
        text = f"{seconds % 60}.{fraction:06}".rstrip("0") if fraction else str(seconds % 60)
        clock += f"{sign}{text}S"
    return f"P{calendar}" + (f"T{clock}" if clock else "")


def _instant(value: bytes, zone: str) -> str:
    (us,) = struct.unpack(">q", value)
    if us in (_I64_MAX, _I64_MIN):
        return "infinity" if us > 0 else "-infinity"
    days, clock_us = divmod(us, _DAY_US)
    text, before_christ = _day(days)
    return f"{text} {_clock(clock_us)}{zone}{before_christ}"


def _day(days_since_2000: int) -> tuple[str, str]:
    """YYYY-MM-DD, and what stands behind everything for a year before Christ."""
    era, day_of_era = divmod(days_since_2000 + _DAYS_TO_2000, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + 400 * era + (month <= 2)
    if year <= 0:
        return f"{1 - year:04}-{month:02}-{day:02}", " BC"
    return f"{year:04}-{month:02}-{day:02}", ""


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text
