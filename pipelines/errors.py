"""What can be wrong around a stream: the configuration, the command line, what was asked for.

RirekiError (cdc.errors)
└── ConfigError
    ├── ConfigMissing       no rireki.toml where one was looked for
    ├── ConfigUnreadable    it isn't TOML, or can't be opened
    ├── ConfigInvalid       values that can't be used, all of them at once
    ├── ConfigExists        init won't write over it
    ├── NothingToPublish    a --tables pattern that matches nothing
    ├── CommandInvalid      an option or argument that isn't there
    ├── RowsDiffer          source and lake don't hold the same
    ├── DemoFailed          the demo saw something that it must never see
    ├── NothingLost         a gap that was to be accepted and isn't there
    ├── StageRefused        a table that can't enter a stage of row security
    └── CopyNotSeen         a resync that was asked for and didn't happen
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.errors import RirekiError


class ConfigError(RirekiError):
    """Something that a person typed, or didn't."""


class ConfigMissing(ConfigError):
    default_fix = "rireki init --source DSN --lake URL --tables 'schema.*'"


class ConfigUnreadable(ConfigError):
    default_fix = "correct {subject}, then: rireki doctor"


class ConfigExists(ConfigError):
    default_fix = "rireki init --force …, or --dir ANOTHER_FOLDER"


class NothingToPublish(ConfigError):
    default_fix = "see what is there: psql -c '\\dt *.*'; then: rireki init --tables 'schema.table'"


class CommandInvalid(ConfigError):
    default_fix = "rireki --help"


class RowsDiffer(ConfigError):
    default_fix = "rireki resync {subject} --reason 'rows differ', then: rireki reconcile {subject}"


class DemoFailed(ConfigError):
    default_fix = "read {subject}, then: rireki demo"


class NothingLost(ConfigError):
    default_fix = "rireki capture; to copy tables again without a gap: rireki resync --all"


class StageRefused(ConfigError):
    default_fix = "rireki rls status {subject}"


class CopyNotSeen(ConfigError):
    default_fix = "rireki status: is capture running? otherwise: rireki drain"


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that can't be used: ``capture.max_batch_rows: must be > 0, got 0``."""

    setting: str
    what: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.what}"


class ConfigInvalid(ConfigError):
    """Carries every problem, so that one look is enough."""

    default_fix = "correct it in {subject}, or override it (RIREKI_SECTION__NAME=…), then: rireki doctor"

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), subject=subject)
