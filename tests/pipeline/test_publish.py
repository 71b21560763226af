from __future__ import annotations

import dataclasses
import json

import pytest

from csci_utils.io import read_record, sha256_of, write_record
from csci_utils.s3 import AccessRefusedError, S3Uri, client, head
from pipeline import settings
from pipeline.errors import OfflineError
from pipeline.tasks import UploadImage, UploadStylized
from tests.pipeline.conftest import BUCKET, ROOT

pytestmark = pytest.mark.slow

STYLE = ("-i", "luigi.jpg", "-m", "mosaic")
RESULT = "stylized/mosaic/luigi.jpg"
RECORD = "stylized/mosaic/.luigi.jpg.json"


def in_s3(name: str) -> bytes:
    return bytes(client().get_object(Bucket=BUCKET, Key=f"styled/{name}")["Body"].read())


def put_in_s3(name: str, body: bytes) -> None:
    client().put_object(Bucket=BUCKET, Key=f"styled/{name}", Body=body)


def test_a_result_is_put_into_s3_with_its_record(bucket, run):
    status, out, err = run(*STYLE, "--publish")
    assert (status, out) == (0, [str(bucket.local / RESULT)])
    assert err == ["style-pipeline: 1 result made, 1 published, 0 up to date"]
    assert in_s3(RESULT) == (bucket.local / RESULT).read_bytes()
    assert json.loads(in_s3(RECORD)) == read_record(bucket.local / RESULT)
    info = head(S3Uri.parse(f"{ROOT}/{RESULT}"))
    assert info is not None
    assert info.sha256 == json.loads(in_s3(RECORD))["result"]["sha256"]


def test_without_being_asked_nothing_is_published(bucket, run):
    run(*STYLE)
    assert head(S3Uri.parse(f"{ROOT}/{RESULT}")) is None


def test_a_second_run_does_nothing(bucket, run):
    run(*STYLE, "--publish")
    before = client().head_object(Bucket=BUCKET, Key=f"styled/{RESULT}")["LastModified"]
    assert run(*STYLE, "--publish")[2] == ["style-pipeline: nothing to do: 1 result up to date"]
    assert client().head_object(Bucket=BUCKET, Key=f"styled/{RESULT}")["LastModified"] == before


def test_a_result_that_lies_here_is_published_as_it_is(bucket, run):
    run(*STYLE)
    made = (bucket.local / RESULT).stat().st_mtime_ns
    dry = run(*STYLE, "--publish", "--dry-run")[2]
    assert dry == [f"style-pipeline: would publish {ROOT}/{RESULT}: not published yet"]
    assert run(*STYLE, "--publish")[2] == ["style-pipeline: 0 results made, 1 published, 1 up to date"]
    assert (bucket.local / RESULT).stat().st_mtime_ns == made


def test_a_host_without_the_result_fetches_what_is_published(bucket, run, tmp_path):
    run(*STYLE, "--publish")
    other = tmp_path / "other"
    here = ("--local-root", str(other))
    dry = run(*STYLE, "--publish", "--dry-run", *here)[2]
    assert dry == [
        f"style-pipeline: would fetch {other / RESULT} from {ROOT}/{RESULT}, where it is published: not made yet"
    ]
    status, out, err = run(*STYLE, "--publish", *here)
    assert (status, out) == (0, [str(other / RESULT)])
    assert err == ["style-pipeline: 0 results made, 0 published, 1 fetched as published by others, 0 up to date"]
    assert (other / RESULT).read_bytes() == (bucket.local / RESULT).read_bytes()
    assert not (other / "saved_models").exists()
    assert run(*STYLE, *here)[2] == ["style-pipeline: nothing to do: 1 result up to date"]


def test_a_changed_model_is_published_anew(bucket, run):
    run(*STYLE, "--publish")
    before = in_s3(RESULT)
    bucket.put_model("mosaic.pth", seed=3)
    dry = run(*STYLE, "--publish", "--dry-run")[2][0]
    assert dry.count("model changed: sha256") == 2  # here and there
    assert run(*STYLE, "--publish")[0] == 0
    assert in_s3(RESULT) != before
    assert in_s3(RESULT) == (bucket.local / RESULT).read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda: client().delete_object(Bucket=BUCKET, Key=f"styled/{RECORD}"), "what is published has no record"),
        (lambda: client().put_object(Bucket=BUCKET, Key=f"styled/{RECORD}", Body=b"{"), "has no record"),
        (lambda: client().put_object(Bucket=BUCKET, Key=f"styled/{RECORD}", Body=b"[]"), "has no record"),
        (
            lambda: client().put_object(Bucket=BUCKET, Key=f"styled/{RESULT}", Body=b"x"),
            "not what its record describes",
        ),
    ],
    ids=["no-record", "half-a-record", "another-record", "another-result"],
)
def test_what_others_did_to_it_is_noticed_and_mended(bucket, run, damage, reason):
    run(*STYLE, "--publish")
    damage()
    assert reason in run(*STYLE, "--publish", "--dry-run")[2][0]
    assert run(*STYLE, "--publish")[0] == 0
    assert in_s3(RESULT) == (bucket.local / RESULT).read_bytes()
    assert UploadStylized(image="luigi.jpg", model="mosaic").complete()


