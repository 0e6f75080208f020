"""How every command speaks: tables and sentences for people, one JSON object for programs.

Answers go to standard output; progress and errors go to standard error, out of the way of ``rireki … --json | jq``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc.errors import RirekiError
from cdc.lsn import Lsn

DONE, ATTENTION, FAILED, INTERRUPTED = 0, 1, 2, 130

_LEGIBLE_CELLS = 24  # a column may be folded to this; narrower, a time or a UUID falls to pieces

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command takes."""

    config: Annotated[Path | None, Parameter(help="Configuration file; ./rireki.toml, else ./.rireki/rireki.toml.")] = (
        None
    )
    json: Annotated[bool, Parameter(negative="", show_default=False, help="For programs: JSON on standard output.")] = (
        False
    )
    debug: Annotated[bool, Parameter(negative="", show_default=False, help="Show the trace of an error.")] = False


COMMON = Common()


def emit(value: Any) -> None:
    """One line of JSON on standard output, flushed: the reader may be waiting for it."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """A value as JSON can hold it without loss: times as ISO 8601 in UTC, decimals and non-finite numbers as text,
    bytes in PostgreSQL's hex notation."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(Decimal(value))
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date() | time():
            return value.isoformat()
        case bytes():
            return "\\x" + value.hex()
        case Lsn() | Decimal() | UUID() | timedelta() | Path():
            return str(value)
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case Iterable():
            return [plain(item) for item in value]
        case _:
            return str(value)


def shown(value: Any) -> str:
    """A value in a cell: NULL is told apart from the empty string and from the word."""
    match value:
        case None:
            return "∅"
        case datetime():
            return moment(value)
        case str():
            return value
        case _:
            as_json = plain(value)
            return as_json if isinstance(as_json, str) else json.dumps(as_json, ensure_ascii=False)


def moment(at: datetime) -> str:
    """``2026-04-01 09:30:00.123 UTC``"""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, records_if_wide: bool = False) -> None:
    """Print rows. Values are shown literally, never read as markup, and never cut short: a terminal wraps them.

    ``records_if_wide``: where its width would fold them beyond legibility, each row is a list of its columns.
    """
    if not out.is_terminal:
        _aligned(columns, rows)
        return
    cells = [[cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row] for row in rows]
    least = _least_widths(columns, cells) if records_if_wide else [None] * len(columns)
    if sum((width or 0) + 2 for width in least) > out.width and records_if_wide and cells:
        _records(columns, cells)
        return
    grid = Table(header_style="bold", box=None)
    for column, width in zip(columns, least, strict=True):
        grid.add_column(Text(column), overflow="fold", min_width=width)
    for row in cells:
        grid.add_row(*row)
    out.print(grid)


def _least_widths(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[int | None]:
    """To which width each column may be folded, in cells."""
    texts = zip(columns, *([cell.plain for cell in row] for row in rows), strict=True)
    return [min(_LEGIBLE_CELLS, max(map(cell_len, column))) for column in texts]


def _records(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    named = max(map(cell_len, columns))
    for number, row in enumerate(rows, 1):
        out.print(Text(f"— {number} —", style="dim"))
        for column, cell in zip(columns, row, strict=True):
            out.print(Text.assemble((column + " " * (named - cell_len(column)), "bold"), "  ", cell))


def _aligned(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """For a file or a pipe, which has no width: one row, one line; Rich would take minutes for 100,000 of them."""
    lines = [list(columns), *([str(c) if isinstance(c, Text) else shown(c) for c in row] for row in rows)]
    lines = [[cell.replace("\n", "\\n") for cell in line] for line in lines]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def say(text: str, *, style: str = "") -> None:
    """A sentence of the answer."""
    out.print(Text(text, style=style))


def note(text: str, *, style: str = "dim") -> None:
    """A sentence beside the answer: progress, advice."""
    err.print(Text(text, style=style))


def report(error: RirekiError, *, as_json: bool) -> None:
    """One screen: what happened, to which object, and what to type next."""
    if as_json:
        emit({"error": described(error)})
        return
    lines = error.what.splitlines() or [""]
    err.print(Text.assemble(("✗ ", "red bold"), (error.subject, "bold"), ": " if len(lines) == 1 else ""))
    if len(lines) == 1:
        err.print(Text(f"  {lines[0]}"))
    else:
        for line in lines:
            err.print(Text(f"  {line}"))
    err.print(Text.assemble(("  next: ", "bold"), error.fix))


def described(error: RirekiError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "subject": error.subject,
        "what": error.what,
        "next": error.fix,
    }
