"""/v1/assignments: who holds which seat, and its release."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.asset.commands import assignments
from services.asset.events import ASSIGNMENT
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/assignments", tags=["assignments"])


@router.post("/{id}/release", summary="Release a seat")
def release(id: UUID, body: assignments.ReleaseSeat, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: assignments.release(transaction, id, expected))


@router.get("", summary="List seats that were assigned")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, ASSIGNMENT, after, limit)


@router.get("/{id}", summary="Read an assigned seat")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, ASSIGNMENT, id)
