"""A proxy on loopback between a client and a store, which lets go wrong what it is told to.

It passes every head on as it came, ``Host`` included, so a client signs for the proxy's address and the store agrees.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Self
from urllib.parse import urlsplit

from tests.servers import wire
from tests.servers.exchange import PATIENCE_S, Action, Exchange, HangUp, Request
from tests.servers.wire import Stream

_BUFFER_BYTES = 128 * 1024  # small, so that a proxy that stops reading is soon felt by who sends


@dataclass(eq=False)
class Fault:
    """An action, and the requests it happens to.

    Attributes:
        action: what happens.
        method: of the requests; "*" for all.
        key: a glob over "bucket/key".
        query: a name that the query has to hold, as "partNumber"; with a value, "partNumber=2".
        skip: so many of these pass first.
        times: to so many it happens; None for all.
        hits: to so many it happened.
    """

    action: Action
    method: str = "*"
    key: str = "*"
    query: str = ""
    skip: int = 0
    times: int | None = 1
    hits: int = 0
    _seen: int = field(default=0, repr=False)

    def happens_to(self, request: Request) -> bool:
        """Tell whether it happens to this request, and count it."""
        if not self._matches(request):
            return False
        self._seen += 1
        happens = self._seen > self.skip and (self.times is None or self.hits < self.times)
        self.hits += happens
        return happens

    def _matches(self, request: Request) -> bool:
        name, _, value = self.query.partition("=")
        return (
            self.method in ("*", request.method)
            and fnmatchcase(request.key, self.key)
            and (not name or name in request.query)
            and (not value or request.query[name] == value)
        )


class FaultProxy:
    """Passes requests on to a store, and makes faults; a context manager.

    Attributes:
        requests: all that came, in their order.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._threads: list[threading.Thread] = []
        self._faults: list[Fault] = []
        self.requests: list[Request] = []
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def add(
        self,
        action: Action,
        *,
        method: str = "*",
        key: str = "*",
        query: str = "",
        skip: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Let an action happen to the requests that match (see `Fault`); to one, if nothing else is said."""
        fault = Fault(action, method=method, key=key, query=query, skip=skip, times=times)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults and all requests so far."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def count(self, method: str = "*", key: str = "*", query: str = "") -> int:
        """Count the requests of a kind (see `Fault`)."""
        kind = Fault(Action(), method=method, key=key, query=query, times=None)
        with self._lock:
            return sum(kind.happens_to(request) for request in self.requests)

    def unmet(self) -> list[Fault]:
        """Return the faults that did not happen as often as they were to (of those for all: not once)."""
        with self._lock:
            return [fault for fault in self._faults if fault.hits < (fault.times or 1)]

    def wait_for_conversations(self) -> None:
        """Wait until clients that have hung up get no more: what they asked for is done, or will never be.

        One that keeps its connection open is waited for, too, for as long as the proxy keeps a silent one.
        """
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(PATIENCE_S)

    def is_closing(self) -> bool:
        """Tell whether the proxy is about to end."""
        return self._closing.is_set()

    def connect(self) -> socket.socket:
        """Open a connection to the store."""
        sock = socket.create_connection(self._upstream, timeout=PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._keep(sock)
        return sock

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._stop(self._listener)
        self._accepting.join(PATIENCE_S)
        with self._lock:
            sockets, threads = list(self._open), list(self._threads)
        for sock in sockets:
            self._stop(sock)
        for thread in threads:
            thread.join(PATIENCE_S)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._keep(sock)
            self._converse_in_thread(sock)

    def _converse(self, sock: socket.socket) -> None:
        """Answer the requests of one connection, one after another."""
        client, broken = Stream(sock), False
        try:
            while (head := client.read_head()) is not None:
                request = Request.read_from(head)
                exchange = Exchange(self, client, head, request, self._actions(request))
                if not exchange.run():
                    break
        except HangUp as wish:
            broken = wish.broken
        except OSError:  # one of the two sides is gone
            broken = True
        (wire.reset if broken else wire.close)(sock)

    def _actions(self, request: Request) -> list[Action]:
        with self._lock:
            self.requests.append(request)
            return [fault.action for fault in self._faults if fault.happens_to(request)]

    def _keep(self, sock: socket.socket) -> None:
        with self._lock:
            self._open = {kept for kept in self._open if kept.fileno() >= 0} | {sock}

    def _converse_in_thread(self, sock: socket.socket) -> None:
        thread = threading.Thread(target=self._converse, args=(sock,), daemon=True)
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
            thread.start()

    def _stop(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
