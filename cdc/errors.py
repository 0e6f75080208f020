"""Every error that a person may see: what happened, to which object, and the next command to type.

    RirekiError
    ├── SourceError            (here) PostgreSQL
    │   ├── SourceUnreachable
    │   │   └── SnapshotGone
    │   ├── ServerTooOld
    │   ├── EncodingUnknown
    │   ├── WalLevelNotLogical
    │   ├── SlotsExhausted
    │   ├── PrivilegeMissing
    │   ├── PublicationMissing
    │   ├── TableNotPublished
    │   ├── SlotInUse
    │   ├── SlotLost
    │   ├── SourceReplaced
    │   ├── TypeNotSupported
    │   ├── BinaryUnreadable
    │   └── ProtocolViolation
    ├── NoRoomToSpill          (here) the disk beside us
    ├── LakeError              lakehouse.errors
    ├── ConfigError            pipelines.errors
    └── StackError             infra.errors

A test walks this tree and holds that every leaf has a ``fix``.
"""

from __future__ import annotations

from typing import ClassVar


class RirekiError(Exception):
    """Base of all. ``what`` happened, to which ``subject``, and the ``fix``: the next thing to type.

    A leaf states its fix as a class attribute, in which ``{subject}`` stands for the object; an instance may
    give a closer one.
    """

    default_fix: ClassVar[str] = ""
    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, subject: str, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.subject = subject
        self.fix = fix if fix is not None else self.default_fix.replace("{subject}", subject)

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


class SourceError(RirekiError):
    """Something about the PostgreSQL that is read."""


class SourceUnreachable(SourceError):
    default_fix = "check host, port and password in [source] of rireki.toml, then: rireki doctor"


class SnapshotGone(SourceUnreachable):
    default_fix = "nothing: the copy begins anew by itself"


class ServerTooOld(SourceError):
    default_fix = "upgrade to PostgreSQL 14 or later (the binary protocol begins there), then: rireki doctor"


class EncodingUnknown(SourceError):
    default_fix = "pg_dump it and restore into a database WITH ENCODING 'UTF8', then: rireki doctor"


class WalLevelNotLogical(SourceError):
    default_fix = "ALTER SYSTEM SET wal_level = 'logical'; restart PostgreSQL; then: rireki doctor"


class SlotsExhausted(SourceError):
    default_fix = "ALTER SYSTEM SET {subject} = '20'; restart PostgreSQL; then: rireki doctor"


class PrivilegeMissing(SourceError):
    default_fix = "grant it as the table's owner or a superuser, then: rireki doctor"


class PublicationMissing(SourceError):
    default_fix = "rireki init --source DSN --lake URL --tables 'schema.*'"


class TableNotPublished(SourceError):
    default_fix = "ALTER PUBLICATION … ADD TABLE {subject}; the running stream follows it"


class SlotInUse(SourceError):
    default_fix = (
        "another capture holds the slot: stop it, or see SELECT * FROM pg_replication_slots; then: rireki capture"
    )


class SlotLost(SourceError):
    default_fix = (
        "rireki resync --all --accept-gap (what is missing goes on record), then: rireki capture (copies every table)"
    )


class SourceReplaced(SourceError):
    default_fix = (
        "connect to the server that the lake was filled from; if this one was meant: rireki resync --all --accept-gap "
        "(what is missing goes on record), then: rireki capture"
    )


class TypeNotSupported(SourceError):
    default_fix = "leave the column out of the publication's column list for {subject}, then: rireki doctor"


class BinaryUnreadable(SourceError):
    default_fix = "rireki capture again: it asks for text"


class ProtocolViolation(SourceError):
    default_fix = "keep the log and report it; rireki capture resumes where it stopped"


class NoRoomToSpill(RirekiError):
    default_fix = "free some room in {subject}, or name a larger disk in [capture] spill_dir; then: rireki capture"
