"""``python -m services.journal verify|replay|backfill|schema|expire|nightly [--dsn DSN]``.

verify      compare fold(events) with every state table
replay      print the state of one aggregate type, a JSON object a line, as of ``--valid-at`` and ``--known-at``
backfill    write events for rows that have none
schema      print the JSON schema of a table's row
expire      forget the answers of commands, and the tokens of sessions over, that are older than ``--days``
nightly     verify, then expire; with ``--every 24h`` at once and then again and again, until it is stopped

Exit codes: 0 done, 1 verify found a difference, 2 refused or failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from services.journal import nightly, read
from services.journal.backfill import backfill
from services.journal.expire import expire
from services.journal.fold import fold
from services.journal.schema import schema_of
from services.journal.services import JOURNALS, Journal
from services.journal.verify import verify
from services.shared.errors import StartupError
from services.shared.event import Aggregate


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("needs a time zone, e.g. 2026-04-01T00:00+09:00")
    return moment


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("needs a day at least: clients repeat their commands for so long")
    return int(text)


def _period(text: str) -> float:
    """Seconds."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError("needs a number and its unit, e.g. 24h, 30m or 90s")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.journal", description="Read the domain events back.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dsn", default=os.environ.get("PLATFORM_DSN"), help="an administrator's; or $PLATFORM_DSN")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verify", parents=[common])
    replay = commands.add_parser("replay", parents=[common])
    replay.add_argument("--valid-at", type=_moment, metavar="TIME", help="leave out what counts only afterwards")
    replay.add_argument("--known-at", type=_moment, metavar="TIME", help="leave out what was recorded afterwards")
    replay.add_argument("--id", type=UUID)
    commands.add_parser("backfill", parents=[common]).add_argument("--batch-rows", type=int, default=1_000)
    commands.add_parser("expire", parents=[common]).add_argument("--days", type=_days, default=30)
    each_night = commands.add_parser("nightly", parents=[common])
    each_night.add_argument("--days", type=_days, default=30)
    each_night.add_argument("--every", type=_period, metavar="PERIOD", help="e.g. 24h; without it: once")
    schema = commands.add_parser("schema", parents=[common])
    schema.add_argument("--version", type=int, required=True)
    for command in (replay, schema):
        command.add_argument("aggregate", help="e.g. directory.pharmacy")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 verify found a difference, 2 refused or failed."""
    given = _parser().parse_args(arguments)
    try:
        if not given.dsn:
            raise StartupError("missing", subject="--dsn", fix="give --dsn, or set PLATFORM_DSN")
        return _run(given)
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
    except psycopg.Error as error:
        _complain(error)
    return 2


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "verify":
            compared = verify(given.dsn)
            for table in compared:
                _line(asdict(table))
            return 1 if any(table.differing for table in compared) else 0
        case "backfill":
            written = backfill(
                given.dsn,
                batch_rows=given.batch_rows,
                tell=_say,
            )
            _line(written)
            return 0
        case "expire":
            _line(expire(given.dsn, days=given.days))
            return 0
        case "nightly" if given.every is not None:
            nightly.repeat(given.dsn, days=given.days, every_s=given.every, tell=_line, complain=_complain)
            return 0
        case "nightly":
            return 0 if nightly.once(given.dsn, days=given.days, tell=_line) else 1
        case "replay":
            journal, aggregate = _named(given.aggregate)
            with read.snapshot(given.dsn) as connection:
                told = read.events(connection, aggregate, given.id)
                for _, state in fold(told, journal.upcasters, valid_at=given.valid_at, known_at=given.known_at):
                    sys.stdout.write(json.dumps(state, ensure_ascii=False) + "\n")
            return 0
        case _:
            _, aggregate = _named(given.aggregate)
            with read.snapshot(given.dsn) as connection:
                sys.stdout.write(json.dumps(schema_of(connection, aggregate, given.version), indent=2) + "\n")
            return 0


def _line(told: dict[str, Any]) -> None:
    """Flushed: whoever reads a log that is written for weeks waits for no buffer."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _complain(error: psycopg.Error) -> None:
    sys.stderr.write(f"database: {str(error).strip()}\n  fix: check the DSN, and that services.migrate has run\n")
    sys.stderr.flush()


def _say(kind: str, count: int) -> None:
    sys.stderr.write(f"{kind}: {count} events\n")


def _named(name: str) -> tuple[Journal, Aggregate]:
    known = {f"{a.schema}.{a.type}": (journal, a) for journal in JOURNALS for a in journal.aggregates}
    if name not in known:
        raise StartupError("no such aggregate", subject=name, fix=f"one of: {', '.join(known)}")
    return known[name]


if __name__ == "__main__":
    sys.exit(main())
