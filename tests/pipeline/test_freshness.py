"""What still holds, what is made again, what is taken away, and what S3 is asked for it."""

from __future__ import annotations

import json

import pytest

from csci_utils.io import read_record, record_path, write_record
from csci_utils.s3 import S3Uri, client, head
from neural_style import contract
from tests.pipeline.conftest import BUCKET, ROOT

pytestmark = pytest.mark.slow

STYLE = ("-i", "luigi.jpg", "-m", "mosaic")
RESULT = "stylized/mosaic/luigi.jpg"


@pytest.fixture
def results(bucket, run):
    """Two pictures by two models."""
    bucket.put_image("sea.png", seed=2)
    bucket.put_model("candy.pth", seed=2)
    assert run("-i", "luigi.jpg", "-i", "sea.png", "-m", "mosaic", "-m", "candy")[0] == 0
    return bucket


def said(err: list[str], about: str) -> str:
    return next(line for line in err if about in line).removeprefix("style-pipeline: ")


# --- status


def test_status_names_what_holds(results, run):
    status, out, err = run("status")
    assert status == 0
    assert out == [str(results.local / "stylized" / name) for name in sorted(names())]
    assert err[-1] == "style-pipeline: 4 of 4 results up to date"


def names() -> list[str]:
    return [f"{model}/{picture}" for model in ("mosaic", "candy") for picture in ("luigi.jpg", "sea.png")]


def test_a_changed_model_makes_exactly_its_results_stale_and_says_why(results, run):
    results.put_model("mosaic.pth", seed=3)
    status, out, err = run("status")
    assert (status, [path.split("/")[-2] for path in out]) == (0, ["candy", "candy"])
    for picture in ("luigi.jpg", "sea.png"):
        line = said(err, f"mosaic/{picture}")
        assert line.startswith(f"stale {results.local}/stylized/mosaic/{picture}: model changed: sha256 ")
    assert err[-1] == "style-pipeline: 2 of 4 results up to date"
    run("-i", "luigi.jpg", "-i", "sea.png", "-m", "mosaic", "-m", "candy")
    assert run("status")[2][-1] == "style-pipeline: 4 of 4 results up to date"


def test_a_model_of_others_is_told_by_its_etag(results, run):
    for seed in (3, 4):
        client().put_object(Bucket=BUCKET, Key="styled/saved_models/mosaic.pth", Body=_model(seed))
        if seed == 3:
            run(*STYLE)
    line = said(run("status")[2], "mosaic/luigi.jpg")
    assert "model changed: s3://" in line
    assert " etag " in line


def _model(seed: int) -> bytes:
    from tests.pipeline.conftest import model_bytes

    return model_bytes(seed)


def test_status_tells_other_reasons(results, run, monkeypatch):
    stylized = results.local / "stylized"
    client().delete_object(Bucket=BUCKET, Key="styled/images/sea.png")
    record_path(stylized / "candy/luigi.jpg").unlink()
    (stylized / "mosaic/luigi.jpg").write_bytes(b"other")
    err = run("status")[2]
    assert said(err, "candy/luigi.jpg").endswith("it has no record of what it was made from")
    assert said(err, "mosaic/luigi.jpg").endswith("the file is not the one that was made")
    assert said(err, "mosaic/sea.png").endswith(f"image is gone: {ROOT}/images/sea.png")
    monkeypatch.setattr("pipeline.status.ALGORITHM_VERSION", contract.ALGORITHM_VERSION + 1)
    results.put_image("sea.png", seed=2)
    assert said(run("status")[2], "mosaic/sea.png").endswith("algorithm changed: 1 -> 2")


def test_status_of_one_result(results, run):
    assert run("status", "mosaic/luigi.jpg")[1] == [str(results.local / RESULT)]
    assert run("status", RESULT)[1] == [str(results.local / RESULT)]
    assert run("status", str(results.local / RESULT))[1] == [str(results.local / RESULT)]
    status, _, err = run("status", "mosaic/none.jpg")
    assert (status, len(err)) == (2, 1)
    assert "'mosaic/none.jpg' is no file here" in err[0]


