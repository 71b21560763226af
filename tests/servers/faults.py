"""What can go wrong between a client and a store, as actions of the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.servers.exchange import Action, Direction, Exchange, HangUp
from tests.servers.wire import Head


@dataclass(frozen=True)
class Answer(Action):
    """The store is not asked: this is the answer, with a code as S3 writes it."""

    status: int
    code: str

    def take(self, exchange: Exchange) -> bool:
        """Answer."""
        exchange.answer(self.status, f"<Error><Code>{self.code}</Code><Message>no reason</Message></Error>")
        return True


@dataclass(frozen=True)
class Drop(Action):
    """The connection ends before the body of a request goes anywhere; or ``answered``: when the store has done it."""

    answered: bool = False
    broken: bool = False

    def take(self, exchange: Exchange) -> bool:
        """Hang up before the store hears of the request."""
        if not self.answered:
            raise HangUp(broken=self.broken)
        return False

    def announce(self, head: Head, direction: Direction, exchange: Exchange) -> None:
        """Hang up when the store has answered."""
        if direction == "answer":
            raise HangUp(broken=self.broken)


@dataclass(frozen=True)
class AtByte(Action):
    """Something happens when so many bytes of a body have passed (or would have: a shorter body ends before)."""

    after_bytes: int
    direction: Direction = "answer"

    def tamper(self, pieces: Iterator[bytes], direction: Direction, exchange: Exchange) -> Iterator[bytes]:
        """Cut the pieces so that one ends there."""
        if direction != self.direction:
            yield from pieces
            return
        start, happened = 0, False
        for piece in pieces:
            end = start + len(piece)
            if not happened and start <= self.after_bytes < end:
                happened = True
                if before := piece[: self.after_bytes - start]:
                    yield before
                piece = self.happen(piece[self.after_bytes - start :], exchange)
            yield piece
            start = end

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Act; return the rest of the piece, at least one byte, as it goes on."""
        raise NotImplementedError


@dataclass(frozen=True)
class Corrupt(AtByte):
    """One bit of the byte there is another."""

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Change it."""
        return bytes([rest[0] ^ 1]) + rest[1:]


@dataclass(frozen=True)
class Cut(AtByte):
    """The connection ends there: in order, or ``broken`` (reset)."""

    broken: bool = False

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Hang up."""
        raise HangUp(broken=self.broken)


@dataclass(frozen=True)
class Stall(AtByte):
    """Nothing moves any more from there on, and the connection stays open for as long as the client wants."""

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Wait."""
        exchange.wait_for_hang_up()
        raise HangUp(broken=True)


@dataclass(frozen=True)
class Silence(Action):
    """The store has done what was asked, and its answer never comes."""

    def announce(self, head: Head, direction: Direction, exchange: Exchange) -> None:
        """Wait when the store has answered."""
        if direction == "answer":
            exchange.wait_for_hang_up()
            raise HangUp(broken=True)


@dataclass(frozen=True)
class Call(AtByte):
    """Nothing goes wrong: somebody is told that so many bytes have passed."""

    function: Callable[[], object] = lambda: None

    def happen(self, rest: bytes, exchange: Exchange) -> bytes:
        """Tell."""
        self.function()
        return rest


@dataclass(frozen=True)
class CallFirst(Action):
    """Nothing goes wrong: somebody is told before the store hears of the request."""

    function: Callable[[], object]

    def take(self, exchange: Exchange) -> bool:
        """Tell."""
        self.function()
        return False


@dataclass(frozen=True)
class CallWhenDone(Action):
    """Nothing goes wrong: somebody is told that the store has answered, before the client hears of it."""

    function: Callable[[], object]

    def announce(self, head: Head, direction: Direction, exchange: Exchange) -> None:
        """Tell."""
        if direction == "answer":
            self.function()


@dataclass(frozen=True)
class Lie(Action):
    """The announced length is more (or, negative, less) than what comes by so many bytes; then the connection ends."""

    by_bytes: int
    direction: Direction = "answer"

    def announce(self, head: Head, direction: Direction, exchange: Exchange) -> None:
        """Change the length."""
        if direction == self.direction and (length := head.get("content-length")):
            head.replace("content-length", str(int(length) + self.by_bytes))

    def finish(self, direction: Direction, exchange: Exchange) -> None:
        """End what cannot be used any more: no next message would be found where it begins."""
        if direction == self.direction:
            exchange.end(direction)
