"""``rireki replay``: take what is in quarantine, now that nothing stands against it any more."""

from __future__ import annotations

from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.cli.resync import table_name
from pipelines.config import load
from pipelines.resync import request_resync


def replay(*tables: str, common: Common = COMMON) -> int:
    """Take the quarantined changes of tables, in order and at their own commits; the running capture does it where it
    stands in the log. What can't be taken still stays where it is, and says why.

    Parameters
    ----------
    tables
        schema.table, as in the source; none: all that have something in quarantine.
    """
    wanted = [table_name(text) for text in tables]
    request = request_resync(load(common.config), wanted, reason="", replay=True)
    if common.json:
        emit({"lsn": request.lsn, "tables": [str(name) for name in request.tables]})
        return DONE
    say(f"asked for at {request.lsn}")
    note("a running capture replays them now; otherwise: rireki drain")
    return DONE
