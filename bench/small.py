"""Many small objects down and up, against s5cmd and plain boto3."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import ours, peers, plain, transfer_table
from bench.measure import Command, interleaved
from bench.store import BUCKET, Store
from bench.transfer_table import Goal
from csci_utils.io import md5_of, sha256_of
from csci_utils.s3 import S3Limits

OURS_DOWN, OURS_UP = "ours: get_many, verified and synced", "ours: put_many, digests compared"
S5CMD = "s5cmd cp, its 256 workers"
AS_MANY = S3Limits().parallel_objects
S5CMD_AS_MANY = f"s5cmd with {AS_MANY} workers, as ours"
TRIED = {
    f"tried: {num} at a time": {"parallel_objects": num, "pool_connections": max(num, S3Limits().pool_connections)}
    for num in (8, 16, 32, 64)
    if num != AS_MANY
}
NOT_SYNCED = "tried: without syncing files"


def run(store: Store, *, rounds: int) -> Iterator[list[str]]:
    """Tables for both ways; what goes up first is what comes down then."""
    source = store.folder / "small"
    for number in range(store.sizes.num_small):
        store.new_file(f"small/{number:05}.bin", store.sizes.small_bytes)
    yield _compare(store, "up", _up(store, source), _tried_up(store, source), rounds=rounds)
    _check_sent(store, source)
    yield _compare(store, "down", _down(store), _tried_down(store), rounds=rounds)
    for folder in sorted((store.folder / "many").iterdir()):
        _check_same(source, folder)


def _compare(
    store: Store, way: str, commands: Sequence[Command], tried: Sequence[Command], *, rounds: int
) -> list[str]:
    goal = Goal(ours=OURS_UP if way == "up" else OURS_DOWN, peer=S5CMD)
    samples = interleaved(commands, rounds=rounds, server_pids=store.server_pids)
    num, size_kb = store.sizes.num_small, store.sizes.small_bytes / 1e3
    lines = [
        f"small {way}: {num} objects of {size_kb:g} KB; {rounds} rounds interleaved, 1 discarded before them; "
        "all compared",
        *transfer_table.table(samples, peer=S5CMD),
        *transfer_table.verdict(samples, goal),
    ]
    if transfer_table.is_met(samples, goal):
        return lines
    fewer = max(1, rounds // 2)
    again = interleaved([*commands[:2], *tried], rounds=fewer, server_pids=store.server_pids)
    return [
        *lines,
        f"what was tried, {fewer} rounds interleaved, 1 discarded before them",
        *transfer_table.table(again, peer=S5CMD),
    ]


def _s5cmd(source: str, target: str, *options: str) -> list[str]:
    return [peers.s5cmd(), "--log", "error", *options, "cp", source, target]


def _up(store: Store, source: Path) -> list[Command]:
    return [
        store.command(S5CMD, _s5cmd(f"{source}/", f"s3://{BUCKET}/s5cmd/")),
        store.python(OURS_UP, ours.args("send-all", str(source), f"s3://{BUCKET}/ours")),
        store.python(_boto3("upload_file"), plain.args("send-all", str(source), f"s3://{BUCKET}/boto3", str(AS_MANY))),
    ]


def _tried_up(store: Store, source: Path) -> list[Command]:
    prefix = f"s3://{BUCKET}/tried"
    return [
        store.command(S5CMD_AS_MANY, _s5cmd(f"{source}/", f"{prefix}/", "--numworkers", str(AS_MANY))),
        *(store.python(name, ours.args("send-all", str(source), prefix, limits=TRIED[name])) for name in TRIED),
    ]


def _down(store: Store) -> list[Command]:
    prefix = f"s3://{BUCKET}/ours/"
    folders = [store.folder / "many" / name for name in ("s5cmd", "ours", "boto3")]
    return [
        store.command(S5CMD, _s5cmd(f"{prefix}*", f"{folders[0]}/"), lambda: _emptied(folders[0])),
        store.python(OURS_DOWN, ours.args("fetch-all", prefix, str(folders[1])), lambda: _emptied(folders[1])),
        store.python(
            _boto3("download_file"),
            plain.args("fetch-all", prefix, str(folders[2]), str(AS_MANY)),
            lambda: _emptied(folders[2]),
        ),
    ]


def _tried_down(store: Store) -> list[Command]:
    prefix, folder = f"s3://{BUCKET}/ours/", store.folder / "many" / "tried"
    args = {name: ours.args("fetch-all", prefix, str(folder), limits=limits) for name, limits in TRIED.items()}
    args[NOT_SYNCED] = ours.args("fetch-all", prefix, str(folder), no_sync=True)
    s5cmd = _s5cmd(f"{prefix}*", f"{folder}/", "--numworkers", str(AS_MANY))
    return [
        store.command(S5CMD_AS_MANY, s5cmd, lambda: _emptied(folder)),
        *(store.python(name, each, lambda: _emptied(folder)) for name, each in args.items()),
    ]


def _boto3(method: str) -> str:
    return f"boto3 {method}, {AS_MANY} threads"


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _check_sent(store: Store, source: Path) -> None:
    """Compare the MD5s that the store took of what each program sent with those of the files.

    Raises:
        RuntimeError: they differ, or objects are missing.
    """
    wanted = {path.name: md5_of(path) for path in source.iterdir()}
    for program in ("s5cmd", "ours", "boto3"):
        pages = store.plain.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{program}/")
        found = {each["Key"].rpartition("/")[2]: each["ETag"].strip('"') for page in pages for each in page["Contents"]}
        if found != wanted:
            raise RuntimeError(f"the store holds other bytes than {program} sent; do not trust this run")


def _check_same(source: Path, folder: Path) -> None:
    """Compare what a program wrote last with what was sent.

    Raises:
        RuntimeError: it differs.
    """
    wanted, found = ({path.name: sha256_of(path) for path in each.iterdir()} for each in (source, folder))
    if wanted != found:
        raise RuntimeError(f"{folder.name} wrote other files than the store holds; do not trust this run")
