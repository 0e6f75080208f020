"""Binary values as PostgreSQL prints them: what a type's ``*_send`` wrote, in the words of its ``*_out``.

Wanted where the lake keeps text: ranges, composites, geometric and network types, and values that their column's lake
type can't hold. "As PostgreSQL prints them" means under the settings of our own sessions (``cdc.source``): ISO dates,
time zone UTC, ISO 8601 intervals, the shortest exact floats. One Python call a value.

    numbers      integers, floats, numeric
    times        dates, times, intervals
    network      inet, cidr, MAC addresses
    geometry     point to circle
    search       tsvector, tsquery
    plain        bit strings, bytea, uuid, "char", positions and snapshots
    containers   arrays, composites, ranges, multiranges: made from their members' printers
"""

from __future__ import annotations

from collections.abc import Callable

Printer = Callable[[bytes], str]
