"""What is measured of this project's store: small programs, each run in a process of its own.

`python -m bench.ours [--limits JSON] [--no-sync] WHAT ARGUMENT...`; endpoint and credentials are the environment's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from bench.stopwatch import told
from csci_utils import io
from csci_utils.s3 import S3Limits, S3Uri, client, get, get_many, head, list_objects, put, put_many, use_limits


def main() -> None:
    """Do one thing once, with the client made before the clock starts, as a program that is under way has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", default="{}", help="other S3Limits than the default, as JSON")
    parser.add_argument("--no-sync", action="store_true", help="leave it to the system when files reach the disk")
    parser.add_argument("what", choices=sorted(PROGRAMS))
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    use_limits(S3Limits(**json.loads(options.limits)))
    if options.no_sync:
        for name in ("sync", "sync_folder"):
            setattr(io, name, lambda _path: None)
    client()
    PROGRAMS[options.what](*options.arguments)


def fetch(uri: str, path: str) -> None:
    """Fetch one object, and say by what it was checked."""
    with told() as seen:
        seen["checked_by"] = get(S3Uri.parse(uri), path).checked_by


def send(path: str, uri: str) -> None:
    """Send one file."""
    with told():
        put(path, S3Uri.parse(uri))


def fetch_all(prefix: str, folder: str) -> None:
    """Fetch all that lies under a prefix into a folder."""
    under = S3Uri.parse(prefix)
    with told() as seen:
        pairs = ((each.uri, Path(folder, each.uri.key.rpartition("/")[2])) for each in list_objects(under))
        results = [outcome.result() for outcome in get_many(pairs)]
        seen["checked_by"] = sorted({each.checked_by for each in results})


def send_all(folder: str, prefix: str) -> None:
    """Send the files of a folder to a prefix."""
    under = S3Uri.parse(prefix)
    with told():
        for outcome in put_many((under.joined(path.name), path) for path in sorted(Path(folder).iterdir())):
            outcome.result()


def look(uri: str, times: str) -> None:
    """Ask so many times whether there is an object, and say what the last answer was."""
    with told() as seen:
        for _ in range(int(times)):
            seen["found"] = head(S3Uri.parse(uri)) is not None


PROGRAMS: dict[str, Callable[..., None]] = {
    "fetch": fetch,
    "send": send,
    "fetch-all": fetch_all,
    "send-all": send_all,
    "look": look,
}


def args(what: str, *arguments: str, limits: dict[str, int] | None = None, no_sync: bool = False) -> list[str]:
    """Return the arguments after `python` that run one of these."""
    options = [*(["--limits", json.dumps(limits)] if limits else []), *(["--no-sync"] if no_sync else [])]
    return ["-m", "bench.ours", *options, what, *arguments]


if __name__ == "__main__":
    main()