def test_status_without_results_says_so(store, run):
    assert run("status") == (0, [], [f"style-pipeline: no results below {store.local / 'stylized'}"])


def test_a_store_that_does_not_say_hides_nothing_else(results, run):
    other = f"s3://others/{ROOT.rpartition('/')[2]}"
    path = results.local / "stylized/candy/sea.png"
    record = read_record(path)
    record["made_from"]["model"]["uri"] = f"{other}/saved_models/candy.pth"
    write_record(path, record)
    status, out, err = run("status")
    assert (status, len(out)) == (35, 3)
    assert said(err, "candy/sea.png").startswith(f"cannot tell {path}: {other}/saved_models/candy.pth: ")
    assert err[-1] == "style-pipeline: 3 of 4 results up to date"


# --- force


def test_force_makes_again_what_holds(bucket, run):
    run(*STYLE)
    before = (bucket.local / RESULT).stat()
    dry = run(*STYLE, "--force", "--dry-run")[2]
    assert dry == [f"style-pipeline: would make {bucket.local / RESULT}: asked to make it again"]
    status, _, err = run(*STYLE, "--force")
    assert (status, err) == (0, ["style-pipeline: 1 result made, 0 up to date"])
    assert (bucket.local / RESULT).stat().st_ino != before.st_ino
    assert run(*STYLE)[2] == ["style-pipeline: nothing to do: 1 result up to date"]
    assert run(*STYLE, "--force")[2] == ["style-pipeline: 1 result made, 0 up to date"]


def test_a_forced_run_that_fails_leaves_the_result_as_it_was(bucket, run, monkeypatch):
    from neural_style.errors import NeuralStyleError
    from neural_style.stylize import Stylizer

    run(*STYLE)
    before = (bucket.local / RESULT).read_bytes(), read_record(bucket.local / RESULT)

    def fail(*_: object, **__: object) -> None:
        raise NeuralStyleError("no")

    monkeypatch.setattr(Stylizer, "style_file", fail)
    assert run(*STYLE, "--force")[0] == 30
    assert ((bucket.local / RESULT).read_bytes(), read_record(bucket.local / RESULT)) == before
    assert run(*STYLE)[2] == ["style-pipeline: nothing to do: 1 result up to date"]


def test_force_publishes_again(bucket, run):
    run(*STYLE, "--publish")
    err = run(*STYLE, "--publish", "--force")[2]
    assert err == ["style-pipeline: 1 result made, 1 published, 0 up to date"]


# --- offline


@pytest.fixture
def unreachable(monkeypatch):
    """From now on any request is a failure of the test."""

    def cut() -> None:
        monkeypatch.setattr("botocore.endpoint.Endpoint.make_request", lambda *_: pytest.fail("S3 was asked"))

    return cut


def test_offline_styles_from_local_copies_and_asks_nothing(bucket, run, unreachable):
    run("-i", "luigi.jpg", "-m", "mosaic", "--max-side", "16")
    unreachable()
    status, out, err = run(*STYLE, "--offline")
    assert (status, out) == (0, [str(bucket.local / RESULT)]), err
    assert run(*STYLE, "--offline")[2] == ["style-pipeline: nothing to do: 1 result up to date"]
    assert run("status", "--offline")[2][-1] == "style-pipeline: 2 of 2 results up to date"
    (bucket.local / "saved_models/mosaic.pth").unlink()
    err = run("status", "--offline")[2]
    assert said(err, "luigi.jpg").endswith(f"model has no whole copy here: {ROOT}/saved_models/mosaic.pth")


def test_offline_does_not_notice_what_changed_in_s3(bucket, run):
    run(*STYLE)
    bucket.put_model("mosaic.pth", seed=3)
    assert run(*STYLE, "--offline")[2] == ["style-pipeline: nothing to do: 1 result up to date"]
    assert run(*STYLE)[2] == ["style-pipeline: 1 result made, 0 up to date"]


