from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

import pytest

from bench import many_store_program
from bench.many_store import noting_store
from tests.servers.stores import moto_at


@pytest.mark.slow
def test_a_store_is_filled_and_tells_what_it_was_asked(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text(name)
    with noting_store() as store, moto_at(store.env["AWS_ENDPOINT_URL_S3"]) as seen:
        store.fill("root/images/", sorted(tmp_path.iterdir()))
        assert store.count("root/") == 2
        assert store.requests() == []
        answer = seen.plain.get_object(Bucket="root", Key="images/a.jpg")
        assert answer["Body"].read() == b"a.jpg"
        assert answer["Metadata"] == {"sha256": hashlib.sha256(b"a.jpg").hexdigest()}
        assert seen.keys("root") == ["images/a.jpg", "images/b.jpg"]
        get, listing = store.requests()
        assert (get.method, get.target) == ("GET", "/root/images/a.jpg?")
        assert get.begun_s < get.ended_s
        assert get.begun_s < listing.begun_s
        assert "list-type=2" in listing.target
        assert store.requests() == []
        store.forget("root/images/a")
        assert seen.keys("root") == ["images/b.jpg"]
        with pytest.raises(RuntimeError, match="the store's process ended when it was asked to fill"):
            store.fill("root/images/", [tmp_path / "missing"])


def test_times_are_read_as_the_slow_way_reads_them(monkeypatch):
    import botocore.utils
    import moto.core.parse
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    slow = botocore.utils.parse_timestamp
    monkeypatch.setattr(botocore.utils, "parse_timestamp", slow)
    monkeypatch.setattr(moto.core.parse, "botocore_parse_timestamp", slow)
    find = DomainDispatcherApplication.get_backend_for_host
    monkeypatch.setattr(DomainDispatcherApplication, "get_backend_for_host", find)
    many_store_program.quickened()
    for text in ("2026-01-02T03:04:05.678000Z", "2026-01-02T03:04:05Z", "Fri, 02 Jan 2026 03:04:05 GMT", 1767323045):
        assert botocore.utils.parse_timestamp(text).astimezone(UTC) == slow(text).astimezone(UTC)
    assert botocore.utils.parse_timestamp("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert DomainDispatcherApplication.get_backend_for_host is not find


def test_a_request_is_noted_once_it_is_answered():
    notes = many_store_program.Notes()
    app = many_store_program.noting(lambda _environ, _start: [b"a", b"b"], notes)
    answer = app({"PATH_INFO": "/bench/a", "QUERY_STRING": "x=1", "REQUEST_METHOD": "GET"}, None)
    assert next(answer) == b"a"
    with pytest.raises(TimeoutError, match=re.escape("1 requests are not answered after 0 s")):
        notes.take(patience_s=0)
    assert list(answer) == [b"b"]
    [(begun_s, ended_s, method, target)] = notes.take()
    assert begun_s <= ended_s
    assert (method, target) == ("GET", "/bench/a?x=1")
    assert notes.take() == []


def test_what_was_asked_is_told_when_requests_under_way_are_answered():
    notes = many_store_program.Notes()
    begun_s = notes.begin()
    with ThreadPoolExecutor() as pool:
        taken = pool.submit(notes.take)
        assert wait([taken], timeout=0.05).not_done
        notes.end(begun_s, "GET", "/bench/a?")
        [(_, _, method, _)] = taken.result(timeout=60)
    assert method == "GET"
