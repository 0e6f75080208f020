"""POST /v1/tenants, GET /v1/tenant, POST /v1/tenant/rename, /merge and /split."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.directory.commands import reorganisation, tenants
from services.directory.events import TENANT
from services.web import reads
from services.web.call import Commanding, Founding, Reading

router = APIRouter(tags=["tenants"])


@router.post("/tenants", summary="Found a tenant", status_code=201)
def create(body: tenants.CreateTenant, call: Founding) -> Response:
    """Found a tenant. Its id comes from the Idempotency-Key."""
    return call.run(body, lambda transaction: tenants.create(transaction, body))


@router.post("/tenant/rename", summary="Rename the tenant")
def rename(body: tenants.RenameTenant, call: Commanding) -> Response:
    expected = call.expected_version
    return call.run(body, lambda transaction: tenants.rename(transaction, expected, body))


@router.post("/tenant/merge", summary="Merge the tenant into another")
def merge(body: reorganisation.MergeTenant, call: Commanding) -> Response:
    """All that this tenant has becomes another's; its events stay. Everybody logs in anew."""
    expected = call.expected_version
    return call.run(body, lambda transaction: reorganisation.merge(transaction, expected, body))


@router.post("/tenant/split", summary="Split a tenant off", status_code=201)
def split(body: reorganisation.SplitTenant, call: Commanding) -> Response:
    """Organisations, with all that hangs on them and whoever works there, become a tenant of their own."""
    expected = call.expected_version
    return call.run(body, lambda transaction: reorganisation.split(transaction, call.new_id, expected, body))


@router.get("/tenant", summary="Read the tenant")
def read(caller: Reading) -> Response:
    """The tenant that the caller acts for."""
    return reads.one(caller, TENANT, caller.context.tenant_id)