def test_offline_without_a_copy_says_what_is_not_here(bucket, run, unreachable):
    unreachable()
    status, out, err = run(*STYLE, "--offline")
    assert (status, out) == (20, [])
    assert err[0] == (
        f"style-pipeline: error: {ROOT}/images/luigi.jpg is not here, and S3 is not to be asked; "
        "put it there, or correct the name"
    )


# --- reproduce


def test_a_result_comes_out_the_same_again(results, run):
    before = {name: (results.local / name).read_bytes() for name in results.files()}
    status, out, err = run("reproduce", "mosaic/luigi.jpg", "candy/sea.png")
    assert (status, out) == (0, [str(results.local / RESULT), str(results.local / "stylized/candy/sea.png")])
    sha256 = read_record(results.local / RESULT)["result"]["sha256"]
    assert err[0] == f"style-pipeline: reproduced {results.local / RESULT}: sha256 {sha256}"
    assert {name: (results.local / name).read_bytes() for name in results.files()} == before


def test_a_result_that_comes_out_otherwise_says_how_far_it_is(bucket, run):
    from PIL import Image

    run("-i", "luigi.jpg", "-m", "mosaic", "--max-side", "20")
    path = bucket.local / "stylized/mosaic/luigi@20.jpg"
    bucket.put_image("luigi.png")
    run("-i", "luigi.png", "-m", "mosaic")
    path = bucket.local / "stylized/mosaic/luigi.png"
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    red, green, blue = pixels.getpixel((3, 4))
    pixels.putpixel((3, 4), ((red + 60) % 256 if red < 196 else red - 60, green, blue))
    pixels.save(path)
    from csci_utils.io import sha256_of

    record = read_record(path)
    write_record(path, record | {"result": {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}})
    status, out, err = run("reproduce", "mosaic/luigi.png")
    assert (status, out) == (30, [])
    assert "made again it differs: largest difference 60 of 255, 46.2 dB; recorded sha256" in err[0] + " "


def test_what_it_was_made_from_is_fetched_where_the_copy_has_gone(bucket, run):
    run(*STYLE)
    (bucket.local / "saved_models/mosaic.pth").unlink()
    assert run("reproduce", RESULT)[0] == 0
    assert not (bucket.local / "saved_models/mosaic.pth").exists()


def test_a_model_that_changed_cannot_be_reproduced_with(bucket, run):
    run(*STYLE)
    bucket.put_model("mosaic.pth", seed=3)
    (bucket.local / "saved_models/mosaic.pth").unlink()
    status, _, err = run("reproduce", RESULT)
    assert status == 30
    assert f"{ROOT}/saved_models/mosaic.pth: the model changed, so the result cannot be made as it was" in err[0]
    assert run("reproduce", "--offline", RESULT)[0] == 30


def test_the_recorded_threads_are_used(bucket, run, monkeypatch):
    from neural_style import stylize

    run(*STYLE)
    record = read_record(bucket.local / RESULT)
    write_record(bucket.local / RESULT, record | {"made_by": record["made_by"] | {"threads": 3}})
    real, asked = stylize.open_engine, []

    def noting(path: object, **options: object) -> object:
        asked.append(options)
        return real(path, **options)

    monkeypatch.setattr(stylize, "open_engine", noting)
    run("reproduce", RESULT)
    assert [(each["device"], each["threads"]) for each in asked] == [("cpu", 3)]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "has no record that says what it was made from"),
        ({"format": 99}, "has no record that says what it was made from"),
        ({"made_from": {}}, "has a record that is not whole"),
        ({"parameters": {"max_side": "abc"}}, "has a record that is not whole"),
        ({"parameters": {"max_side": "abc", "quality": 95, "precision": "float32", "algorithm": 1}}, "not whole"),
        ({"parameters": {"max_side": None, "quality": 950, "precision": "float32", "algorithm": 1}}, "not whole"),
        ({"made_by": {"threads": -3}}, "has a record that is not whole"),
        ({"made_by": []}, "has a record that is not whole"),
        ({"result": {"sha256": 5}}, "has a record that is not whole"),
    ],
    ids=["none", "later-format", "no-sources", "odd-parameters", "text", "quality", "threads", "list", "digest"],
)
def test_a_result_without_a_whole_record_cannot_be_reproduced(bucket, run, record, said):
    run(*STYLE)
    whole = read_record(bucket.local / RESULT)
    record_path(bucket.local / RESULT).unlink()
    if record:
        record_path(bucket.local / RESULT).write_text(json.dumps(whole | record))
    status, _, err = run("reproduce", RESULT)
    assert (status, len(err)) == (2, 1)
    assert said in err[0]


