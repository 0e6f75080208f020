"""``rireki init``: from a connection string and a place for the lake to a checked ``rireki.toml`` and a publication."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.cli.doctor import show
from pipelines.doctor import State
from pipelines.setup import Setup, set_up


def init(
    *,
    source: str,
    lake: str,
    tables: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    stream: str = "rireki",
    endpoint: str | None = None,
    region: str = "us-east-1",
    dir: Path = Path(),
    publication: Annotated[bool, Parameter(show_default=False)] = True,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = COMMON,
) -> int:
    """Check a PostgreSQL and a lake, then write rireki.toml and create the publication.

    Nothing is written before every check has passed.

    Parameters
    ----------
    source
        The database, e.g. postgresql://user@host/dbname. A password in it is moved to a file only you can read.
    lake
        Where the Delta tables go: s3://bucket/prefix or a folder.
    tables
        What to publish: schema.table, with * and ? as wildcards; expanded once, now. Without it: what an existing
        publication lists, else every table.
    stream
        Names the slot, the publication and the stream's marks in the lake.
    endpoint
        For a store that speaks S3 elsewhere than AWS.
    region
        The bucket's region.
    dir
        The folder that rireki.toml is written to.
    publication
        Create the publication (the default), or leave it to you.
    force
        Write over an existing rireki.toml.
    """
    made = set_up(
        Setup(
            source=source,
            lake=lake,
            patterns=tuple(tables or ()),
            stream=stream,
            endpoint=endpoint,
            region=region,
            folder=dir,
            with_publication=publication,
            overwrite=force,
        )
    )
    if common.json:
        emit({"config": made.file, "publication": made.publication, "tables": [str(name) for name in made.tables]})
        return DONE
    say(f"wrote {made.file}")
    if made.tables:
        say(f"publication {made.publication} lists {', '.join(map(str, made.tables))}")
    show([check for check in made.checks if check.state is State.WARNING])
    prefix = "" if made.file.resolve().parent == Path.cwd() else f" --config {made.file}"
    note(f"next: rireki capture{prefix}")
    return DONE
