"""A tenant's own identity provider, and which of the tenant's users its subjects are.

A link is made by its user, logged in, and found by (issuer, subject). Never by e-mail: whoever runs the provider could
write any address into a token, and addresses change hands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID, uuid4

from services.auth.events import UPSTREAM_CONNECTED, UPSTREAM_ENDED, UPSTREAM_LINKED, UPSTREAM_UNLINKED
from services.auth.secrets import among_secrets
from services.auth.vault import Vault
from services.shared.errors import Conflict, NotFound
from services.shared.event import Recorded, record
from services.shared.transaction import TenantTransaction


@dataclass(frozen=True, slots=True)
class Upstream:
    id: UUID
    tenant_id: UUID
    slug: str
    name: str
    issuer: str
    client_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Link:
    id: UUID
    upstream_id: UUID
    user_id: UUID
    version: int


_READ: LiteralString = (
    "SELECT id, tenant_id, slug, name, issuer, client_id, version FROM auth.upstreams "
    "WHERE tenant_id = %s AND ended_at IS NULL"
)
_LINKS: LiteralString = (
    "SELECT id, upstream_id, user_id, version FROM auth.upstream_links WHERE tenant_id = %s AND unlinked_at IS NULL"
)


def connect(
    transaction: TenantTransaction, vault: Vault, *, slug: str, name: str, issuer: str, client_id: str, secret: str
) -> Recorded:
    """Raises Conflict at the end when another tenant has that slug."""
    id = uuid4()
    transaction.execute(
        "INSERT INTO auth.upstreams (id, tenant_id, slug, name, issuer, client_id, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, slug, name, issuer, client_id),
    )
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.upstream_secrets (upstream_id, tenant_id, sealed) VALUES (%s, %s, %s)",
            (id, transaction.tenant_id, vault.seal("upstream-secret", secret.encode(), str(id))),
        )
    return record(transaction, UPSTREAM_CONNECTED, id, 1)


def end(transaction: TenantTransaction, id: UUID) -> Recorded:
    """Its links end with it, and its secret is deleted. Raises NotFound, Conflict."""
    row = transaction.row(
        "SELECT ended_at, version FROM auth.upstreams WHERE tenant_id = %s AND id = %s FOR NO KEY UPDATE",
        (transaction.tenant_id, id),
    )
    if row is None:
        raise NotFound(f"there is no upstream {id}")
    if row["ended_at"] is not None:
        raise Conflict("the upstream has ended already")
    for link in transaction.rows(_LINKS + " AND upstream_id = %s ORDER BY id", (transaction.tenant_id, id)):
        unlink(transaction, Link(**link))
    transaction.execute(
        "UPDATE auth.upstreams SET ended_at = now(), version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (transaction.tenant_id, id),
    )
    with among_secrets(transaction):
        transaction.execute(
            "DELETE FROM auth.upstream_secrets WHERE tenant_id = %s AND upstream_id = %s", (transaction.tenant_id, id)
        )
    return record(transaction, UPSTREAM_ENDED, id, row["version"] + 1)


def find(transaction: TenantTransaction, id: UUID) -> Upstream | None:
    row = transaction.row(_READ + " AND id = %s", (transaction.tenant_id, id))
    return Upstream(**row) if row else None


def of_tenant(transaction: TenantTransaction) -> list[Upstream]:
    return [Upstream(**row) for row in transaction.rows(_READ + " ORDER BY slug", (transaction.tenant_id,))]


def secret_of(transaction: TenantTransaction, vault: Vault, upstream: Upstream) -> str:
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT sealed FROM auth.upstream_secrets WHERE tenant_id = %s AND upstream_id = %s",
            (transaction.tenant_id, upstream.id),
        )
    assert row is not None  # deleted only together with the upstream's end
    return vault.unseal("upstream-secret", row["sealed"], str(upstream.id)).decode()


def link(transaction: TenantTransaction, upstream: Upstream, subject: str, user_id: UUID) -> None:
    """Passes over what is linked to the same user already. Raises Conflict when it is somebody else's."""
    existing = linked(transaction, upstream, subject)
    if existing is not None:
        if existing.user_id != user_id:
            raise Conflict("that login is connected to another user", fix="disconnect it there first")
        return
    id = uuid4()
    transaction.execute(
        "INSERT INTO auth.upstream_links (id, tenant_id, upstream_id, issuer, subject, user_id, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, upstream.id, upstream.issuer, subject, user_id),
    )
    record(transaction, UPSTREAM_LINKED, id, 1)


def linked(transaction: TenantTransaction, upstream: Upstream, subject: str) -> Link | None:
    row = transaction.row(
        _LINKS + " AND upstream_id = %s AND issuer = %s AND subject = %s",
        (transaction.tenant_id, upstream.id, upstream.issuer, subject),
    )
    return Link(**row) if row else None


def links_of(transaction: TenantTransaction, user_id: UUID) -> list[Link]:
    rows = transaction.rows(_LINKS + " AND user_id = %s ORDER BY id", (transaction.tenant_id, user_id))
    return [Link(**row) for row in rows]


def unlink(transaction: TenantTransaction, link: Link) -> Recorded:
    transaction.execute(
        "UPDATE auth.upstream_links SET unlinked_at = now(), version = version + 1 WHERE tenant_id = %s AND id = %s",
        (transaction.tenant_id, link.id),
    )
    return record(transaction, UPSTREAM_UNLINKED, link.id, link.version + 1)
