"""/v1/products: the vendor's catalogue."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from services.web.call import Reading

router = APIRouter(prefix="/products", tags=["products"])


@router.get("", summary="List products")
def catalogue(caller: Reading) -> Response:
    """All of them: there are few."""
    with caller.database.tenant_reading(caller.context) as reading:
        rows = reading.rows("SELECT to_jsonb(product) AS product FROM asset.products AS product ORDER BY code")
    return JSONResponse({"items": [row["product"] for row in rows]})
