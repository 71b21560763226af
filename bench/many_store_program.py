"""`python -m bench.many_store_program`: moto, an S3 server, filled from inside, which notes each request.

It prints its port, then answers each line of standard input, a JSON object whose ``do`` names a function below, with
one. Two things that moto does anew for each request or object are done once or by quicker means: see `quickened`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

Asked = tuple[float, float, str, str]
"""When a request came and when it was answered (seconds, monotonic), its method, its path with the query."""


def main() -> None:
    """Serve until standard input ends."""
    from moto.moto_server import threaded_moto_server as moto_server
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it reports each request
    quickened()
    notes = Notes()
    app = noting(DomainDispatcherApplication(create_backend_app), notes)
    server = moto_server.make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), notes)), flush=True)


class Notes:
    """What was asked, whichever thread answers it."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._num_open = 0
        self._changed = threading.Condition()

    def begin(self) -> float:
        """Note that a request came, and return when."""
        with self._changed:
            self._num_open += 1
        return time.monotonic()

    def end(self, begun_s: float, method: str, target: str) -> None:
        """Note that the request of then is answered."""
        with self._changed:
            self._asked.append((begun_s, time.monotonic(), method, target))
            self._num_open -= 1
            self._changed.notify_all()

    def take(self, patience_s: float = 60) -> list[Asked]:
        """Return what was asked since the last call.

        A client has its answer before the thread that gave it comes to note that, so this waits for requests under way.

        Raises:
            TimeoutError: One was under way for longer than `patience_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._num_open == 0, patience_s):
                raise TimeoutError(f"{self._num_open} requests are not answered after {patience_s} s")
            taken, self._asked = self._asked, []
            return taken


def answer(wanted: dict[str, Any], notes: Notes) -> object:
    """Do what a line asks for: ``fill``, ``forget``, ``requests`` or ``keys``."""
    if wanted["do"] == "fill":
        return fill(wanted["prefix"], wanted["paths"])
    if wanted["do"] == "forget":
        return forget(wanted["prefix"])
    if wanted["do"] == "keys":
        return len(_keys(wanted["prefix"]))
    return notes.take()


def fill(prefix: str, paths: Sequence[str]) -> int:
    """Put files below a prefix, with the digests that our own uploads carry, and return how many.

    Args:
        prefix: ``bucket/prefix``; a bucket that is not there is made. Each job has its own: moto looks through all that
            a bucket holds for each page of a listing.
        paths: Of the files.
    """
    bucket, _, folder = prefix.partition("/")
    if bucket not in _backend().buckets:
        _backend().create_bucket(bucket, "us-east-1")
    for path in map(Path, paths):
        body = path.read_bytes()
        made = _backend().put_object(bucket, folder + path.name, body)
        made.set_metadata({"x-amz-meta-sha256": hashlib.sha256(body).hexdigest()})
    return len(paths)


def forget(prefix: str) -> int:
    """Remove what lies below a prefix, and return how many objects that was."""
    keys = _keys(prefix)
    for key in keys:
        _backend().get_bucket(prefix.partition("/")[0]).keys.pop(key)
    return len(keys)


def noting(app: Callable[..., Iterable[bytes]], notes: Notes) -> Callable[..., Iterator[bytes]]:
    """Wrap an application (WSGI) so that it notes each request once it is answered."""

    def noted(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        begun_s = notes.begin()
        try:
            yield from app(environ, start_response)
        finally:
            notes.end(begun_s, environ["REQUEST_METHOD"], f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}")

    return noted


def quickened() -> None:
    """Have moto (5.2) look once for what answers for a host, and read times by the standard library.

    It looks through its own folders twice a request, a third of the time of a small GET; and it parses its own ISO
    dates by dateutil before it prints each, two thirds of the 130 ms of a listing of a thousand keys. Where the same
    cores style, the tables would measure that.
    """
    import botocore.utils
    import moto.core.parse
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    parse: Any = moto.core.parse
    dispatcher: Any = DomainDispatcherApplication
    slow = botocore.utils.parse_timestamp

    def parse_timestamp(value: Any) -> datetime:
        is_iso = isinstance(value, str) and value[10:11] == "T"
        return datetime.fromisoformat(value) if is_iso else slow(value)

    botocore.utils.parse_timestamp = parse_timestamp
    parse.botocore_parse_timestamp = parse_timestamp
    dispatcher.get_backend_for_host = functools.lru_cache(dispatcher.get_backend_for_host)


def _keys(prefix: str) -> list[str]:
    bucket, _, beginning = prefix.partition("/")
    return [key for key in _backend().get_bucket(bucket).keys if key.startswith(beginning)]


def _backend() -> Any:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


if __name__ == "__main__":
    main()