# --- remove


def test_a_model_is_removed_with_exactly_its_results(results, run):
    path = results.local / "saved_models/mosaic.pth"
    dry = run("remove", "saved_models/mosaic.pth", "--dry-run")[2]
    assert {line.split()[-1].rpartition("/")[2] for line in dry} == {"mosaic.pth", "luigi.jpg", "sea.png"}
    assert all("would remove" in line for line in dry)
    assert path.is_file()
    status, _, err = run("remove", "saved_models/mosaic.pth")
    assert (status, len(err)) == (0, 3)
    assert [name for name in results.files() if "mosaic" in name] == []
    assert len([name for name in results.files() if "candy" in name]) == 2 + 4
    assert head(S3Uri.parse(f"{ROOT}/saved_models/mosaic.pth")) is not None
    assert run("-i", "luigi.jpg", "-m", "mosaic")[0] == 0


def test_what_was_made_from_a_removed_result_goes_too(bucket, run):
    run(*STYLE)
    run("put", str(bucket.local / RESULT), "--as", "images/again")
    run("-i", "again/luigi.jpg", "-m", "mosaic")
    run("remove", "mosaic/luigi.jpg")
    assert [name for name in bucket.files() if name.startswith("stylized")] == []
    assert "images/again/luigi.jpg" in bucket.files()


def test_results_of_another_picture_with_the_same_bytes_stay(bucket, run):
    bucket.put_image("twin.jpg")  # as luigi.jpg
    run("-i", "luigi.jpg", "-i", "twin.jpg", "-m", "mosaic")
    assert run("remove", "images/luigi.jpg")[0] == 0
    assert [name for name in bucket.files() if name.endswith(".jpg")] == [
        "images/twin.jpg",
        "stylized/mosaic/twin.jpg",
    ]


def test_removing_from_s3_and_asking_nothing_contradict_each_other(bucket, run):
    run(*STYLE)
    status, _, err = run("remove", "mosaic/luigi.jpg", "--published", "--offline")
    assert (status, len(err)) == (2, 1)
    assert "--offline" in err[0]
    assert RESULT in bucket.files()


def test_published_results_are_removed_when_asked(results, run):
    run("-i", "luigi.jpg", "-m", "mosaic", "--publish")
    run("remove", "mosaic/luigi.jpg")
    assert head(S3Uri.parse(f"{ROOT}/{RESULT}")) is not None
    run("-i", "luigi.jpg", "-m", "mosaic", "--publish")
    err = run("remove", "mosaic/luigi.jpg", "--published")[2]
    assert err[0] == f"style-pipeline: removed {ROOT}/{RESULT}"
    assert head(S3Uri.parse(f"{ROOT}/{RESULT}")) is None
    assert head(S3Uri.parse(f"{ROOT}/stylized/mosaic/.luigi.jpg.json")) is None


def test_a_name_is_looked_for_in_the_mirror_first(bucket, run, tmp_path):
    run(*STYLE)
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "mosaic.pth").write_bytes(b"mine")
    assert run("remove", "saved_models/mosaic.pth")[0] == 0
    assert (tmp_path / "saved_models" / "mosaic.pth").read_bytes() == b"mine"
    assert not (bucket.local / RESULT).exists()


def test_only_files_of_the_mirror_are_removed(bucket, run, tmp_path):
    (tmp_path / "mine.jpg").write_bytes(b"x")
    status, _, err = run("remove", str(tmp_path / "mine.jpg"))
    assert (status, len(err)) == (2, 1)
    assert "is no file of the mirror" in err[0]
    assert (tmp_path / "mine.jpg").exists()
    run(*STYLE)
    assert run("remove", str(record_path(bucket.local / RESULT)))[0] == 2
