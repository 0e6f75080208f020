"""Between us and a server: a TCP proxy that cuts, refuses and stalls, and an S3 endpoint that fails as real ones do."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_CHUNK_BYTES = 1 << 16


class TcpProxy:
    """Hands bytes on, both ways, for as long as it is let."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flows = _flowing()
        self._refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, and_refuse: bool = False) -> None:
        """Break every connection; with ``and_refuse`` those to come, too, until ``heal``."""
        self._refuses = and_refuse
        with self._lock:
            gone, self._open = self._open, set()
        for one in gone:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Keep every connection open, and hand nothing on until ``heal``."""
        self._flows.clear()

    def mute(self) -> None:
        """The same for connections that are open now, for good; those to come are carried."""
        self._flows.clear()
        self._flows = _flowing()

    def heal(self) -> None:
        self._refuses = False
        self._flows.set()

    def close(self) -> None:
        self._listener.close()
        self.heal()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                if self._refuses:
                    ours.close()
                    continue
                theirs = socket.create_connection(self._target)
                with self._lock:
                    self._open |= {ours, theirs}
                for source, target in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._carry, args=(source, target, self._flows), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket, flows: threading.Event) -> None:
        with suppress(OSError):
            while content := source.recv(_CHUNK_BYTES):
                flows.wait()
                target.sendall(content)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _flowing() -> threading.Event:
    flows = threading.Event()
    flows.set()
    return flows


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()


@dataclass
class S3Proxy:
    """An S3 endpoint before another. ``fault`` is asked for each request by method and path; None hands it on."""

    endpoint: str
    fault: Callable[[str, str], str | float | None] = field(default=lambda method, path: None)
    faults: int = 0  # that there have been


UNAVAILABLE = "503"  # nothing was written
UNAVAILABLE_AFTER = "503 after"  # it was written
NO_ANSWER = "no answer"  # it was written, and the connection breaks
FULL = "507"


_OF_ONE_HOP = ("connection", "transfer-encoding", "date", "server")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: S3Proxy
    target: str

    def _serve(self) -> None:
        body = self._body()
        fault = self.proxy.fault(self.command, self.path)
        self.proxy.faults += fault is not None
        match fault:
            case "503":
                self._answer(
                    503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                )
            case "507":
                self._answer(507, b"<Error><Code>InsufficientStorage</Code><Message>No space left.</Message></Error>")
            case "503 after":
                self._handed_on(body)
                self._answer(503, b"<Error><Code>ServiceUnavailable</Code></Error>")
            case "no answer":
                self._handed_on(body)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            case float(seconds):
                time.sleep(seconds)
                self._answer(*self._handed_on(body))
            case _:
                self._answer(*self._handed_on(body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the base class names them

    def _handed_on(self, body: bytes) -> tuple[int, bytes, list[tuple[str, str]]]:
        connection = http.client.HTTPConnection(self.target)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "content-length")}
        connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer, response.getheaders()

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        self.send_response(status)
        told = [
            (k, v) for k, v in headers or [] if k.lower() not in ("connection", "transfer-encoding", "date", "server")
        ]
        for name, value in told:
            if self.command == "HEAD" or name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def s3_proxy(endpoint: str) -> Iterator[S3Proxy]:
    proxy = S3Proxy("")
    handler = type("Handler", (_Handler,), {"proxy": proxy, "target": urlsplit(endpoint).netloc})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.fault = lambda method, path: None
        server.shutdown()
        thread.join()
        server.server_close()