def test_a_result_that_is_replaced_while_it_is_fetched_is_refused(bucket, run, tmp_path, monkeypatch):
    run(*STYLE, "--publish")
    real = UploadStylized._published

    def then_replaced(task):
        record = real(task)
        if record is not None:
            put_in_s3(RESULT, b"another")
        return record

    task = UploadStylized(image="luigi.jpg", model="mosaic")
    monkeypatch.setattr(UploadStylized, "_published", then_replaced)
    monkeypatch.setenv("PIPELINE_LOCAL_ROOT", str(tmp_path / "other"))
    with pytest.raises(OSError, match="as its record says, found"):
        task.bring()
    assert not (tmp_path / "other" / RESULT).exists()


def test_of_two_hosts_that_publish_at_once_one_result_stands_on_both(bucket, run, tmp_path):
    """Their bytes may differ, as those of a GPU and a CPU do."""
    run(*STYLE, "--publish")
    mine, other = (bucket.local / RESULT).read_bytes(), tmp_path / "other"
    run(*STYLE, "--local-root", str(other))
    record = read_record(other / RESULT)
    (other / RESULT).write_bytes(mine + b"\0")
    digest = {"sha256": sha256_of(other / RESULT), "size_bytes": len(mine) + 1}
    write_record(other / RESULT, record | {"result": digest})
    dry = run(*STYLE, "--publish", "--dry-run", "--local-root", str(other))[2][0]
    assert dry.endswith("where it is published: others published other bytes, made from the same")
    assert run(*STYLE, "--publish", "--local-root", str(other))[0] == 0
    assert (other / RESULT).read_bytes() == mine == in_s3(RESULT)
    err = run(*STYLE, "--publish", "--local-root", str(other))[2]
    assert err == ["style-pipeline: nothing to do: 1 result up to date"]


def test_a_result_that_was_made_and_not_published_is_told_as_that(bucket, run, monkeypatch):
    from pipeline.tasks import publish

    def refuse(*_: object, **__: object) -> None:
        raise AccessRefusedError(f"{ROOT}/{RESULT}: wanted to write it: the store refused")

    monkeypatch.setattr(publish, "push", refuse)
    status, out, err = run(*STYLE, "--publish")
    assert (status, out) == (35, [str(bucket.local / RESULT)])
    assert err[-1] == "style-pipeline: 1 result made, 0 published, 1 not published, 0 up to date"


@pytest.mark.parametrize(
    "command",
    [("put", "sea.png"), (*STYLE, "--publish"), ("remove", "x.jpg", "--published"), ("many", "--images", "*")],
)
def test_nothing_is_put_into_a_store_that_ends_with_the_command(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "sea.png").write_bytes(b"x")
    status, _, err = run(*command, "--embedded")
    assert (status, len(err)) == (2, 1)
    assert "what is put into the embedded S3 ends with the command" in err[0]


def test_what_would_be_put_into_such_a_store_may_be_asked(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (("images/sea.png", b"x"), ("saved_models/mosaic.pth", b"y")):
        (tmp_path / "bucket" / name).parent.mkdir(parents=True)
        (tmp_path / "bucket" / name).write_bytes(content)
    status, _, err = run("many", "--images", "*", "-m", "mosaic", "--embedded", "--dry-run")
    assert (status, err[-1]) == (0, "style-pipeline: 1 of 1 results to make, in 1 of 1 shards")


def test_publishing_and_asking_nothing_contradict_each_other(bucket, run):
    status, _, err = run(*STYLE, "--publish", "--offline")
    assert status == 2
    assert err == [
        "style-pipeline: error: --publish sends results to S3, and --offline asks it nothing; leave one of them out"
    ]


@pytest.mark.parametrize("kind", [UploadImage, UploadStylized])
def test_tasks_that_send_ask_nothing_of_s3_where_that_is_forbidden(bucket, kind):
    named = {"image": "luigi.jpg"} if kind is UploadImage else {"image": "luigi.jpg", "model": "mosaic"}
    task = kind(**named)
    with (
        settings.use(dataclasses.replace(settings.current(), offline=True)),
        pytest.raises(OfflineError, match="to S3, and PIPELINE_OFFLINE forbids to ask it anything; unset it"),
    ):
        task.complete()


def test_a_picture_that_cannot_be_styled_publishes_nothing(bucket, run):
    bucket.put_bytes("images/bad.jpg", b"no picture")
    status, out, err = run("-i", "bad.jpg", "-i", "luigi.jpg", "-m", "mosaic", "--publish")
    assert (status, out) == (30, [str(bucket.local / RESULT)])
    assert err[0].startswith("style-pipeline: error: bad.jpg with mosaic.pth: ")
    assert err[1] == "style-pipeline: 1 result made, 1 published, 0 up to date, 1 not made"
    assert head(S3Uri.parse(f"{ROOT}/stylized/mosaic/bad.jpg")) is None


def test_an_upload_task_sends_what_lies_in_the_mirror(bucket, run):
    (bucket.local / "images").mkdir(parents=True)
    (bucket.local / "images" / "new.jpg").write_bytes(b"picture")
    task = UploadImage(image="new.jpg")
    assert not task.complete()
    task.run()
    assert task.complete()
    assert in_s3("images/new.jpg") == b"picture"
