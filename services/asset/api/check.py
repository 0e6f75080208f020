"""GET /v1/licenses/check: may this holder use this product now?

The one question that can't wait for the lake: a seat that was released, a user who was suspended or a contract that
ended a second ago must not open a door. The answer is one index read on the tables themselves, those of the directory
included, so it is as fresh as the last commit and needs no other service.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from services.shared.errors import InvalidRequest
from services.web.call import Reading

router = APIRouter(prefix="/licenses", tags=["check"])

# Of several seats the one that opens. Days are those of Japan, where the contracts are signed.
_SEAT = """
SELECT a.license_id, a.seat, contract.ends_on::text AS ends_on,
    CASE
        WHEN a.user_id IS NOT NULL AND u.status IS DISTINCT FROM 'active' THEN 'user-' || coalesce(u.status, 'unknown')
        WHEN contract.starts_on > day.today THEN 'contract-not-begun'
        WHEN contract.ends_on <= day.today THEN 'contract-ended'
        ELSE 'seat-held'
    END AS because
FROM (SELECT (now() AT TIME ZONE 'Asia/Tokyo')::date AS today) AS day
CROSS JOIN asset.assignments AS a
JOIN asset.licenses AS license ON license.tenant_id = a.tenant_id AND license.id = a.license_id
JOIN asset.contracts AS contract ON contract.tenant_id = a.tenant_id AND contract.id = license.contract_id
LEFT JOIN directory.users AS u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
WHERE a.tenant_id = %(tenant)s AND a.released_at IS NULL AND a.product = %(product)s
"""
_SEAT_OF_USER = _SEAT + "AND a.user_id = %(holder)s"
_SEAT_OF_DEVICE = _SEAT + "AND a.device_id = %(holder)s"


@router.get("/check", summary="Check whether a product may be used now")
def check(
    caller: Reading,
    product: Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]{1,39}$")],
    user_id: UUID | None = None,
    device_id: UUID | None = None,
) -> Response:
    """200 either way: ``allowed``, and ``because`` of what.

    seat-held · no-seat · user-invited, user-suspended, user-retired · contract-not-begun · contract-ended.
    A user, a product or a tenant that isn't there has no seat.
    """
    if (user_id is None) == (device_id is None):
        raise InvalidRequest("name either user_id or device_id")
    with caller.database.tenant_reading(caller.context) as reading:
        seats = reading.rows(
            _SEAT_OF_USER if user_id is not None else _SEAT_OF_DEVICE,
            {"tenant": reading.tenant_id, "product": product, "holder": user_id or device_id},
        )
    opening = next((seat for seat in seats if seat["because"] == "seat-held"), None)
    told = opening or (seats[0] if seats else {"license_id": None, "seat": None, "ends_on": None, "because": "no-seat"})
    return JSONResponse(
        {
            "allowed": opening is not None,
            "because": told["because"],
            "license_id": None if told["license_id"] is None else str(told["license_id"]),
            "seat": told["seat"],
            "ends_on": told["ends_on"],
        },
        headers={"Cache-Control": "no-store"},
    )
