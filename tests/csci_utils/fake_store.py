"""A server that gives one body for every key, and takes one, after as many faults as it is told to make first."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Fault = Callable[[Any], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.num_accepted = self.num_ended = 0
        self.changed = threading.Condition()

    def process_request(self, *arguments: Any) -> None:
        with self.changed:
            self.num_accepted += 1
        super().process_request(*arguments)

    def process_request_thread(self, *arguments: Any) -> None:
        super().process_request_thread(*arguments)
        with self.changed:
            self.num_ended += 1
            self.changed.notify_all()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up, as they do when they are interrupted."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)


class FakeStore:
    """Serves `body` with `headers`; each fault in `faults` is used up by one request, and those `at` by one of a kind.

    Attributes:
        knows_ranges: whether it gives the bytes that were asked for, or always all.
        knows_conditions: whether it looks at If-Match.
        parts: the multipart uploads that are under way, by their ids: what was sent as which part.
        received: the bodies of all requests that had one to store.
    """

    def __init__(self) -> None:
        self.body: bytes | None = b""
        self.headers: dict[str, str] = {}
        self.knows_ranges = True
        self.knows_conditions = True
        self.faults: deque[Fault] = deque()
        self.requests: list[str] = []
        self.received: list[bytes] = []
        self.parts: dict[str, dict[int, bytes]] = {}
        self.released = threading.Event()
        self._at: dict[str, deque[Fault]] = {}
        self._begun: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
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

    def at(self, request: str, *faults: Fault) -> None:
        """Make faults at the requests whose line of `requests` ends like this, as in "GET /bucket/key 10-19"."""
        self._at.setdefault(request, deque()).extend(faults)

    def wait_until_left(self) -> None:
        """Wait until all who were connected are gone, as killed processes are, and what they had sent is dealt with."""
        server = self._server
        with server.changed:
            before = server.num_accepted
        socket.create_connection(server.server_address).close()  # the last of the queue
        with server.changed:
            all_left = server.changed.wait_for(lambda: before < server.num_accepted == server.num_ended, timeout=30)
        assert all_left, "somebody is still connected"

    def __enter__(self) -> FakeStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, request: str, otherwise: Fault) -> Fault:
        with self._lock:
            self.requests.append(request)
            if self.faults:
                return self.faults.popleft()
            fitting = (faults for end, faults in self._at.items() if request.endswith(end) and faults)
            return next((faults.popleft() for faults in fitting), otherwise)

    def _handler(store) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's, below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:  # noqa: N802
                if "uploads" in self.query or "uploadId" in self.query:
                    return self.act(list_uploads if "uploads" in self.query else list_parts)
                return self.act(give_what_is_asked if store.body is not None else NOTHING_THERE)

            do_HEAD = do_GET  # noqa: N815

            def do_PUT(self) -> None:  # noqa: N802
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with store._lock:
                    store.received.append(data)
                self.sent = data
                self.act(take_part if "partNumber" in self.query else take)

            def do_POST(self) -> None:  # noqa: N802
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.act(begin_upload if "uploads" in self.query else complete_upload)

            def do_DELETE(self) -> None:  # noqa: N802
                self.act(abort_upload if "uploadId" in self.query else remove)

            def act(self, otherwise: Fault) -> None:
                asked = self.headers.get("Range", "").removeprefix("bytes=")
                store._next(" ".join(filter(None, (self.command, self.path, asked))), otherwise)(self)

            def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(length), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def answer(self, status: int, text: str = "", **headers: str) -> None:
                self.begin(status, len(text.encode()), {"Content-Type": "application/xml", **headers})
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            @property
            def query(self) -> dict[str, str]:
                parts = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
                return {name: values[0] for name, values in parts.items()}

            @property
            def metadata(self) -> dict[str, str]:
                return {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}

            @property
            def store(self) -> FakeStore:
                return store

        return Handler


# --- what a good store does


def give_what_is_asked(handler: Any) -> None:
    """The bytes that were asked for, of the object that was asked for."""
    tampered()(handler)


def take(handler: Any) -> None:
    """Keep what arrived, and say which bytes it is."""
    store = handler.store
    if handler.headers.get("If-None-Match") == "*" and store.body:
        return refuse(412, "PreconditionFailed")(handler)
    store.hold(handler.sent)
    store.headers |= handler.metadata
    return handler.answer(200, ETag=store.headers["ETag"])


def remove(handler: Any) -> None:
    handler.store.body = None
    handler.answer(204)


def begin_upload(handler: Any) -> None:
    store = handler.store
    upload_id = f"upload-{len(store._begun) + 1}"
    store.parts[upload_id], store._begun[upload_id] = {}, handler.metadata
    handler.answer(200, f"<R><UploadId>{upload_id}</UploadId></R>")


def take_part(handler: Any) -> None:
    with_upload(handler, lambda parts: parts.__setitem__(int(handler.query["partNumber"]), handler.sent))


def complete_upload(handler: Any) -> None:
    store, upload_id = handler.store, handler.query["uploadId"]
    if upload_id not in store.parts:
        return refuse(404, "NoSuchUpload")(handler)
    parts = [data for _, data in sorted(store.parts.pop(upload_id).items())]
    etag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    store.hold(b"".join(parts), ETag=f'"{etag}-{len(parts)}"', **store._begun[upload_id])
    return handler.answer(200, f"<R><ETag>{store.headers['ETag']}</ETag></R>")


def abort_upload(handler: Any) -> None:
    if handler.store.parts.pop(handler.query["uploadId"], None) is None:
        return refuse(404, "NoSuchUpload")(handler)
    return handler.answer(204)


def list_uploads(handler: Any) -> None:
    key, since = handler.query["prefix"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = {**dict.fromkeys(handler.store.parts, key), "of-a-longer-key": f"{key}-longer"}
    listed = "".join(
        f"<Upload><Key>{name}</Key><UploadId>{upload_id}</UploadId><Initiated>{since}</Initiated></Upload>"
        for upload_id, name in found.items()
    )
    handler.answer(200, f"<R><IsTruncated>false</IsTruncated>{listed}</R>")


def list_parts(handler: Any) -> None:
    parts = handler.store.parts.get(handler.query["uploadId"])
    if parts is None:
        return refuse(404, "NoSuchUpload")(handler)
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in sorted(parts))
    return handler.answer(200, f"<R>{listed}</R>")


def with_upload(handler: Any, change: Callable[[dict[int, bytes]], object]) -> None:
    parts = handler.store.parts.get(handler.query["uploadId"])
    if parts is None:
        return refuse(404, "NoSuchUpload")(handler)
    change(parts)
    return handler.answer(200, ETag=f'"{hashlib.md5(handler.sent).hexdigest()}"')


# --- and what goes wrong


def tampered(
    change: Callable[[bytes], bytes] = bytes, *, length: int | None = None, then: Fault | None = None
) -> Fault:
    """The bytes that were asked for, changed; announced as unchanged, or with another length."""

    def answer(handler: Any) -> None:
        store, headers = handler.store, dict(handler.store.headers)
        if store.knows_conditions and handler.headers.get("If-Match", headers.get("ETag")) != headers.get("ETag"):
            return refuse(412, "PreconditionFailed")(handler)
        whole, status = store.body, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        data = whole
        if asked and store.knows_ranges:
            data, status = whole[int(asked[1]) : int(asked[2]) + 1], 206
            headers["Content-Range"] = f"bytes {asked[1]}-{int(asked[1]) + len(data) - 1}/{len(whole)}"
        if length is not None:
            headers["Connection"] = "close"
        handler.begin(status, len(data) if length is None else length, headers)
        if handler.command != "HEAD":
            handler.wfile.write(change(data))
            handler.wfile.flush()
        if then is not None:
            then(handler)
        handler.close_connection = length is not None or len(change(data)) != len(data)
        return None

    return answer


def cut_after(num_bytes: int) -> Fault:
    """The beginning of what was asked for, then a closed connection."""
    return tampered(lambda data: data[:num_bytes])


def stall_after(num_bytes: int) -> Fault:
    """The beginning of what was asked for, then nothing more on an open connection."""
    return tampered(lambda data: data[:num_bytes], then=stay_silent)


def give(body: bytes, *, length: int | None = None) -> Fault:
    """The whole body, or one whose announced length lies."""

    def answer(handler: Any) -> None:
        handler.begin(200, len(body) if length is None else length, handler.store.headers)
        if handler.command != "HEAD":
            handler.wfile.write(body)
        handler.close_connection = length is not None

    return answer


def cut(body: bytes, *, after: int) -> Fault:
    """The body's beginning, then a closed connection."""
    return give(body[:after], length=len(body))


