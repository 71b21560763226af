from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.servers.faults import Answer, Call, CallFirst, CallWhenDone, Corrupt, Cut, Drop, Lie, Silence, Stall
from tests.servers.proxy import FaultProxy
from tests.servers.wire import Body

BODY = os.urandom(300_000)


class Upstream(http.server.ThreadingHTTPServer):
    """Gives `BODY` framed as the path says, and keeps the bodies and heads it gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[bytes] = []
        self.hosts: list[str] = []
        self.over = threading.Event()

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what these tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        self.server.hosts.append(self.headers["Host"])
        self.send_response(200)
        if self.path == "/bucket/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(BODY), 7_000):
                piece = BODY[at : at + 7_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nX-Trailer: yes\r\n\r\n")
        elif self.path == "/bucket/until-close":
            self.end_headers()
            self.wfile.write(BODY)
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(BODY)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:  # noqa: N802
        if self.path == "/bucket/refused":
            return self.refuse()
        body = self.read_chunks() if "Transfer-Encoding" in self.headers else self.read_length()
        self.server.received.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def refuse(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")
        self.server.over.wait(10)  # the connection stays open, and the body unread
        self.close_connection = True

    def read_length(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        assert self.rfile.readline() == b"\r\n"
        return body


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://127.0.0.1:{upstream.server_port}") as made:
        yield made


@pytest.fixture
def client(proxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=5)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, **more: Any) -> tuple[int, bytes]:
    client.request(method, path, **more)
    with client.getresponse() as answer:
        return answer.status, answer.read()


def read_all(client: http.client.HTTPConnection, path: str = "/bucket/key") -> bytes:
    """What comes of a body, and no exception for what does not."""
    client.request("GET", path)
    with client.getresponse() as answer:
        came = bytearray()
        try:
            while more := answer.read1(1000):
                came += more
        except ConnectionResetError:
            came += b"<reset>"
        return bytes(came)


@pytest.mark.parametrize("path", ["/bucket/key", "/bucket/chunked", "/bucket/until-close"])
def test_every_framing_passes(client, path):
    assert ask(client, "GET", path) == (200, BODY)
    assert ask(client, "GET", "/bucket/key") == (200, BODY)


def test_a_connection_is_kept_for_the_next_request(client, proxy):
    assert ask(client, "PUT", "/bucket/key", body=BODY) == (200, b"")
    port = client.sock.getsockname()[1]
    assert ask(client, "GET", "/bucket/key") == (200, BODY)
    assert ask(client, "HEAD", "/bucket/key") == (200, b"")
    assert ask(client, "GET", "/bucket/chunked") == (200, BODY)
    assert client.sock.getsockname()[1] == port
    assert [request.method for request in proxy.requests] == ["PUT", "GET", "HEAD", "GET"]


@pytest.mark.slow
def test_a_quick_answer_leaves_the_connection_open(client, upstream, monkeypatch):
    exactly = Body._exactly

    def slowly(self: Body, num_bytes: int) -> Iterator[bytes]:
        yield from exactly(self, num_bytes)
        time.sleep(0.05)  # by then the store has answered

    monkeypatch.setattr(Body, "_exactly", slowly)
    for _ in range(3):
        assert ask(client, "PUT", "/bucket/key", body=b"12345") == (200, b"")
    assert upstream.received == [b"12345"] * 3


def test_chunks_pass_in_the_other_direction_too(client, upstream):
    pieces = iter([BODY[:10], BODY[10:100_000], BODY[100_000:]])
    assert ask(client, "PUT", "/bucket/key", body=pieces, encode_chunked=True) == (200, b"")
    assert upstream.received == [BODY]


def test_the_host_stays_as_the_client_named_it(client, upstream):
    assert ask(client, "GET", "/bucket/key", headers={"Host": "some.where:1"}) == (200, BODY)
    assert upstream.hosts == ["some.where:1"]


def test_a_body_waits_for_the_stores_permission(proxy, upstream):
    with proxy_socket(proxy) as sock:
        sock.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.received == []
        sock.sendall(b"12345")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert upstream.received == [b"12345"]


def test_a_body_that_does_not_wait_passes_too(proxy, upstream):
    with proxy_socket(proxy) as sock:
        sock.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n12345")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert upstream.received == [b"12345"]


def proxy_socket(proxy: FaultProxy) -> socket.socket:
    host, _, port = proxy.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def test_a_store_that_answers_before_the_body_is_heard(client):
    assert ask(client, "PUT", "/bucket/refused", body=BODY * 40) == (403, b"no")


def test_an_answer_of_the_proxys_own_never_reaches_the_store(client, proxy, upstream):
    fault = proxy.add(Answer(503, "SlowDown"), times=2)
    assert ask(client, "GET", "/bucket/key") == (
        503,
        b"<Error><Code>SlowDown</Code><Message>no reason</Message></Error>",
    )
    assert ask(client, "PUT", "/bucket/key", body=BODY)[0] == 503
    assert (fault.hits, upstream.hosts, upstream.received) == (2, [], [])
    assert ask(client, "HEAD", "/bucket/key") == (200, b"")


def test_an_own_answer_comes_instead_of_permission(proxy):
    proxy.add(Answer(503, "SlowDown"))
    with proxy_socket(proxy) as sock:
        sock.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert sock.recv(1000) == b""


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/bucket/key", "/bucket/chunked"])
@pytest.mark.parametrize("at", [0, 1, 131_072, len(BODY) - 1])
def test_one_byte_of_an_answer_is_corrupted(client, proxy, path, at):
    proxy.add(Corrupt(at))
    came = ask(client, "GET", path)[1]
    assert [place for place in range(len(BODY)) if came[place] != BODY[place]] == [at]
    assert len(came) == len(BODY)


def test_one_byte_of_a_request_is_corrupted(client, proxy, upstream):
    proxy.add(Corrupt(131_072, "request"))
    ask(client, "PUT", "/bucket/key", body=BODY)
    ask(client, "PUT", "/bucket/key", body=BODY)
    damaged, right = upstream.received
    assert right == BODY
    assert [place for place in range(len(BODY)) if damaged[place] != BODY[place]] == [131_072]


def test_an_offset_behind_the_end_does_nothing(client, proxy):
    proxy.add(Corrupt(len(BODY)))
    assert ask(client, "GET", "/bucket/key") == (200, BODY)


@pytest.mark.parametrize("after", [0, 1, 200_001])
def test_an_answer_is_cut_in_order(client, proxy, after):
    proxy.add(Cut(after))
    assert read_all(client) == BODY[:after]


def test_an_answer_is_broken_off(client, proxy):
    proxy.add(Cut(200_001, broken=True))
    assert read_all(client).endswith(b"<reset>")
    client.close()
    assert ask(client, "GET", "/bucket/key") == (200, BODY)


@pytest.mark.parametrize("broken", [True, False], ids=["reset", "closed"])
def test_a_request_is_cut(client, proxy, upstream, broken):
    proxy.add(Cut(1000, "request", broken))
    with pytest.raises(OSError, match=r"Broken pipe|Connection reset|closed connection without response"):
        ask(client, "PUT", "/bucket/key", body=BODY)
    assert [len(body) for body in upstream.received] in ([], [1000])  # it reads on when the other end has closed


@pytest.mark.parametrize("by", [-7, 7])
def test_the_length_of_an_answer_lies(client, proxy, by):
    proxy.add(Lie(by))
    client.request("GET", "/bucket/key")
    with client.getresponse() as answer:
        assert answer.getheader("Content-Length") == str(len(BODY) + by)
        assert answer.read(len(BODY)) == BODY[: len(BODY) + min(by, 0)]


def test_the_length_of_a_request_lies(client, proxy, upstream):
    for by in (-7, 7):
        proxy.add(Lie(by, "request"))
        assert ask(client, "PUT", "/bucket/key", body=BODY)[0] == 200
        client.close()
    assert upstream.received == [BODY[:-7], BODY]


@pytest.mark.slow
def test_a_stall_lasts_as_long_as_the_client_waits(client, proxy):
    proxy.add(Stall(1000))
    client.timeout = 0.2
    client.request("GET", "/bucket/key")
    answer = client.getresponse()
    assert answer.read(1000) == BODY[:1000]
    with pytest.raises(TimeoutError, match="timed out"):
        answer.read(1)
    answer.close()


@pytest.mark.slow
def test_a_stalled_request_reaches_nobody(client, proxy, upstream):
    proxy.add(Stall(1000, "request"))
    client.timeout = 0.2
    with pytest.raises(TimeoutError, match="timed out"):
        ask(client, "PUT", "/bucket/key", body=BODY * 30)
    client.close()
    assert upstream.received == []


@pytest.mark.slow
def test_a_store_that_is_silent_has_done_it_all_the_same(client, proxy, upstream):
    proxy.add(Silence())
    client.timeout = 0.2
    with pytest.raises(TimeoutError, match="timed out"):
        ask(client, "PUT", "/bucket/key", body=BODY)
    assert upstream.received == [BODY]


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
def test_a_connection_is_dropped_before_or_after_the_store_has_done_it(client, proxy, upstream, answered):
    proxy.add(Drop(answered=answered))
    with pytest.raises(OSError, match=r"Broken pipe|reset by peer|closed connection without response"):
        ask(client, "PUT", "/bucket/key", body=BODY)
    assert upstream.received == ([BODY] if answered else [])


def test_somebody_is_told_when_a_byte_has_passed(client, proxy):
    told: list[str] = []
    proxy.add(Call(200_000, function=lambda: told.append("byte")))
    assert ask(client, "GET", "/bucket/key") == (200, BODY)
    assert ask(client, "GET", "/bucket/key") == (200, BODY)
    assert told == ["byte"]


def test_somebody_is_told_when_a_part_has_been_stored(client, proxy, upstream):
    told: list[int] = []
    proxy.add(CallWhenDone(lambda: told.append(len(upstream.received))), method="PUT", query="partNumber=2")
    for part in (1, 2, 3, 2):
        ask(client, "PUT", f"/bucket/key?uploadId=x&partNumber={part}", body=BODY)
    assert told == [2]


def test_somebody_is_told_before_the_store_is(client, proxy, upstream):
    told: list[int] = []
    proxy.add(CallFirst(lambda: told.append(len(upstream.received))), skip=1)
    for _ in range(3):
        ask(client, "PUT", "/bucket/key", body=BODY)
    assert told == [1]
    assert len(upstream.received) == 3


@pytest.mark.slow
def test_what_a_client_asked_for_that_is_gone_is_waited_for(client, proxy, upstream):
    proxy.add(CallFirst(lambda: time.sleep(0.2)), method="PUT")
    client.request("PUT", "/bucket/key", body=b"whole")
    while not proxy.requests:
        time.sleep(0.001)
    client.close()
    proxy.wait_for_conversations()
    assert upstream.received == [b"whole"]


def test_faults_happen_to_the_requests_they_are_for(client, proxy):
    fault = proxy.add(Answer(404, "NoSuchKey"), method="GET", key="bucket/a *", skip=1, times=1)
    paths = ["/bucket/a%20b", "/bucket/b", "/bucket/a%20c?x=1", "/bucket/a%20d"]
    assert [ask(client, "GET", path)[0] for path in paths] == [200, 200, 404, 200]
    assert ask(client, "HEAD", "/bucket/a%20b")[0] == 200
    assert fault.hits == 1
    assert (proxy.count(), proxy.count("GET", "bucket/a *"), proxy.count(query="x")) == (5, 3, 1)
    proxy.clear()
    assert proxy.count() == 0


def test_a_fault_may_happen_every_time_until_it_is_forgotten(client, proxy):
    proxy.add(Answer(503, "SlowDown"), times=None)
    assert [ask(client, "GET", "/bucket/key")[0] for _ in range(9)] == [503] * 9
    proxy.clear()
    assert ask(client, "GET", "/bucket/key")[0] == 200


def test_what_did_not_happen_is_told(client, proxy):
    often, ever = proxy.add(Answer(503, "SlowDown"), times=2), proxy.add(Answer(404, "NoSuchKey"), times=None)
    assert proxy.unmet() == [often, ever]
    ask(client, "GET", "/bucket/key")
    assert proxy.unmet() == [often]
    ask(client, "GET", "/bucket/key")
    assert proxy.unmet() == []


def test_a_store_that_is_gone_is_a_broken_connection():
    with FaultProxy("http://127.0.0.1:1") as proxy, proxy_socket(proxy) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            sock.recv(1)


def test_the_proxy_ends_at_once_with_connections_open(upstream):
    with FaultProxy(f"http://127.0.0.1:{upstream.server_port}") as proxy:
        proxy.add(Stall(60))
        idle, stalled = proxy_socket(proxy), proxy_socket(proxy)
        stalled.sendall(b"GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stalled.recv(10)
        start = time.monotonic()
    assert time.monotonic() - start < 20
    idle.close()
    stalled.close()


# --- as boto3 talks


def test_swift_takes_what_boto3_signed_for_the_proxy(swift):
    with FaultProxy(swift.url) as proxy:
        store = boto3.client(
            "s3",
            endpoint_url=proxy.url,
            aws_access_key_id=swift.access_key,
            aws_secret_access_key=swift.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        store.create_bucket(Bucket="proxied")
        store.put_object(Bucket="proxied", Key="a b?", Body=BODY, ContentMD5=md5_of(BODY))
        store.put_object(Bucket="proxied", Key="trailer", Body=io.BytesIO(BODY), ChecksumAlgorithm="CRC32")
        assert store.get_object(Bucket="proxied", Key="a b?")["Body"].read() == BODY
        assert store.get_object(Bucket="proxied", Key="trailer", Range="bytes=5-9")["Body"].read() == BODY[5:10]
        assert proxy.requests[1].headers["expect"] == "100-continue"
        assert proxy.count("GET", "proxied/a b[?]") == 1
        store.close()


def md5_of(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()
