"""``rireki capture``: the long-lived process that carries changes from the source into the lake."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import cdc.warm_up
import lakehouse.key_hash
from pipelines.capture import Capture
from pipelines.cli.console import COMMON, DONE, Common, emit, say
from pipelines.config import load
from pipelines.doctor import require
from pipelines.progress import Progress, as_object, as_sentence


def capture(*, common: Common = COMMON) -> int:
    """Follow the source until stopped (Ctrl-C, SIGTERM); copies first whatever isn't copied yet.

    A restart continues where the lake ends. With --json, one object a line for each event.
    """
    config = load(common.config)
    require(config)
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    def tell(event: Progress) -> None:
        if common.json:
            emit(as_object(event))
        else:
            say(as_sentence(event))

    # Before the slot is opened: compiling inside the stream would be lag.
    cdc.warm_up.warm_up()
    lakehouse.key_hash.warm_up()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    Capture(config, on_progress=tell).run(stop)
    return DONE
