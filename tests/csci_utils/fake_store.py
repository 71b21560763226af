"""A server that gives one body for every key, after as many faults as it is told to make first."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeStore:
    """Serves `body` with `headers`; each fault in `faults` is used up by one request."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.faults: deque[Callable[[Any], None]] = deque()
        self.requests: list[str] = []
        self.received: list[bytes] = []
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def hold(self, body: bytes, *, sha256: bool = False, **headers: str) -> None:
        self.body = body
        self.headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
        if sha256:
            self.headers["x-amz-meta-sha256"] = hashlib.sha256(body).hexdigest()
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    def __enter__(self) -> FakeStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(store) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:  # noqa: N802
                store.requests.append(f"{self.command} {self.path}")
                fault = store.faults.popleft() if store.faults else give(store.body)
                fault(self)

            do_HEAD = do_GET  # noqa: N815

            def do_PUT(self) -> None:  # noqa: N802
                store.received.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                store.requests.append(f"{self.command} {self.path}")
                fault = store.faults.popleft() if store.faults else take
                fault(self)

            def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(length), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            @property
            def store(self) -> FakeStore:
                return store

        return Handler


def take(handler: Any) -> None:
    """Say which bytes arrived, as a store does that keeps them."""
    handler.begin(200, 0, {"ETag": f'"{hashlib.md5(handler.store.received[-1]).hexdigest()}"'})


def give(body: bytes, *, length: int | None = None) -> Callable[[Any], None]:
    """The whole body, or one whose announced length lies."""

    def answer(handler: Any) -> None:
        handler.begin(200, len(body) if length is None else length, handler.store.headers)
        if handler.command != "HEAD":
            handler.wfile.write(body)
        handler.close_connection = length is not None

    return answer


def cut(body: bytes, *, after: int) -> Callable[[Any], None]:
    """The body's beginning, then a closed connection."""
    return give(body[:after], length=len(body))


def refuse(status: int, code: str, message: str = "no reason") -> Callable[[Any], None]:
    """An error as S3 writes it."""

    def answer(handler: Any) -> None:
        xml = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        handler.begin(status, len(xml), {"Content-Type": "application/xml"})
        if handler.command != "HEAD":
            handler.wfile.write(xml)

    return answer


def hang_up(handler: Any) -> None:
    """No answer, and a closed connection."""
    handler.close_connection = True


def stay_silent(handler: Any) -> None:
    """No answer, and a connection that stays open."""
    handler.store.released.wait(30)
    handler.close_connection = True


def stall(body: bytes, *, after: int) -> Callable[[Any], None]:
    """The body's beginning, then nothing more on an open connection."""

    def answer(handler: Any) -> None:
        handler.begin(200, len(body), handler.store.headers)
        handler.wfile.write(body[:after])
        handler.wfile.flush()
        stay_silent(handler)

    return answer


def wait_until(true: Callable[[], bool], *, timeout_s: float = 5) -> None:
    """Wait for something another thread or process does."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
