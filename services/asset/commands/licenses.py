"""Issue licenses under a contract, and change how many seats they have."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from services.asset.events import CONTRACT, LICENSE, LICENSE_ISSUED, LICENSE_RESIZED
from services.shared.errors import Conflict, NotFound
from services.shared.event import record
from services.shared.state import hold, lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command

Product = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Seats = Annotated[int, Field(ge=0, le=100_000)]


class IssueLicense(Command):
    product: Product
    seats: Seats


class ResizeLicense(Command):
    seats: Seats


def issue(transaction: TenantTransaction, id: UUID, contract_id: UUID, body: IssueLicense) -> Done:
    """Raises NotFound for an unknown contract or product, Conflict under a contract that is terminated."""
    contract = hold(transaction, CONTRACT, contract_id)
    if contract["terminated_at"] is not None:
        raise Conflict("the contract is terminated")
    if transaction.row("SELECT 1 FROM asset.products WHERE code = %s", (body.product,)) is None:
        raise NotFound(f"there is no product {body.product}", fix="see GET /v1/products")
    transaction.execute(
        "INSERT INTO asset.licenses (id, tenant_id, contract_id, product, seats, version) "
        "VALUES (%s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, contract_id, body.product, body.seats),
    )
    return Done.of(record(transaction, LICENSE_ISSUED, id, 1), created=True)


def resize(transaction: TenantTransaction, id: UUID, expected_version: int, body: ResizeLicense) -> Done:
    """Raises NotFound, VersionConflict, Conflict when a seat beyond the new number is held, or nothing changes."""
    license = lock(transaction, LICENSE, id, expected_version)
    if license["seats"] == body.seats:
        raise Conflict(f"it has {body.seats} seats already")
    held = transaction.row(
        "SELECT max(seat) AS highest FROM asset.assignments "
        "WHERE tenant_id = %s AND license_id = %s AND released_at IS NULL",
        (transaction.tenant_id, id),
    )
    if held is not None and held["highest"] is not None and held["highest"] > body.seats:
        raise Conflict(f"seat {held['highest']} is held", fix=f"release every seat above {body.seats} first")
    transaction.execute(
        "UPDATE asset.licenses SET seats = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.seats, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, LICENSE_RESIZED, id, expected_version + 1))
