"""/v1/devices."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from services.asset.commands import devices
from services.asset.events import DEVICE
from services.web import reads
from services.web.call import Commanding, Reading

router = APIRouter(prefix="/devices", tags=["devices"])


@router.post("", summary="Register a device", status_code=201)
def register(body: devices.RegisterDevice, call: Commanding) -> Response:
    return call.run(body, lambda transaction: devices.register(transaction, call.new_id, body))


@router.post("/{id}/move", summary="Move a device to another pharmacy")
def move(id: UUID, body: devices.MoveDevice, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: devices.move(transaction, id, expected, body))


@router.post("/{id}/lose", summary="Report a device lost")
def lose(id: UUID, body: devices.ReportDevice, call: Commanding) -> Response:
    """Reported lost: its seats are released at once."""
    expected = call.expected_version
    return call.run(body, lambda transaction: devices.lose(transaction, id, expected))


@router.post("/{id}/find", summary="Report a device found")
def find(id: UUID, body: devices.ReportDevice, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: devices.find(transaction, id, expected))


@router.post("/{id}/retire", summary="Retire a device")
def retire(id: UUID, body: devices.ReportDevice, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: devices.retire(transaction, id, expected))


@router.get("", summary="List devices")
def page(caller: Reading, after: reads.After = None, limit: reads.Limit = 50) -> Response:
    return reads.page(caller, DEVICE, after, limit)


@router.get("/{id}", summary="Read a device")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, DEVICE, id)
