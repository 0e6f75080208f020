"""Reading one aggregate, or a page of them, as the database writes it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from fastapi.responses import JSONResponse
from psycopg import sql

from services.directory.call import Caller
from services.shared.errors import NotFound
from services.shared.event import Aggregate

Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[UUID | None, Query(description="the last id of the page before")]


def one(caller: Caller, aggregate: Aggregate, id: UUID) -> JSONResponse:
    """The state and its ETag. Raises NotFound."""
    with caller.database.tenant_reading(caller.context) as reading:
        row = reading.row(
            sql.SQL("SELECT to_jsonb(state) AS state FROM {} AS state WHERE tenant_id = %s AND {} = %s").format(
                sql.Identifier(aggregate.schema, aggregate.table), sql.Identifier(aggregate.key)
            ),
            (reading.tenant_id, id),
        )
    if row is None:
        raise NotFound(f"there is no {aggregate.type.replace('_', ' ')} {id}")
    state: dict[str, Any] = row["state"]
    return JSONResponse(state, headers={"ETag": f'"{state["version"]}"'})


def page(caller: Caller, aggregate: Aggregate, after: UUID | None, limit: int) -> JSONResponse:
    """``{"items": […], "next": id or null}``, by id."""
    with caller.database.tenant_reading(caller.context) as reading:
        rows = reading.rows(
            sql.SQL(
                "SELECT to_jsonb(state) AS state FROM {} AS state WHERE tenant_id = %(tenant)s "
                "AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s"
            ).format(sql.Identifier(aggregate.schema, aggregate.table)),
            {"tenant": reading.tenant_id, "after": after, "limit": limit + 1},
        )
    items = [row["state"] for row in rows[:limit]]
    return JSONResponse({"items": items, "next": items[-1]["id"] if len(rows) > limit else None})
