"""A chain of two stores, ready to be merged, split or sold."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import uuid4

import psycopg

from tests.services.auth.rows import open_account
from tests.services.conftest import Assets, Platform
from tests.services.context import bind

TABLES = (
    *("directory.organisations", "directory.pharmacies", "directory.pharmacy_codes", "directory.users"),
    *("directory.login_identifiers", "directory.memberships", "directory.role_grants"),
    *("asset.contracts", "asset.licenses", "asset.devices", "asset.assignments", "auth.accounts", "auth.factors"),
)


class Chain:
    """Two organisations with a pharmacy each; in each a user with a role, a device and seats for both."""

    def __init__(self, assets: Assets, platform: Platform) -> None:
        self.assets, self.api, self.platform = assets, assets.directory, platform
        self.id = assets.found()
        self.organisations = [self.api.organisation() for _ in range(2)]
        self.pharmacies, self.users, self.devices, self.seats = [], [], [], []
        license = assets.license(10)
        scanners = assets.license(10, "dispensing_audit")
        for number, organisation in enumerate(self.organisations):
            pharmacy = self.api.pharmacy(
                organisation, code=f"{int(uuid4()) % 10**10:010d}", code_valid_from="2001-04-01"
            )
            user = self.api.do(f"/v1/users/{self.api.user()['id']}/activate", version=1)
            self.api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]})
            self.api.do(f"/v1/users/{user['id']}/role-grants", {"role": "manager", "pharmacy_id": pharmacy["id"]})
            if number == 1:
                self.api.do(f"/v1/users/{user['id']}/role-grants", {"role": "auditor"})
            device = assets.device(pharmacy["id"])
            self.seats += [assets.assign(license, user_id=user["id"]), assets.assign(scanners, device_id=device["id"])]
            open_account(platform.database, self.id, user["id"])
            self.pharmacies.append(pharmacy)
            self.users.append(user)
            self.devices.append(device)

    def do(self, path: str, body: dict[str, Any], *, version: int = 1, **more: Any) -> dict[str, Any]:
        self.api.tenant = self.id
        return self.api.do(path, body, version=version, **more)

    def counts(self) -> dict[str, int]:
        return {table: self.platform.count(table, self.id) for table in TABLES}


def reorganise(assets: Assets) -> Chain:
    """A split, a pharmacy handed over to the new tenant, and a merger of what stayed; the chain it was done to."""
    chain, other, third = (Chain(assets, assets.platform) for _ in range(3))
    new = chain.do(
        "/v1/tenant/split",
        {"name": "分割後", "kana": "ブンカツゴ", "organisations": [chain.organisations[1]["id"]]},
    )
    third.do(
        f"/v1/pharmacies/{third.pharmacies[0]['id']}/hand-over",
        {"tenant_id": new["tenant_id"], "organisation_id": chain.organisations[1]["id"]},
    )
    chain.do("/v1/tenant/merge", {"into": other.id}, version=2)
    return third


def seen(platform: Platform, service: str, table: LiteralString, tenant: str, id: str) -> bool:
    with psycopg.connect(platform.dsn_of(service)) as connection:
        bind(connection, tenant)
        return connection.execute(f"SELECT id FROM {table} WHERE id = %s", (id,)).fetchone() is not None