def take_damaged(handler: Any) -> None:
    """Keep other bytes than arrived, as moto does when they change on their way."""
    handler.sent = bytes([handler.sent[0] ^ 1]) + handler.sent[1:]
    (take_part if "partNumber" in handler.query else take)(handler)


def lose_answer(fault: Fault) -> Fault:
    """Do it, and hang up instead of saying so."""

    def answer(handler: Any) -> None:
        handler.begin = lambda *_: None
        handler.answer = lambda *_, **__: None
        fault(handler)
        handler.close_connection = True

    return answer


def refuse(status: int, code: str, message: str = "no reason") -> Fault:
    """An error as S3 writes it."""

    def answer(handler: Any) -> None:
        handler.answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")

    return answer


NOTHING_THERE = refuse(404, "NoSuchKey")


def hang_up(handler: Any) -> None:
    """No answer, and a closed connection."""
    handler.close_connection = True


def stay_silent(handler: Any) -> None:
    """No answer, and a connection that stays open."""
    handler.store.released.wait(30)
    handler.close_connection = True


def stall(body: bytes, *, after: int) -> Fault:
    """The body's beginning, then nothing more on an open connection."""

    def answer(handler: Any) -> None:
        handler.begin(200, len(body), handler.store.headers)
        handler.wfile.write(body[:after])
        handler.wfile.flush()
        stay_silent(handler)

    return answer


def wait_until(true: Callable[[], bool], *, timeout_s: float = 30) -> None:
    """Wait for something another thread or process does."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
