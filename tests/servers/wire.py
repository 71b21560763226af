"""Just enough of HTTP/1.1 to pass messages on: heads, bodies of every framing, and ways to end a connection."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

PIECE_BYTES = 128 * 1024
LINGER_S = 0.5


class Stream:
    """A connection with what was read ahead of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._ahead = b""

    def read_head(self) -> Head | None:
        """Read up to the empty line; None when the other side has no more to say."""
        while b"\r\n\r\n" not in self._ahead:
            more = self.sock.recv(PIECE_BYTES)
            if not more:
                return None
            self._ahead += more
        raw, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return Head.parse(raw)

    def read_line(self) -> bytes:
        """Read one line with its end."""
        while b"\n" not in self._ahead:
            self._ahead += self._received()
        line, end, self._ahead = self._ahead.partition(b"\n")
        return line + end

    def read_some(self, limit: int) -> bytes:
        """Read at least one byte and at most so many.

        Raises:
            ConnectionResetError: there are no more.
        """
        data = self._ahead or self._received()
        data, self._ahead = data[:limit], data[limit:]
        return data

    def read_rest(self) -> Iterator[bytes]:
        """Yield all that comes until the other side closes."""
        while more := self._ahead or self.sock.recv(PIECE_BYTES):
            self._ahead = b""
            yield more

    def is_readable(self) -> bool:
        """Tell whether something (or the end) has arrived."""
        return bool(self._ahead) or bool(select.select([self.sock], [], [], 0)[0])

    def _received(self) -> bytes:
        more = self.sock.recv(PIECE_BYTES)
        if not more:
            raise ConnectionResetError("the other side closed the connection in the middle")
        return more


@dataclass
class Head:
    """The first line of a message and its headers, in their order and spelling."""

    first: str
    headers: list[tuple[str, str]]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Read a head without its empty line."""
        first, *lines = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(first, [(name, value.strip()) for name, _, value in pairs])

    def get(self, name: str) -> str:
        """Return a header's value, empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def replace(self, name: str, value: str) -> None:
        """Give a header that is there another value."""
        self.headers = [(key, value if key.lower() == name else old) for key, old in self.headers]

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.first.split()[1])

    def to_bytes(self) -> bytes:
        """Return it as it goes over the wire."""
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


class Body:
    """What follows a head: nothing, so many bytes, chunks, or all until the end."""

    def __init__(self, stream: Stream, head: Head, *, open_ended: bool = False, is_empty: bool = False) -> None:
        self._stream = stream
        self._trailer = b""
        self.is_chunked = not is_empty and "chunked" in head.get("transfer-encoding").lower()
        length = "0" if is_empty else head.get("content-length") or ("" if open_ended else "0")
        self.num_bytes = None if self.is_chunked or not length else int(length)
        self.ends_with_connection = self.num_bytes is None and not self.is_chunked

    def pieces(self) -> Iterator[bytes]:
        """Yield the payload in pieces."""
        if self.is_chunked:
            yield from self._chunks()
        elif self.num_bytes is None:
            yield from self._stream.read_rest()
        else:
            yield from self._exactly(self.num_bytes)

    def framed(self, piece: bytes) -> bytes:
        """Return a piece of payload as it goes over the wire."""
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self.is_chunked and piece else piece

    def ending(self) -> bytes:
        """Return what goes over the wire after the last piece."""
        return b"0\r\n" + self._trailer + b"\r\n" if self.is_chunked else b""

    def _exactly(self, num_bytes: int) -> Iterator[bytes]:
        while num_bytes:
            piece = self._stream.read_some(min(num_bytes, PIECE_BYTES))
            num_bytes -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._stream.read_line().partition(b";")[0], 16):
            yield from self._exactly(size)
            self._stream.read_line()
        while (line := self._stream.read_line()) != b"\r\n":
            self._trailer += line


def reset(sock: socket.socket) -> None:
    """End a connection as one that broke: what is on its way is thrown away."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def close(sock: socket.socket) -> None:
    """End a connection in order: what was sent arrives, even where the other side is still sending."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(LINGER_S)
        while sock.recv(PIECE_BYTES):
            pass
    sock.close()


def has_hung_up(sock: socket.socket) -> bool:
    """Tell whether the other side is gone, without reading what it sent before."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(20))
