"""One request and its answer on their way through the proxy, and the places where an action can meddle."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import wire
from tests.servers.wire import Body, Head, Stream

PATIENCE_S = 30.0
"""How long a silent connection is kept: longer than any client of ours waits."""

Direction = Literal["request", "answer"]


class Way(Protocol):
    """What an exchange needs of its proxy."""

    def connect(self) -> socket.socket:
        """Open a connection to the store."""

    def is_closing(self) -> bool:
        """Tell whether the proxy is about to end."""


@dataclass(frozen=True)
class Request:
    """What a client asked for; ``key`` is "bucket/key", decoded."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]

    @classmethod
    def read_from(cls, head: Head) -> Request:
        """Read the head of a request."""
        method, target, _ = head.first.split()
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return cls(method, unquote(parts.path[1:]), query, {name.lower(): value for name, value in head.headers})


class HangUp(Exception):  # noqa: N818 - not an error: what a fault asks for
    """End the connection, in order or broken off."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken


class Action:
    """What happens to one exchange; the base passes all on. A subclass changes what it is about."""

    def take(self, exchange: Exchange) -> bool:
        """Look at a request before it goes to the store; True when it has been answered here."""
        return False

    def announce(self, head: Head, direction: Direction, exchange: Exchange) -> None:
        """Change a head before it is sent on."""

    def tamper(self, pieces: Iterator[bytes], direction: Direction, exchange: Exchange) -> Iterator[bytes]:
        """Change a body while it is sent on."""
        return pieces

    def finish(self, direction: Direction, exchange: Exchange) -> None:
        """Act when a body has been sent on."""


class Exchange:
    """One request and its answer."""

    def __init__(self, proxy: Way, client: Stream, head: Head, request: Request, actions: list[Action]) -> None:
        self.proxy = proxy
        self.client = client
        self.head = head
        self.request = request
        self._actions = actions
        self._awaits_permission = "100-continue" in head.get("expect").lower()
        self._body = Body(client, head)
        self._is_used_up = False
        self._early: Head | None = None
        self.store: Stream

    def run(self) -> bool:
        """Pass both on; False when the connection is used up."""
        if any(action.take(self) for action in self._actions):
            return False
        sock = self.proxy.connect()
        self.store = Stream(sock)
        try:
            answer = self._send() or self.receive_head()
            return answer is not None and self._pass_back(answer) and not self._is_used_up
        except HangUp as wish:
            if wish.broken:
                wire.reset(sock)
            raise
        finally:
            sock.close()

    def answer(self, status: int, xml: str) -> None:
        """Answer here, once the body has come, where the client does not wait for permission to send it."""
        if not self._awaits_permission:
            for _ in self._body.pieces():
                pass
        body = b"" if self.request.method == "HEAD" else xml.encode()
        head = Head(
            f"HTTP/1.1 {status} Told So",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("Connection", "close")],
        )
        self.client.sock.sendall(head.to_bytes() + body)

    def end(self, direction: Direction) -> None:
        """End a direction after its body; the other side's last words still pass."""
        if direction == "answer":
            raise HangUp(broken=False)
        with suppress(OSError):
            self.store.sock.shutdown(socket.SHUT_WR)
        self._is_used_up = True

    def wait_for_hang_up(self) -> None:
        """Do nothing until the client, or the proxy's owner, has had enough."""
        while not self.proxy.is_closing() and not wire.has_hung_up(self.client.sock):
            pass

    def _send(self) -> Head | None:
        """Pass the request on; the answer's head where it came before the body's end."""
        for action in self._actions:
            action.announce(self.head, "request", self)
        self.store.sock.sendall(self.head.to_bytes())
        refusal = self._await_permission() if self._awaits_permission else None
        early = refusal or self._send_body()
        self._is_used_up |= early is not None  # nobody knows how much of the body is still to come
        for action in self._actions if early is None else ():
            action.finish("request", self)
        return early

    def _await_permission(self) -> Head | None:
        """Pass on the store's "go on"; its answer where it is another. A client may tire of waiting and send."""
        if self.client.is_readable():
            return None
        ready, _, _ = select.select([self.client.sock, self.store.sock], [], [], PATIENCE_S)
        if self.store.sock not in ready:
            return None
        head = self.store.read_head()
        if head is not None and head.status != 100:
            return head
        self.client.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def _send_body(self) -> Head | None:
        for piece in self._tampered(self._body, "request"):
            if not self._reaches_store(self._body.framed(piece)):
                return self._early or self.receive_head()  # it may have said why before it closed
        self._reaches_store(self._body.ending())
        return self._early

    def _reaches_store(self, data: bytes) -> bool:
        """Send what a store takes; False when it has answered before it took all, or closed the connection."""
        left = memoryview(data)
        try:
            while left:
                answers, _, _ = select.select([self.store.sock], [self.store.sock], [], PATIENCE_S)
                if answers and (head := self.store.read_head()) and head.status != 100:
                    self._early = head
                    return False
                left = left[self.store.sock.send(left) :]  # some of it: the socket has a time-out
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive_head(self) -> Head | None:
        """Return the head of the answer, past all that only say "go on"; None when the store just closes."""
        while (head := self.store.read_head()) is not None and head.status == 100:
            pass
        return head

    def _pass_back(self, head: Head) -> bool:
        """Pass the answer on; False when the connection ends with it."""
        is_empty = self.request.method == "HEAD" or head.status in (204, 304)
        body = Body(self.store, head, open_ended=True, is_empty=is_empty)
        for action in self._actions:
            action.announce(head, "answer", self)
        self.client.sock.sendall(head.to_bytes())
        for piece in self._tampered(body, "answer"):
            self.client.sock.sendall(body.framed(piece))
        self.client.sock.sendall(body.ending())
        for action in self._actions:
            action.finish("answer", self)
        return not body.ends_with_connection and "close" not in head.get("connection").lower()

    def _tampered(self, body: Body, direction: Direction) -> Iterator[bytes]:
        pieces = body.pieces()
        for action in self._actions:
            pieces = action.tamper(pieces, direction, self)
        return pieces
