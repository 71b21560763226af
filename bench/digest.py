"""What sha256 itself costs, of the download that it guards."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator

from bench import ours
from bench.measure import interleaved
from bench.store import BUCKET, Store
from bench.transfer_table import alone_s, median
from csci_utils.s3 import S3Limits


def run(store: Store, *, rounds: int) -> Iterator[list[str]]:
    """One table: GB/s of this machine's sha256 and MD5, and their share of a big download."""
    num_bytes, chunk_bytes = store.sizes.big_bytes, S3Limits().chunk_bytes
    path, sha256 = store.new_file("big", num_bytes)
    store.send_whole(path, "digest", sha256=sha256)
    path.unlink()
    command = store.python("ours", ours.args("fetch", f"s3://{BUCKET}/digest", str(store.folder / "digest")))
    samples = interleaved([command], rounds=rounds)["ours"]
    moving_s, cpu_s = alone_s(samples), median(samples, lambda sample: sample.told["moving_cpu_s"])
    lines = [
        f"digests: CPU seconds for {num_bytes / 1e6:g} MB in chunks of {chunk_bytes // 1024} KiB, {rounds} rounds;",
        f"shares are of our download of it, alone: {moving_s:.2f} s, {cpu_s:.2f} CPU s, {rounds} rounds, 1 discarded",
        f"{'':10}{'seconds':>10}{'GB/s':>8}{'of its time':>14}{'of its CPU':>14}",
    ]
    for name in ("sha256", "md5"):
        seconds = statistics.median(_digest_s(name, num_bytes, chunk_bytes) for _ in range(rounds))
        shares = f"{100 * seconds / moving_s:>13.0f}%{100 * seconds / cpu_s:>13.0f}%" if name == "sha256" else ""
        lines.append(f"{name:10}{seconds:>10.3f}{num_bytes / seconds / 1e9:>8.2f}{shares}")
    yield lines


def _digest_s(name: str, num_bytes: int, chunk_bytes: int) -> float:
    digest, chunk = hashlib.new(name, usedforsecurity=False), bytes(chunk_bytes)
    start = time.process_time()
    for _ in range(num_bytes // chunk_bytes):
        digest.update(chunk)
    digest.update(chunk[: num_bytes % chunk_bytes])
    digest.digest()
    return time.process_time() - start
