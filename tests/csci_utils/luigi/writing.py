"""Ways of writing and reading a target, and of failing while it is written."""

from __future__ import annotations

from pathlib import Path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "a cat.jpg")


def write(target, body: bytes) -> None:
    with target.open("w") as file:
        file.write(body)


def write_temporary(target, body: bytes) -> None:
    with target.temporary_path() as path:
        Path(path).write_bytes(body)


def read(target) -> bytes:
    with target.open("r") as file:
        return file.read()


def write_half_and_raise(target, fault: BaseException) -> None:
    with target.open("w") as file:
        file.write(b"half")
        raise fault


def temporary_half_and_raise(target, fault: BaseException) -> None:
    with target.temporary_path() as path:
        Path(path).write_bytes(b"half")
        raise fault
