"""Is there such an object? Requests counted between program and store, ours against luigi's own S3 target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench import ours, plain
from bench.measure import Command, interleaved
from bench.store import BUCKET, Store
from bench.transfer_table import alone_s
from tests.servers.proxy import FaultProxy

CASES = {"hit": "looks/here", "miss": "looks/absent", "bare prefix": "looks"}
"""Keys; below the last one there are objects, and there is none of its own name."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look took and said."""

    num_requests: int
    found: bool


def run(store: Store, *, rounds: int) -> Iterator[list[str]]:
    """One table: requests, the answer, and the time of one look."""
    num = store.sizes.num_looks
    lines = [
        f"exists: requests counted on the wire; milliseconds of a look, the mean of {num} in one process",
        f"{rounds} rounds interleaved, 1 discarded before them; the peer is luigi.contrib.s3.S3Target.exists",
        f"{'':14}{'ours':>10}{'answer':>9}{'ms':>8}{'luigi':>12}{'answer':>9}{'ms':>8}{'ratio':>8}",
    ]
    looks = counted(store)
    for case, key in CASES.items():
        samples = interleaved(_commands(store, key, num), rounds=rounds)
        lines.append(_line(case, looks[case], {name: 1000 * alone_s(each) / num for name, each in samples.items()}))
    met = all(looks[case]["ours"].num_requests == 1 for case in CASES)
    yield [*lines, f"goal, one request, hit or miss: {'met' if met else 'MISSED'}"]


def counted(store: Store) -> dict[str, dict[str, Look]]:
    """Look once at each case, with ours and with luigi's, and count the requests."""
    store.plain.put_object(Bucket=BUCKET, Key=CASES["hit"], Body=b"here")
    commands = {case: _commands(store, key, 1) for case, key in CASES.items()}
    return {case: {command.name: _look(store, command) for command in each} for case, each in commands.items()}


def _line(case: str, looks: dict[str, Look], milliseconds: dict[str, float]) -> str:
    cells = ""
    for name, width in (("ours", 10), ("luigi", 12)):
        answer = "there" if looks[name].found else "absent"
        cells += f"{looks[name].num_requests:>{width}}{answer:>9}{milliseconds[name]:>8.1f}"
    return f"{case:14}{cells}{milliseconds['ours'] / milliseconds['luigi']:>8.2f}"


def _commands(store: Store, key: str, times: int) -> list[Command]:
    arguments = (f"s3://{BUCKET}/{key}", str(times))
    return [
        store.python("ours", ours.args("look", *arguments)),
        store.python("luigi", plain.args("look", *arguments)),
    ]


def _look(store: Store, command: Command) -> Look:
    """Run a command with a proxy between it and the store, and count what passes."""
    with FaultProxy(store.url) as proxy:
        env = {**command.env, "AWS_ENDPOINT_URL_S3": proxy.url}
        samples = interleaved([replace(command, env=env)], rounds=1, discarded=0)
        return Look(num_requests=len(proxy.requests), found=samples[command.name][0].told["found"])
