"""``rireki capture``: the long-lived process that carries changes from the source into the lake."""

from __future__ import annotations

import cdc.warm_up
import lakehouse.key_hash
from cdc.lsn import Lsn
from pipelines.capture import Capture
from pipelines.cli.console import COMMON, DONE, Common, emit, say
from pipelines.cli.stopping import Stop
from pipelines.config import load
from pipelines.doctor import require
from pipelines.progress import Durable, Progress, Stopped, as_object, as_sentence


def capture(*, common: Common = COMMON) -> int:
    """Follow the source until stopped (Ctrl-C, SIGTERM); copies first whatever isn't copied yet.

    Stops within five seconds: a batch that the store doesn't take by then is left, and comes again.
    A restart continues where the lake ends. With --json, one object a line for each event.
    """
    config = load(common.config)
    require(config)
    durable: Lsn | None = None

    def tell(event: Progress) -> None:
        nonlocal durable
        if isinstance(event, Durable):
            durable = event.lsn
        if common.json:
            emit(as_object(event))
        else:
            say(as_sentence(event))

    # Before the slot is opened: compiling inside the stream would be lag.
    cdc.warm_up.warm_up()
    lakehouse.key_hash.warm_up()
    with Stop(lambda: tell(Stopped(durable))) as stop:
        Capture(config, on_progress=tell).run(stop.asked)
    return DONE
