"""Sign and terminate contracts."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, StringConstraints, model_validator

from services.asset.events import CONTRACT, CONTRACT_SIGNED, CONTRACT_TERMINATED
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.state import lock, need_tenant
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Day, printable

ContractNumber = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40), AfterValidator(printable)
]


class SignContract(Command):
    number: ContractNumber
    starts_on: Day
    ends_on: Day | None = None

    @model_validator(mode="after")
    def _in_order(self) -> SignContract:
        if self.ends_on is not None and self.ends_on < self.starts_on:
            raise ValueError("ends_on lies before starts_on")
        return self


class TerminateContract(Command):
    ends_on: Day


def sign(transaction: TenantTransaction, id: UUID, body: SignContract) -> Done:
    """Raises NotFound for an unknown tenant, Conflict for a number that the tenant has already."""
    need_tenant(transaction)
    touched = transaction.execute(
        "INSERT INTO asset.contracts (id, tenant_id, number, starts_on, ends_on, version) "
        "VALUES (%s, %s, %s, %s, %s, 1) ON CONFLICT DO NOTHING",
        (id, transaction.tenant_id, body.number, body.starts_on, body.ends_on),
    )
    if touched == 0:
        raise Conflict(f"the tenant has a contract {body.number} already", fix="find that one, or send another number")
    return Done.of(record(transaction, CONTRACT_SIGNED, id, 1), created=True)


def terminate(transaction: TenantTransaction, id: UUID, expected_version: int, body: TerminateContract) -> Done:
    """It ends on that day, in the past or the future; its seats open nothing from then on.

    Raises NotFound, VersionConflict, Conflict when it is terminated already or hadn't begun.
    """
    contract = lock(transaction, CONTRACT, id, expected_version)
    if contract["terminated_at"] is not None:
        raise Conflict(f"the contract is terminated already, on {contract['ends_on']}")
    if body.ends_on < contract["starts_on"]:
        raise Conflict(f"the contract begins on {contract['starts_on']}, after {body.ends_on}")
    transaction.execute(
        "UPDATE asset.contracts SET ends_on = %s, terminated_at = now(), version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.ends_on, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, CONTRACT_TERMINATED, id, expected_version + 1))
