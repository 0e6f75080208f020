"""Between our errors and Dagster's: a run that fails says what happened, to which object, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dagster import Failure, MetadataValue

from cdc.errors import RirekiError
from cdc.relation import TableName
from pipelines.errors import CommandInvalid


@contextmanager
def as_failure() -> Iterator[None]:
    """No retries: the same question would get the same answer."""
    try:
        yield
    except RirekiError as error:
        metadata = {"subject": MetadataValue.text(error.subject), "fix": MetadataValue.md(f"`{error.fix}`")}
        raise Failure(description=str(error), metadata=metadata, allow_retries=False) from error


def tables_named(texts: Sequence[str]) -> list[TableName]:
    """Raises CommandInvalid for what can't be a table's name."""
    try:
        return [TableName.parse(text) for text in texts]
    except ValueError as error:
        raise CommandInvalid(str(error), subject="tables", fix="write schema.table, as in the source") from error
