"""Reading one aggregate, a page of them, or what happened to one, as the database writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from psycopg import sql

from services.shared.errors import NotFound
from services.shared.event import Aggregate
from services.web.call import Caller, Reading

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


def history(schema: str, aggregates: Sequence[Aggregate]) -> APIRouter:
    """GET /events: what happened to one aggregate, who did it and why."""
    router = APIRouter(prefix="/events", tags=["history"])
    # Named one by one, so that the index over type, id and version serves.
    types = [aggregate.type for aggregate in aggregates]

    @router.get("", summary="List the events of one aggregate")
    def of_aggregate(
        caller: Reading,
        aggregate_id: UUID,
        after_version: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Limit = 50,
    ) -> Response:
        """Oldest first; ``next`` is the ``after_version`` of the next page, or null."""
        with caller.database.tenant_reading(caller.context) as reading:
            rows = reading.rows(
                sql.SQL(
                    "SELECT to_jsonb(event) AS event FROM {} AS event "
                    "WHERE tenant_id = %s AND aggregate_type = ANY(%s) AND aggregate_id = %s "
                    "AND aggregate_version > %s ORDER BY aggregate_version LIMIT %s"
                ).format(sql.Identifier(schema, "events")),
                (reading.tenant_id, types, aggregate_id, after_version, limit + 1),
            )
        items = [row["event"] for row in rows[:limit]]
        return JSONResponse({"items": items, "next": items[-1]["aggregate_version"] if len(rows) > limit else None})

    return router
