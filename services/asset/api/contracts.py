"""/v1/contracts, with the licenses issued under them."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.asset.commands import contracts, licenses
from services.asset.events import CONTRACT
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/contracts", tags=["contracts"])


@router.post("", summary="Sign a contract", status_code=201)
def sign(body: contracts.SignContract, call: Commanding) -> Response:
    return call.run(body, lambda transaction: contracts.sign(transaction, call.new_id, body))


@router.post("/{id}/terminate", summary="Terminate a contract")
def terminate(id: UUID, body: contracts.TerminateContract, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: contracts.terminate(transaction, id, expected, body))


@router.post("/{id}/licenses", summary="Issue a license under a contract", status_code=201)
def issue(id: UUID, body: licenses.IssueLicense, call: Commanding) -> Response:
    return call.run(body, lambda transaction: licenses.issue(transaction, call.new_id, id, body))


@router.get("", summary="List contracts")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, CONTRACT, after, limit)


@router.get("/{id}", summary="Read a contract")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, CONTRACT, id)
