"""/v1/organisations."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.directory.commands import organisations
from services.directory.events import ORGANISATION
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/organisations", tags=["organisations"])


@router.post("", summary="Register an organisation", status_code=201)
def register(body: organisations.RegisterOrganisation, call: Commanding) -> Response:
    return call.run(body, lambda transaction: organisations.register(transaction, call.new_id, body))


@router.post("/{id}/rename", summary="Rename an organisation")
def rename(id: UUID, body: organisations.RenameOrganisation, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: organisations.rename(transaction, id, expected, body))


@router.post("/{id}/move", summary="Move an organisation in the tree")
def move(id: UUID, body: organisations.MoveOrganisation, call: Commanding) -> Response:
    """Under another one, or (null) to the top."""
    expected = call.expected_version
    return call.run(body, lambda transaction: organisations.move(transaction, id, expected, body))


@router.post("/{id}/close", summary="Close an organisation")
def close(id: UUID, body: organisations.CloseOrganisation, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: organisations.close(transaction, id, expected, body))


@router.get("", summary="List organisations")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, ORGANISATION, after, limit)


@router.get("/{id}", summary="Read an organisation")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, ORGANISATION, id)
