"""GET /v1/events: what happened to one aggregate, who did it and why."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from services.directory.api import reads
from services.directory.call import Reading

router = APIRouter(prefix="/events", tags=["history"])


@router.get("")
def of_aggregate(
    caller: Reading,
    aggregate_id: UUID,
    after_version: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: reads.Limit = 50,
) -> Response:
    """Oldest first; ``next`` is the ``after_version`` of the next page, or null."""
    with caller.database.tenant_reading(caller.context) as reading:
        rows = reading.rows(
            "SELECT to_jsonb(event) AS event FROM directory.events AS event WHERE tenant_id = %s "
            "AND aggregate_type = ANY('{tenant,organisation,pharmacy,user,membership,role_grant}') "
            "AND aggregate_id = %s AND aggregate_version > %s ORDER BY aggregate_version LIMIT %s",
            (reading.tenant_id, aggregate_id, after_version, limit + 1),
        )
    items = [row["event"] for row in rows[:limit]]
    return JSONResponse({"items": items, "next": items[-1]["aggregate_version"] if len(rows) > limit else None})
