"""An S3 endpoint that ignores If-None-Match, as some do: every writer wins, so Delta commits would be lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self._body()
        self.objects[self._key()] = body
        self._answer(200, b"", etag=md5(body).hexdigest())

    def do_GET(self) -> None:
        if self._key() in self.objects:
            body = self.objects[self._key()]
            self._answer(200, body, etag=md5(body).hexdigest())
        elif "list-type" in self.path:
            self._answer(200, b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>')
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET  # noqa: N815 - the base class names it

    def do_DELETE(self) -> None:
        self.objects.pop(self._key(), None)
        self._answer(204, b"")

    def do_POST(self) -> None:  # DeleteObjects
        body = self._body().decode()
        for key in list(self.objects):
            if key.rpartition("/")[2] in body:
                del self.objects[key]
        self._answer(200, b'<?xml version="1.0"?><DeleteResult></DeleteResult>')

    def _key(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, code: int, body: bytes, etag: str = "") -> None:
        self.send_response(code)
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def forgetful_store() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its endpoint, and the objects that it holds."""
    objects: dict[str, bytes] = {}
    handler = type("Handler", (_Handler,), {"objects": objects})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
