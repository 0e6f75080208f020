"""Everything that can happen to an account, once: one event of every type."""

from __future__ import annotations

from uuid import UUID, uuid4

from services.auth import clients, keys, upstreams
from services.auth.handle import NOBODY
from services.auth.vault import Vault
from services.shared.context import Context
from services.shared.transaction import Database
from tests.services.auth.conftest import MASTER_KEY, Auth, Member, product, register


def tell(auth: Auth) -> Member:
    """Of a person whose tenant is merged into another at the end."""
    member, browser, operator = auth.member(name="佐藤 陽子"), auth.browser(), auth.operator
    refused = auth.browser()
    refused.submit(refused.authorize(), address=member.address, password="not the password")
    tokens = browser.tokens(member)
    refused.submit(refused.authorize(), address=member.address, password="not the password")
    operator.tenant = member.tenant
    operator.do(f"/v1/users/{member.id}/unlock")
    connect_upstream(auth, member)
    browser.set_up_app()
    product(auth, "/revoke", {"token": tokens["refresh_token"]})
    operator.do(f"/v1/users/{member.id}/end-sessions")
    operator.do(f"/v1/users/{member.id}/reset-factors")
    operator.do(f"/v1/users/{member.id}/shred-secrets")
    last = auth.browser()
    last.log_in(member)
    last.set_up_app()
    into = auth.directory.found()
    auth.directory.tenant = member.tenant
    auth.directory.do("/v1/tenant/merge", {"into": into}, version=1)
    configure(auth)
    return member


def configure(auth: Auth) -> None:
    """What operators do for every tenant: a product comes, changes its secret and goes; the keys rotate."""
    database = Database(auth.platform.dsn_of("auth"), max_connections=1, name="test")
    database.open()
    operator = Context(NOBODY, "operator", "operator:sato", "r", uuid4(), reason="the contract has ended")
    client_id = f"product-{uuid4().hex[:8]}"
    register(auth.platform, client_id)
    # The secrets differ in age, so each comes in its own transaction.
    with database.tenant_transaction(operator) as transaction:
        clients.add_secret(transaction, client_id)
    with database.tenant_transaction(operator) as transaction:
        clients.end_old_secrets(transaction, client_id)
        clients.end(transaction, client_id)
    keys.rotate(database, Vault(MASTER_KEY), operator, at_once=True)
    database.close()


def connect_upstream(auth: Auth, member: Member) -> None:
    """Without the provider: what it says is another test's business."""
    database = Database(auth.platform.dsn_of("auth"), max_connections=1, name="test")
    database.open()
    context = Context(UUID(member.tenant), "user", member.id, "r", uuid4())
    with database.tenant_transaction(context) as transaction:
        connected = upstreams.connect(
            transaction,
            Vault(MASTER_KEY),
            slug=f"sakura-{uuid4().hex[:8]}",
            name="Sakura Group",
            issuer="https://idp.sakura.example",
            client_id="rireki",
            secret="a secret",
        )
        upstream = upstreams.find(transaction, connected.aggregate_id)
        assert upstream is not None
        upstreams.link(transaction, upstream, "sub-of-sato", UUID(member.id))
    database.close()
