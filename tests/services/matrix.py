"""tenant × role × table × command, read from the catalogue: what is in it decides what is tried.

Each denial stands beside its positive control. What a cell tries is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb

from services.migrate.apply import OWNER
from services.migrate.files import FOLDERS
from tests.services.context import bind

SCHEMAS = tuple(folder.schema for folder in FOLDERS if folder.login_role)
ROLES = (*(folder.login_role for folder in FOLDERS if folder.login_role), "auth_secrets", OWNER)
COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class Cell:
    role: str
    table: str  # schema.table
    command: str
    tenant: str  # mine, theirs, nobody's: whose rows are tried for while mine is bound; unbound: none is

    def __str__(self) -> str:
        return f"{self.role}: {self.command} {self.table}, {self.tenant}"


def tables(admin: psycopg.Connection[Any]) -> list[str]:
    """Every table that has a tenant, of every service; what belongs to nobody is exempt, and says so."""
    return [
        f"{schema}.{table}"
        for schema, table in admin.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped "
            "WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') "
            "AND coalesce(obj_description(c.oid, 'pg_class'), '') NOT LIKE 'rls:exempt _%%' ORDER BY 1, 2",
            (list(SCHEMAS),),
        )
    ]


def breaches(
    admin: psycopg.Connection[Any], mine: str, theirs: str, only: Sequence[str] | None = None
) -> list[tuple[Cell, str]]:
    """Every cell that came out otherwise than it must, and how."""
    return [
        (cell, told)
        for table in only or tables(admin)
        for role in ROLES
        for command in COMMANDS
        for cell, told in _try(admin, role, table, command, mine, theirs)
        if told
    ]


def _try(
    admin: psycopg.Connection[Any], role: str, table: str, command: str, mine: str, theirs: str
) -> Iterator[tuple[Cell, str]]:
    schema, _, name = table.partition(".")
    has = "has_table_privilege" if command == "DELETE" else "has_any_column_privilege"
    granted = admin.execute(
        f"SELECT {has}(%(role)s, %(table)s, %(command)s) AND has_schema_privilege(%(role)s, %(schema)s, 'USAGE')",
        {"role": role, "table": table, "command": command, "schema": schema},
    ).fetchone() == (True,)
    relation = sql.Identifier(schema, name)
    for whose, tenant in (("mine", mine), ("theirs", theirs)):
        for bound in (True, False):
            cell = Cell(role, table, command, whose if bound else f"{whose}, unbound")
            row = admin.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE tenant_id = %s LIMIT 1").format(relation), (tenant,)
            ).fetchone()
            if row is None:
                yield cell, "there is no row to try with: add one to the fixture"
                continue
            column = _updatable_column(admin, table, role)
            with _as(admin, role, mine if bound else None):
                outcome = _outcome(admin, relation, command, tenant, row[0], column)
            visible = bound and whose == "mine"
            yield cell, _judge(outcome, command, granted, visible)


def _outcome(
    connection: psycopg.Connection[Any],
    relation: sql.Identifier,
    command: str,
    tenant: str,
    row: dict[str, Any],
    column: str,
) -> str:
    """``rows``, ``none``, ``passed`` (stopped by something behind the policy), ``policy`` or ``grant``."""
    match command:
        case "SELECT":
            statement = sql.SQL("SELECT tenant_id FROM {} WHERE tenant_id = %s").format(relation)
            arguments: tuple[Any, ...] = (tenant,)
        case "INSERT":
            statement = sql.SQL("INSERT INTO {r} SELECT * FROM jsonb_populate_record(NULL::{r}, %s)").format(r=relation)
            arguments = (Jsonb(row),)
        case "UPDATE":
            statement = sql.SQL("UPDATE {r} SET {c} = {c} WHERE tenant_id = %s").format(
                r=relation, c=sql.Identifier(column)
            )
            arguments = (tenant,)
        case _:
            statement = sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(relation)
            arguments = (tenant,)
    try:
        return "rows" if connection.execute(statement, arguments).rowcount else "none"
    except pg.InsufficientPrivilege as refused:
        return "policy" if "row-level security" in str(refused) else "grant"
    except (pg.UniqueViolation, pg.RestrictViolation, pg.ForeignKeyViolation):
        return "passed"


def _updatable_column(admin: psycopg.Connection[Any], table: str, role: str) -> str:
    """One that the role may update, else any."""
    found = admin.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "ORDER BY NOT has_column_privilege(%s, attrelid, attnum, 'UPDATE'), attname <> 'updated_at', attnum LIMIT 1",
        (table, role),
    ).fetchone()
    assert found is not None
    return str(found[0])


def _judge(outcome: str, command: str, granted: bool, visible: bool) -> str:
    """Empty where the outcome is right."""
    if not granted:
        right = {"grant"}
    elif visible:
        right = {"rows", "passed"}
    else:
        # The append-only trigger fires per statement, before any row is looked for.
        right = {"policy"} if command == "INSERT" else {"none", "passed"}
    return "" if outcome in right else f"{outcome}, not {' or '.join(sorted(right))}"


@contextmanager
def _as(admin: psycopg.Connection[Any], role: str, tenant: str | None) -> Iterator[None]:
    with admin.transaction(force_rollback=True):
        bind(admin, tenant)
        admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        yield
