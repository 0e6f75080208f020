"""``python -m services.auth.registry clients|keys …``: which products there are, and which keys sign.

clients list
clients register CLIENT_ID --name NAME --redirect-uri URI… [--post-logout-redirect-uri URI…]
                 [--public | --secret-in-body] [--no-refresh] [--may-introspect] [--requires-second-factor]
clients new-secret CLIENT_ID        beside the earlier ones, so that the product can change over
clients end-old-secrets CLIENT_ID   once it has
clients end CLIENT_ID
keys list
keys rotate [--at-once]             once a quarter; at once if the current one has leaked

What changes something is an event that says who (--actor; else who is logged in here), when and why (--reason).
Needs AUTH_DSN, and for keys AUTH_MASTER_KEY. Prints JSON, a line each. Exit codes: 0 done, 2 refused or failed.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg

from services.auth import clients, keys
from services.auth.clients import AuthMethod
from services.auth.handle import NOBODY
from services.auth.settings import master_key_of, secret_of
from services.auth.vault import Vault
from services.shared.context import Context
from services.shared.errors import ServiceError, StartupError
from services.shared.transaction import Database, TenantTransaction

Told = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 refused or failed."""
    given = _parser().parse_args(arguments)
    try:
        with _database() as database:
            for line in _run(given, database):
                sys.stdout.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
        return 0
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
    except ServiceError as error:
        sys.stderr.write(f"{error.what}\n  fix: {error.fix}\n")
    except psycopg.Error as error:
        sys.stderr.write(f"database: {str(error).strip()}\n  fix: check AUTH_DSN, and that services.migrate has run\n")
    return 2


def _run(given: argparse.Namespace, database: Database) -> Iterator[Told]:
    match given.subject, given.command:
        case "keys", "list":
            yield from keys.ring(database)
        case "keys", _:
            vault = Vault(master_key_of(secret_of(os.environ, "AUTH_MASTER_KEY")))
            current, following = keys.rotate(database, vault, _operator(given), at_once=given.at_once)
            yield {"current": current, "next": following}
        case _, command:
            with database.tenant_transaction(_operator(given)) as open:
                told = list(_clients(given, command, open))
            yield from told


def _clients(given: argparse.Namespace, command: str, transaction: TenantTransaction) -> Iterator[Told]:
    match command:
        case "list":
            yield from clients.registered(transaction)
        case "register":
            secret = clients.register(
                transaction,
                given.client_id,
                given.name,
                auth_method=_method(given),
                redirect_uris=given.redirect_uri,
                post_logout_redirect_uris=given.post_logout_redirect_uri,
                may_refresh=not given.no_refresh,
                may_introspect=given.may_introspect,
                requires_second_factor=given.requires_second_factor,
            )
            yield {"client_id": given.client_id, "client_secret": secret}
        case "new-secret":
            yield {"client_id": given.client_id, "client_secret": clients.add_secret(transaction, given.client_id)}
        case "end-old-secrets":
            yield {"client_id": given.client_id, "ended": clients.end_old_secrets(transaction, given.client_id)}
        case _:
            clients.end(transaction, given.client_id)
            yield {"client_id": given.client_id, "ended": True}


def _operator(given: argparse.Namespace) -> Context:
    id = uuid4()
    return Context(NOBODY, "operator", given.actor or _logged_in(), f"registry-{id}", id, reason=given.reason)


def _logged_in() -> str:
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError) as error:  # an account without a name, as in a container
        raise StartupError("can't be told from here", subject="who acts", fix="say --actor operator:<name>") from error


def _method(given: argparse.Namespace) -> AuthMethod:
    if given.public:
        return "none"
    return "client_secret_post" if given.secret_in_body else "client_secret_basic"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.auth.registry", description="Products and signing keys.")
    parser.add_argument("--actor", metavar="NAME", help="who acts, e.g. operator:sato; default who is logged in here")
    parser.add_argument("--reason", help="kept with the event")
    subjects = parser.add_subparsers(dest="subject", required=True)
    of_clients = subjects.add_parser("clients", help="the products that users log in to").add_subparsers(
        dest="command", required=True
    )
    of_clients.add_parser("list", help="all that haven't ended")
    register = of_clients.add_parser("register", help="prints the secret, this once")
    register.add_argument("client_id")
    register.add_argument("--name", required=True, help="as users know it")
    register.add_argument("--redirect-uri", action="append", required=True, metavar="URI", help="to the character")
    register.add_argument("--post-logout-redirect-uri", action="append", default=[], metavar="URI")
    how = register.add_mutually_exclusive_group()
    how.add_argument("--public", action="store_true", help="it can't keep a secret: it runs in the user's hands")
    how.add_argument("--secret-in-body", action="store_true", help="client_secret_post; default client_secret_basic")
    register.add_argument("--no-refresh", action="store_true", help="its users come back for every token")
    register.add_argument("--may-introspect", action="store_true", help="it asks what a token is worth now")
    register.add_argument("--requires-second-factor", action="store_true", help="of every user, at every login")
    for name, told in (
        ("new-secret", "one more, printed this once; the earlier ones go on working"),
        ("end-old-secrets", "all but the newest stop working"),
        ("end", "nobody logs in to it any more"),
    ):
        of_clients.add_parser(name, help=told).add_argument("client_id")
    of_keys = subjects.add_parser("keys", help="what signs tokens").add_subparsers(dest="command", required=True)
    of_keys.add_parser("list", help="next, current, retired")
    of_keys.add_parser("rotate", help="next becomes current, current retires").add_argument(
        "--at-once", action="store_true", help="the current one has leaked: don't wait until the next one is known"
    )
    return parser


@contextmanager
def _database() -> Iterator[Database]:
    database = Database(secret_of(os.environ, "AUTH_DSN"), max_connections=1, name="services.auth.registry")
    database.open()
    try:
        yield database
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
