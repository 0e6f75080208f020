"""What goes wrong, as the caller is told it.

ServiceError
├── Unauthenticated        401
├── NotFound               404   also for what belongs to another tenant: never a hint
├── Conflict               409   the state doesn't allow it, or something with that name is there already
├── VersionConflict        412   somebody else changed it in between
├── KeyReused              422   an idempotency key came back with another request
├── VersionRequired        428   no If-Match
├── InvalidRequest         422
└── Unavailable            503   try again with the same idempotency key

StartupError               no HTTP: the process refuses to start
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """``what`` happened, and the ``fix``: what the caller does next."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"  # stable name, the last part of the problem's type
    default_fix: ClassVar[str] = "report it with the request id"

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix if fix is not None else self.default_fix


class Unauthenticated(ServiceError):
    status = 401
    kind = "unauthenticated"
    default_fix = "send the service's token: Authorization: Bearer …"


class NotFound(ServiceError):
    status = 404
    kind = "not-found"
    default_fix = "check the id and the tenant that you act for (X-Tenant)"


class Conflict(ServiceError):
    status = 409
    kind = "conflict"
    default_fix = "read the current state and decide again"


class VersionConflict(ServiceError):
    status = 412
    kind = "version-conflict"
    default_fix = "read the current state and send its ETag as If-Match"


class InvalidRequest(ServiceError):
    status = 422
    kind = "invalid-request"
    default_fix = "correct the request; the fields are described at /docs"


class KeyReused(ServiceError):
    status = 422
    kind = "idempotency-key-reused"
    default_fix = "send a new Idempotency-Key for a new command, or the first request unchanged to repeat it"


class VersionRequired(ServiceError):
    status = 428
    kind = "version-required"
    default_fix = 'send the version you saw as If-Match, e.g. If-Match: "3"'


class Unavailable(ServiceError):
    status = 503
    kind = "unavailable"
    default_fix = "repeat the request with the same Idempotency-Key after a moment"


class StartupError(Exception):
    """The process can't serve safely: ``what`` is wrong with ``subject``, and the ``fix``."""

    def __init__(self, what: str, *, subject: str, fix: str) -> None:
        super().__init__(f"{subject}: {what}\n  fix: {fix}")
        self.what = what
        self.subject = subject
        self.fix = fix
