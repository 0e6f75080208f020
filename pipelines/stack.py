"""The embedded stack, wired: PostgreSQL, the lake, the services, capture, Dagster. One folder holds its state.

Started in the order in which a change passes through it, stopped in the reverse of it. All of it listens on the
loopback only. A lake on files survives; one on the S3 stand-in is gone when the stack stops.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from infra.object_store import S3Server
from infra.ports import LOOPBACK
from infra.postgres import Postgres
from infra.program import Program, http
from infra.state import StateFolder
from pipelines import platform
from pipelines.config import Config, load
from pipelines.event_log import EventLog
from pipelines.setup import render, write_private
from pipelines.supervised import Supervised

BUCKET = "rireki"
DEFINITIONS = "pipelines.definitions"
_DAGSTER_SETTINGS = Path(__file__).parents[1] / "dagster_home" / "dagster.yaml"


class Stack:
    """``with Stack(folder, tell=print) as stack:``; ``folder`` must be locked. Leaving it stops everything, in order.

    ``ports`` asks for certain ones (postgres, directory, asset, auth, dagster, s3); the others are kept, or free.
    ``tell`` gets one sentence for each station that is up, and for each child that ends by itself.
    Raises on entry what infra's parts raise; what was started before is stopped then.
    """

    def __init__(
        self,
        folder: StateFolder,
        *,
        s3: bool = False,
        ui: bool = True,
        ports: Mapping[str, int] | None = None,
        tell: Callable[[str], None],
        on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.config_file = folder.path / "rireki.toml"
        self.s3_environment_file = folder.path / "s3.env"
        self.with_s3, self._with_ui = s3, ui
        self._tell, self._on_event = tell, on_event
        self._ports = ports or {}
        self._running = ExitStack()
        self.ui_url: str | None = None

    def __enter__(self) -> Stack:
        with ExitStack() as running:
            self._start(running)
            self._running = running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _start(self, running: ExitStack) -> None:
        for name, port in self._ports.items():  # a taken one is told before anything has started
            self.folder.port(name, port)
        self.postgres = self._start_postgres(running)
        platform.prepare(self.postgres, self.folder)
        self._tell(f"PostgreSQL      {self.postgres.dsn(platform.DATABASE, user=platform.READER)}")
        self._start_lake(running)
        self.config: Config = load(self.config_file)
        self._tell(f"lake            {self.config.lake_root().url}")
        self.directory_url = self._start_service(running, "directory")
        self.asset_url = self._start_service(running, "asset")
        self.auth_url = self._start_service(running, "auth")
        self._start_capture(running)
        self._start_journal(running)
        if self._with_ui:
            self.ui_url = self._start_dagster(running)
            self._tell(f"Dagster         {self.ui_url}")

    def _start_postgres(self, running: ExitStack) -> Postgres:
        server = Postgres.start(self.folder)
        port, current = server.port, [server]

        def again() -> Program:
            if not current[0].program.running():
                current[0] = Postgres.start(self.folder, port=port)
            return current[0].program

        self._supervise(running, "PostgreSQL", again)
        return server

    def _start_lake(self, running: ExitStack) -> None:
        """Write the configuration. Keys go where it looks for them: into our environment, so into our children's."""
        lake: dict[str, Any] = {"url": "lake"}
        if self.with_s3:
            store = running.enter_context(S3Server.start(self.folder))
            lake = {
                "url": store.create_bucket(BUCKET),
                "endpoint": store.endpoint,
                "region": store.options["AWS_REGION"],
            }
            keys = {name: store.options[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
            running.callback(_put_into_environment, {name: os.environ.get(name) for name in keys})
            _put_into_environment(keys)
            write_private(self.s3_environment_file, "".join(f"export {name}='{key}'\n" for name, key in keys.items()))
        source = {
            "dsn": self.postgres.dsn(platform.DATABASE, user=platform.READER),
            "password_file": str(platform.reader_password_file(self.folder)),
        }
        stream = {"name": "rireki", "publication": platform.PUBLICATION}
        self.config_file.write_text(render({"source": source, "stream": stream, "lake": lake}), encoding="utf-8")

    def _start_service(self, running: ExitStack, name: str) -> str:
        port = self.folder.port(name)
        command = [sys.executable, "-m", f"services.{name}", "--host", LOOPBACK, "--port", str(port), "--no-access-log"]
        self._supervise(
            running,
            name,
            lambda: Program.start(
                self.folder,
                name,
                command,
                ready=http(f"http://{LOOPBACK}:{port}/healthz"),
                env=platform.service_environment(name, self.postgres, self.folder, port),
            ),
        )
        self._tell(f"{f'{name} API':<16}http://{LOOPBACK}:{port}/docs")
        return f"http://{LOOPBACK}:{port}"

    def _start_capture(self, running: ExitStack) -> None:
        self.events = EventLog(self.folder.log("capture"), self._on_event)
        running.callback(self.events.close)
        command = [sys.executable, "-m", "pipelines.cli", "capture", "--json", "--config", str(self.config_file)]
        self._supervise(
            running,
            "capture",
            lambda: Program.start(self.folder, "capture", command),
        )

    def _start_journal(self, running: ExitStack) -> None:
        """Each night, and now: whether the tables still are what the platform's events say. A difference is told."""
        log = EventLog(self.folder.log("journal"), self._tell_difference)
        running.callback(log.close)
        command = [sys.executable, "-m", "services.journal", "nightly", "--every", "24h"]
        environment = platform.journal_environment(self.postgres)
        self._supervise(running, "journal", lambda: Program.start(self.folder, "journal", command, env=environment))

    def _tell_difference(self, told: dict[str, Any]) -> None:
        if told.get("differing"):
            examples = ", ".join(told["examples"])
            self._tell(f"{told['table']} differs from its events in {told['differing']} rows, e.g. {examples}")

    def _start_dagster(self, running: ExitStack) -> str:
        home = self.folder.path / "dagster"
        home.mkdir(exist_ok=True)
        shutil.copyfile(_DAGSTER_SETTINGS, home / "dagster.yaml")
        environment = {"DAGSTER_HOME": str(home), "RIREKI_CONFIG": str(self.config_file)}
        port = self.folder.port("dagster")
        url = f"http://{LOOPBACK}:{port}"
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-m", DEFINITIONS]
        webserver = [sys.executable, "-m", "dagster_webserver", "-m", DEFINITIONS, "-h", LOOPBACK, "-p", str(port)]

        def start_webserver() -> Program:
            ready = http(f"{url}/server_info")
            return Program.start(
                self.folder, "dagster-webserver", webserver, ready=ready, ready_within_s=180, env=environment
            )

        # The daemon first: it loads while the webserver is waited for, which takes many seconds.
        self._supervise(
            running, "Dagster daemon", lambda: Program.start(self.folder, "dagster-daemon", daemon, env=environment)
        )
        self._supervise(running, "Dagster UI", start_webserver)
        return url

    def _supervise(self, running: ExitStack, name: str, start: Callable[[], Program]) -> Supervised:
        child = Supervised(name, start, self._tell)
        running.callback(child.stop)
        return child


def _put_into_environment(values: Mapping[str, str | None]) -> None:
    """None takes a variable out."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
