"""``rireki rls``: row security of the platform's tables, put to work in stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import psycopg
from cyclopts import Parameter
from psycopg import errors as pg
from psycopg import sql

from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, moment, note, table
from pipelines.config import load
from pipelines.errors import CommandInvalid, StageRefused

Action = Literal["status", "observe", "log", "enforce"]
_OWNER = sql.Identifier("platform_owner")


def rls(
    action: Action,
    *tables: str,
    dsn: Annotated[str | None, Parameter(env_var="PLATFORM_DSN", show_env_var=True)] = None,
    reason: str = "",
    quiet_days: float = 7,
    queries: int = 10,
    common: Common = COMMON,
) -> int:
    """Which tables keep tenants apart, and what would be hidden from whom.

    Parameters
    ----------
    action
        status: every table's stage, and the queries that were hit. observe: let pass, count what would be hidden. log:
        the same, each time with both tenants. enforce: hide it.
    tables
        schema.table; status shows all without one.
    dsn
        The administrator's, who may act as platform_owner; [source] of rireki.toml without it.
    reason
        Why; kept with the change.
    quiet_days
        enforce only where nothing was hit for so long, and the table was observed for as long.
    queries
        How many of the latest hits status shows.
    """
    if action != "status" and not tables:
        raise CommandInvalid("name the tables", subject=f"rireki rls {action}", fix=f"rireki rls {action} schema.table")
    with _platform(dsn, common) as connection:
        if action != "status":
            for name in tables:
                _put(connection, name, action, reason, quiet_days)
        return _status(connection, tables, queries, common)


@contextmanager
def _platform(dsn: str | None, common: Common) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(dsn or os.environ.get("PLATFORM_DSN") or load(common.config).conninfo()) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(_OWNER))
            yield connection
    except (pg.UndefinedFunction, pg.UndefinedObject, pg.InvalidSchemaName, pg.InvalidParameterValue) as error:
        raise StageRefused(
            "this isn't the platform's database, or it isn't migrated",
            subject="rls",
            fix="give --dsn, and run: python -m services.migrate",
        ) from error
    except pg.InsufficientPrivilege as error:
        raise StageRefused(
            str(error).strip(), subject="rls", fix="give the administrator's --dsn, or set PLATFORM_DSN"
        ) from error
    except psycopg.OperationalError as error:
        raise StageRefused(str(error).strip(), subject="rls", fix="check --dsn and that PostgreSQL runs") from error


def _put(connection: psycopg.Connection[Any], name: str, stage: str, reason: str, quiet_days: float) -> None:
    """One table, in a transaction of its own. Raises StageRefused."""
    try:
        with connection.transaction():
            connection.execute(
                "SELECT rls.set_stage(to_regclass(%s), %s, %s, make_interval(secs => %s))",
                (name, stage, reason or None, quiet_days * 86400),
            )
    except pg.ObjectNotInPrerequisiteState as error:
        raise StageRefused(
            error.diag.message_primary or "",
            subject=name,
            fix="rireki rls status shows the queries; correct them, or wait, or give a smaller --quiet-days",
        ) from error
    except pg.LockNotAvailable as error:
        raise StageRefused("the table is busy", subject=name, fix=f"again: rireki rls {stage} {name}") from error
    except (pg.UndefinedTable, pg.NullValueNotAllowed, pg.SyntaxError, pg.UndefinedObject) as error:
        raise StageRefused(
            "no table with a tenant policy", subject=name, fix="rireki rls status lists those there are"
        ) from error


def _status(connection: psycopg.Connection[Any], tables: tuple[str, ...], queries: int, common: Common) -> int:
    stages = connection.execute(
        "SELECT relation, stage, since, hits, last_hit FROM rls.status() "
        "WHERE %(t)s::text[] = '{}' OR relation = ANY(%(t)s)",
        {"t": list(tables)},
    ).fetchall()
    hits = connection.execute(
        "SELECT relation, hits, last_at, login_role, application, query FROM rls.shadow_hits "
        "WHERE %(t)s::text[] = '{}' OR relation = ANY(%(t)s) ORDER BY last_at DESC LIMIT %(n)s",
        {"t": list(tables), "n": queries},
    ).fetchall()
    code = DONE if all(stage == "enforce" for _, stage, *_ in stages) else ATTENTION
    if common.json:
        names = ("table", "stage", "since", "hits", "last_hit")
        hit_names = ("table", "hits", "last_at", "role", "application", "query")
        emit(
            {
                "tables": [dict(zip(names, row, strict=True)) for row in stages],
                "hits": [dict(zip(hit_names, row, strict=True)) for row in hits],
            }
        )
        return code
    table(
        ["table", "stage", "since", "hits", "last hit"],
        [(name, stage, since and moment(since), n, last and moment(last)) for name, stage, since, n, last in stages],
    )
    for name, n, last, role, application, query in hits:
        note(f"{name}: {n} hits by {role} ({application}), last {moment(last)}: {' '.join(query.split())}")
    return code
