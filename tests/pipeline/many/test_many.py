"""The job of many pictures as a user has it: what is made, what is left alone, and what becomes of what fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from csci_utils.io import read_record, sha256_of
from csci_utils.s3 import S3Uri, StoreUnreachableError, delete, get, head, list_objects
from neural_style import images
from neural_style.errors import OutputError
from neural_style.stylize import Stylizer
from pipeline.many import run as many_run
from pipeline.many import shard_run
from pipeline.many.manifest import Manifest, parse_manifest, read_manifest
from tests.pipeline.conftest import BUCKET, ROOT, encoded_picture

pytestmark = pytest.mark.slow

NAMES = ("sea/a.png", "sea/b c.png", "sea/deep/ähre.jpg", "x.gif")
RESULTS = ("sea/a.png", "sea/b c.png", "sea/deep/ähre.jpg", "x.png")


@pytest.fixture
def pictures(bucket):
    for seed, name in enumerate(NAMES):
        bucket.put_image(name, seed=seed)
    delete(S3Uri.parse(f"{ROOT}/images/luigi.jpg"))
    return bucket


@pytest.fixture
def styled(monkeypatch):
    """The pictures that were styled, by the name of the result's scratch file; how often."""
    calls: list[str] = []
    style = Stylizer.style_file

    def counted(self, content, output, **options):
        calls.append(sha256_of(content))
        return style(self, content, output, **options)

    monkeypatch.setattr(Stylizer, "style_file", counted)
    return calls


def keys(below: str = "stylized/") -> list[str]:
    root = S3Uri.parse(f"{ROOT}/")
    return [info.uri.key.removeprefix(root.key) for info in list_objects(root.joined(below))]


def results() -> list[str]:
    return [key.removeprefix("stylized/mosaic/") for key in keys() if "/.shards/" not in key]


def manifests() -> list[Manifest]:
    found = (read_manifest(S3Uri.parse(f"{ROOT}/{key}")) for key in keys() if "/.shards/" in key)
    return [manifest for manifest in found if manifest is not None]


def many(run, *args: str):
    return run("many", "--images", "**", "-m", "mosaic", *args)


def test_every_picture_is_styled_into_s3_as_one_by_one(pictures, run, tmp_path):
    status, out, err = many(run)
    assert (status, out) == (0, [f"{ROOT}/stylized/mosaic/{name}" for name in RESULTS]), "\n".join(err)
    assert sorted(results()) == sorted(RESULTS)
    assert pictures.files() == ["saved_models/.mosaic.pth.json", "saved_models/mosaic.pth"]
    status, single, _ = run("-i", "sea/a.png", "-m", "mosaic", "--local-root", str(tmp_path / "other"))
    get(S3Uri.parse(f"{ROOT}/stylized/mosaic/sea/a.png"), tmp_path / "many.png")
    assert (tmp_path / "many.png").read_bytes() == Path(single[0]).read_bytes()
    assert "4 results made, 0 up to date (4 of 4 pictures, " in err[-1]


def test_the_manifest_says_what_each_result_was_made_from(pictures, run):
    many(run)
    (manifest,) = manifests()
    assert sorted(manifest.lines) == sorted(NAMES)
    for name, line in manifest.made.items():
        image, model = line["made_from"]["image"], line["made_from"]["model"]
        assert image["uri"] == f"{ROOT}/images/{name}"
        assert image["sha256"] == head(S3Uri.parse(image["uri"])).sha256
        assert model["sha256"] == head(S3Uri.parse(f"{ROOT}/saved_models/mosaic.pth")).sha256
        result = head(S3Uri.parse(f"{ROOT}/stylized/{line['result']['name']}"))
        assert (result.sha256, result.etag) == (line["result"]["sha256"], line["result"]["etag"])
        assert line["parameters"]["precision"] == "float32"
        assert line["seconds"] > 0


def test_a_second_run_styles_nothing(pictures, run, styled):
    many(run)
    first, out = len(styled), many(run)
    assert (first, len(styled)) == (4, 4)
    assert (out[0], len(out[1])) == (0, 4)
    assert out[2] == ["style-pipeline: nothing to do: 4 results up to date"]


def test_only_what_is_new_or_changed_or_lost_or_damaged_is_styled(pictures, run, styled, tmp_path):
    many(run)
    styled.clear()
    pictures.put_image("new.png", seed=10)
    pictures.put_image("sea/a.png", seed=11)
    delete(S3Uri.parse(f"{ROOT}/stylized/mosaic/x.png"))
    pictures.put_bytes("stylized/mosaic/sea/b c.png", b"not a picture")
    assert "would style" in " ".join(many(run, "--dry-run")[2])
    status, out, _ = many(run)
    wanted = [encoded_picture("a.png", seed=seed) for seed in (10, 11, 1)] + [encoded_picture("x.gif", seed=3)]
    for number, content in enumerate(wanted):
        (tmp_path / str(number)).write_bytes(content)
    assert (status, len(out)) == (0, 5)
    assert sorted(styled) == sorted(sha256_of(tmp_path / str(number)) for number in range(4))
    assert many(run)[0] == 0
    assert len(styled) == 4


def test_another_model_or_quality_makes_it_again_and_force_too(pictures, run, styled):
    many(run)
    pictures.put_model("mosaic.pth", seed=2)
    assert (many(run)[0], len(styled)) == (0, 8)
    assert (many(run, "--quality", "80")[0], len(styled)) == (0, 9)  # the only JPEG
    assert (many(run, "--quality", "80", "--force")[0], len(styled)) == (0, 13)
    assert (many(run, "--quality", "80")[0], len(styled)) == (0, 13)


def test_results_are_taken_over_without_a_manifest(pictures, run, styled):
    """As after a kill: the results say themselves what they were made from."""
    many(run)
    for key in keys():
        if "/.shards/" in key:
            delete(S3Uri.parse(f"{ROOT}/{key}"))
    before = manifests()
    assert "would style 4: no manifest tells of the result in S3; what holds is kept" in many(run, "--dry-run")[2][0]
    status, out, err = many(run)
    assert (before, status, len(out), len(styled)) == ([], 0, 4, 4)
    assert "0 results made, 4 taken over as found in S3, 0 up to date" in err[-1]
    (manifest,) = manifests()
    assert sorted(manifest.made) == sorted(NAMES)


def test_single_results_and_many_ones_know_each_other(pictures, run, styled, tmp_path):
    run("-i", "sea/a.png", "-m", "mosaic", "--publish")
    many(run)
    assert len(styled) == 4
    status, _, err = run("-i", "x.gif", "-m", "mosaic", "--publish", "--local-root", str(tmp_path / "other"))
    assert (status, len(styled)) == (0, 4)
    assert "1 fetched as published by others" in err[-1]
    assert run("status", "--local-root", str(tmp_path / "other"))[0] == 0
    assert (
        run("reproduce", str(tmp_path / "other/stylized/mosaic/x.png"), "--local-root", str(tmp_path / "other"))[0] == 0
    )


def test_here_means_files_with_records_that_other_commands_know(pictures, run, styled):
    status, out, _ = many(run, "--here")
    assert status == 0
    assert out == [str(pictures.local / "stylized/mosaic" / name) for name in RESULTS]
    assert all(read_record(path)["result"]["sha256"] == sha256_of(path) for path in out)
    assert run("status")[0] == 0
    Path(out[0]).unlink()
    status, again, _ = many(run, "--here")
    assert (status, again, len(styled)) == (0, out, 4)
    assert Path(out[0]).exists()


def test_a_file_here_that_is_not_what_was_made_is_fetched_again(pictures, run, styled):
    _, out, _ = many(run, "--here")
    made = Path(out[0]).read_bytes()
    Path(out[0]).write_bytes(made[:-1])
    status, _, err = many(run, "--here")
    assert (status, Path(out[0]).read_bytes(), len(styled)) == (0, made, 4)
    assert "1 results fetched that were not here" in err[0]


def test_a_result_that_is_replaced_while_it_is_fetched_gets_no_record(pictures, run, monkeypatch):
    many(run)
    monkeypatch.setattr(many_run, "plan", replacing(many_run.plan, pictures))
    status, out, err = many(run, "--here")
    assert (status, out) == (35, [str(pictures.local / "stylized/mosaic" / name) for name in RESULTS[:-1]])
    assert "stylized/mosaic/x.png: replaced while the results were fetched; run it again" in err[0]
    assert err[1] == "style-pipeline: error: 1 result could not be brought here"
    assert not (pictures.local / "stylized/mosaic/.x.png.json").exists()


def test_a_result_whose_name_cannot_lie_here_is_in_s3_and_stops_no_other(pictures, run, styled):
    """S3 has a picture in a folder that is called as another picture is."""
    pictures.put_image("x.png/in.png", seed=9)
    delete(S3Uri.parse(f"{ROOT}/images/x.gif"))
    pictures.put_image("x.png", seed=8)
    first = many(run, "--here")
    assert sorted(results()) == sorted([*RESULTS, "x.png/in.png"])
    again = many(run, "--here")
    for status, out, err in (first, again):
        assert (status, len(out)) == (30, 4)
        assert any("could not be brought here; in S3 they are as they should be" in line for line in err)
        assert "Traceback" not in "\n".join(err)
    assert len(styled) == 5
    assert "nothing to do: 5 results up to date" in again[2][-1]


def test_a_store_that_has_gone_is_asked_for_one_result_alone(pictures, run, monkeypatch):
    many(run)
    asked = []

    def gone(uri, path):
        asked.append(uri)
        raise StoreUnreachableError("no connection")

    monkeypatch.setattr(many_run, "get", gone)
    monkeypatch.setattr(many_run, "each", lambda items, work, **_: [work(item) for item in items])
    status, out, err = many(run, "--here")
    assert (status, out, len(asked)) == (35, [], 1)
    assert err[:2] == [
        "style-pipeline: error: no connection",
        "style-pipeline: error: 4 results could not be brought here",
    ]


def replacing(plan, pictures):
    def planned(job):
        found = plan(job)
        pictures.put_bytes("stylized/mosaic/x.png", encoded_picture("x.png", seed=20))
        return found

    return planned


def test_a_picture_that_fails_does_not_stop_its_neighbours(pictures, run, styled):
    pictures.put_bytes("images/broken.png", b"\x89PNG but no more")
    pictures.put_bytes("images/empty.jpg", b"")
    status, out, err = many(run)
    assert (status, len(out)) == (30, 4)
    assert "error: s3://pictures/styled/images/broken.png: not a picture of a kind that can be read" in "\n".join(err)
    (manifest,) = manifests()
    assert sorted(manifest.failed) == ["broken.png", "empty.jpg"]
    styled.clear()
    status, out, err = many(run)
    assert (status, len(out), styled) == (30, 4, [])
    assert "2 failed as before (--retry-failed tries them again)" in err[-1]
    many(run, "--retry-failed")
    assert len(styled) == 2
    pictures.put_image("broken.png", seed=9)
    status, out, _ = many(run)
    assert (status, len(out), len(styled)) == (30, 5, 3)


def test_a_result_that_cannot_be_written_does_not_stop_its_neighbours(pictures, run, monkeypatch):
    encoded = images._encoded

    def broken(picture, path, *, quality):
        if picture.width == 40:
            raise OutputError(f"{path}: could not be encoded as PNG: broken")
        return encoded(picture, path, quality=quality)

    monkeypatch.setattr(images, "_encoded", broken)
    pictures.put_image("odd.png", size=(40, 24))
    pictures.put_bytes("images/wide.webp", encoded_picture("wide.png", size=(16384, 4)))
    status, out, err = many(run)
    assert (status, len(out)) == (30, 4)
    said = "\n".join(err)
    assert f"error: {ROOT}/stylized/mosaic/odd.png: could not be encoded as PNG: broken" in said
    assert f"error: {ROOT}/stylized/mosaic/wide.webp: WEBP holds 16383 pixels a side, not 16384 x 4" in said


def test_too_many_failures_end_the_run(pictures, run):
    for number in range(5):
        pictures.put_bytes(f"images/{number}.png", b"none")
    status, out, err = many(run, "--max-failures", "2")
    assert status == 30
    assert "more pictures failed than may; see why, and mend them or allow more with --max-failures" in "\n".join(err)
    assert len(out) < 4
    status, out, _ = many(run, "--max-failures", "5")
    assert (status, len(out)) == (30, 4)


@pytest.mark.parametrize("name", ["../up.png", "a//b.png", f"{'x' * 300}.png", f"{'y/' * 490}z.png"])
def test_a_key_that_no_result_can_have_is_recorded_as_failed(pictures, run, name):
    pictures.put_bytes(f"images/{name}", encoded_picture("x.png"))
    status, out, err = many(run)
    assert (status, len(out)) == (30, 4)
    assert "cannot name a picture" in "\n".join(err)
    assert "Traceback" not in "\n".join(err)


def test_a_key_that_is_too_long_with_the_model_is_recorded_as_failed(pictures, run):
    """moto takes it, and S3 would not."""
    model, name = "m" * 200, f"{'y/' * 440}z.png"
    pictures.put_model(f"{model}.pth")
    pictures.put_image(name)
    status, out, err = run("many", "--images", "**", "-m", model)
    assert (status, len(out)) == (30, 4)
    assert "wanted a key of at most 1024 bytes, found 1102; shorten the name" in "\n".join(err)


def test_two_pictures_of_one_result_are_refused(pictures, run):
    pictures.put_image("x.png", seed=9)
    status, out, err = many(run)
    assert (status, out) == (2, [])
    assert "'x.gif' with 'mosaic.pth' and 'x.png' with 'mosaic.pth' would both become" in err[-1]
    assert keys() == []


def test_what_is_not_there_is_told_and_the_rest_is_made(pictures, run):
    status, out, err = run(
        "many", "--images", "sea/", "--images", "lost/", "--images", "no.png", "-m", "mosaic", "-m", "no"
    )
    assert (status, len(out)) == (20, 3)
    assert [line.partition("error: ")[2].partition(";")[0] for line in err[:3]] == [
        "images/no.png: there is no such picture in S3",
        "images/lost/: there is no picture in S3 that this means",
        f"{ROOT}/saved_models/no.pth: there is no such model in S3",
    ]


def test_a_prefix_with_nothing_in_it_is_told(pictures, run):
    status, out, err = run("many", "--images", "nowhere/", "-m", "mosaic")
    assert (status, out) == (20, [])
    assert "images/nowhere/: there is no picture in S3 that this means" in err[0]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["-m", "mosaic"], "no pictures or no model are named"),
        (["--images", "**"], "no pictures or no model are named"),
        (["--images", "**", "-m", "mosaic", "--offline"], "--offline asks it nothing"),
        (
            ["--images", "**", "-m", "mosaic", "--runner", "ray", "--workers", "2"],
            "leave out --scheduler and --workers",
        ),
        (["--images", "**", "-m", "mosaic", "--ray-address", "x:1"], "add --runner ray"),
        (["--images", "../x", "-m", "mosaic"], "cannot name a picture"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(pictures, run, args, sentence):
    status, out, err = run("many", *args)
    assert (status, out) == (2, [])
    assert sentence in err[-1]


def test_a_model_that_vanishes_half_way_ends_the_run_and_keeps_what_was_made(pictures, run, monkeypatch):
    """The second of two models goes while the first is at work."""
    pictures.put_model("candy.pth", seed=2)
    run_shard = shard_run.run_shard

    def vanishing(shard, **options):
        delete(S3Uri.parse(f"{ROOT}/saved_models/candy.pth"))
        return run_shard(shard, **options)

    monkeypatch.setattr("pipeline.tasks.batch.run_shard", vanishing)
    status, out, err = run("many", "--images", "**", "-m", "mosaic", "-m", "candy")
    assert status == 20
    assert "saved_models/candy.pth" in "\n".join(err)
    assert out == [f"{ROOT}/stylized/mosaic/{name}" for name in RESULTS]


def test_a_model_that_vanishes_in_a_second_run_costs_no_result_of_the_others(pictures, run, monkeypatch):
    pictures.put_model("candy.pth", seed=2)
    models = ["-m", "mosaic", "-m", "candy"]
    assert run("many", "--images", "**", *models)[0] == 0
    pictures.put_image(NAMES[0], seed=30)
    run_shard = shard_run.run_shard

    def vanishing(shard, **options):
        delete(S3Uri.parse(f"{ROOT}/saved_models/candy.pth"))
        return run_shard(shard, **options)

    monkeypatch.setattr("pipeline.tasks.batch.run_shard", vanishing)
    status, out, err = run("many", "--images", "**", *models)
    assert status == 20
    assert [line for line in out if "/mosaic/" in line] == [f"{ROOT}/stylized/mosaic/{name}" for name in RESULTS]
    assert sum("saved_models/candy.pth" in line for line in err) == 1
    assert "1 result made, 6 up to date, 1 not made" in err[-1]


def test_several_workers_share_shards(pictures, run, tmp_path):
    """In a process of its own: this one has used torch's threads, and what has must not fork."""
    program = "import pipeline.many.shards as shards; shards.MOST = 1; from pipeline.cli import main; main()"
    args = ["many", "--images", "**", "-m", "mosaic", "--workers", "2"]
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=300)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4), done.stderr
    assert len(manifests()) == 4
    assert "4 of 4 pictures" in done.stderr.splitlines()[-1]


def test_the_luigi_tasks_do_the_same(pictures, monkeypatch):
    from csci_utils.luigi.run import build
    from pipeline.tasks import StylizeMany

    task = StylizeMany(images=["sea/"], models=["mosaic"])
    assert not task.complete()
    outcome = build([task])
    assert (outcome.exit_status, len(outcome.done)) == (0, 2)
    assert sorted(results()) == sorted(name for name in RESULTS if name.startswith("sea/"))
    again = build([StylizeMany(images=("sea/",), models=("mosaic.pth",), max_failures=3)])
    assert (again.exit_status, len(again.already_done)) == (0, 1)
    pictures.put_bytes("images/sea/broken.png", b"none")
    failing = StylizeMany(images=["sea/"], models=["mosaic"], max_failures=4)
    outcome = build([failing])
    assert outcome.exit_status == 30
    assert "1 pictures could not be styled, the first" in outcome.failures[failing.task_id].sentence


def test_a_task_that_luigi_has_kept_looks_again(pictures):
    from csci_utils.luigi.run import build
    from pipeline.tasks import StylizeMany

    task = StylizeMany(images=["sea/*.png"], models=["mosaic"])
    assert build([task]).exit_status == 0
    pictures.put_image("sea/new.png", seed=10)
    assert build([task]).exit_status == 0
    assert sorted(results()) == ["sea/a.png", "sea/b c.png", "sea/new.png"]
    pictures.put_bytes("images/sea/broken.png", b"none")
    assert build([task]).exit_status == 30
    delete(S3Uri.parse(f"{ROOT}/images/sea/broken.png"))
    assert build([task]).exit_status == 0


def test_a_manifest_that_is_damaged_is_made_anew(pictures, run, styled):
    many(run)
    (key,) = [key for key in keys() if "/.shards/" in key]
    pictures.put_bytes(key, b"{not json\n\xff")
    status, out, _ = many(run)
    assert (status, len(out), len(styled)) == (0, 4, 4)
    (manifest,) = manifests()
    assert sorted(manifest.made) == sorted(NAMES)


@pytest.mark.parametrize(
    "other", [{"error": 7}, {"result": {"name": "../../x.png"}}], ids=["result and error", "elsewhere"]
)
def test_a_line_that_somebody_else_wrote_is_looked_at_anew(pictures, run, styled, other):
    _, out, _ = many(run)
    (key,) = [key for key in keys() if "/.shards/" in key]
    (manifest,) = manifests()
    line = manifest.lines["x.gif"]
    lines = [*manifest.lines.values(), {**line, **other, "result": {**line["result"], **other.get("result", {})}}]
    pictures.put_bytes(key, "\n".join(json.dumps(each) for each in lines).encode())
    status, again, _ = many(run, "--here")
    assert (status, len(again), len(styled)) == (0, 4, 4)
    assert all(Path(path).is_relative_to(pictures.local / "stylized/mosaic") for path in again)
    assert manifests()[0].lines["x.gif"]["result"]["name"] == "mosaic/x.png"


def test_a_record_beside_a_result_is_not_taken_for_that_of_another_of_its_size(pictures, run, styled):
    """As when a single run was killed between the result and its record."""
    delete(S3Uri.parse(f"{ROOT}/images/x.gif"))
    pictures.put_image("x.bmp", seed=3)
    run("-i", "x.bmp", "-m", "mosaic", "--publish")
    result = S3Uri.parse(f"{ROOT}/stylized/mosaic/x.bmp")
    size_bytes = head(result).size_bytes
    pictures.put_bytes("stylized/mosaic/x.bmp", encoded_picture("x.bmp", seed=4))
    assert head(result).size_bytes == size_bytes
    styled.clear()
    assert (many(run)[0], len(styled)) == (0, 4)


def test_lines_are_json_that_others_can_read(pictures, run, tmp_path):
    many(run)
    (key,) = [key for key in keys() if "/.shards/" in key]
    get(S3Uri.parse(f"{ROOT}/{key}"), tmp_path / "m")
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert [line["image"] for line in lines] == sorted(NAMES)
    assert parse_manifest((tmp_path / "m").read_text()) == manifests()[0]
    assert S3Uri(BUCKET, "x").bucket == "pictures"


def test_a_picture_that_goes_meanwhile_is_told_and_the_run_ends_well_for_the_others(pictures, run, monkeypatch):
    """Between the listing and its GET; the next run does not miss it."""
    look_at = shard_run.look_at

    def then_gone(shard):
        seen = look_at(shard)
        delete(S3Uri.parse(f"{ROOT}/images/sea/a.png"))
        return seen

    monkeypatch.setattr(shard_run, "look_at", then_gone)
    status, out, err = many(run)
    assert (status, len(out)) == (30, 3)
    (error,) = [line for line in err if "error" in line]
    assert error.startswith("style-pipeline: error: s3://pictures/styled/images/sea/a.png: wanted to read it")


def test_a_list_without_names_is_told(pictures, run, tmp_path):
    (tmp_path / "list.txt").write_text("\n\n")
    status, out, err = run("many", "--images-from", str(tmp_path / "list.txt"), "-m", "mosaic")
    assert (status, out) == (20, [])
    assert "images/: no picture is named; put it there, or correct the name" in err[0]


def test_a_key_that_can_have_no_result_is_in_nobodys_way(pictures, run):
    pictures.put_bytes("images/sea//a.png", encoded_picture("a.png", seed=9))
    status, out, err = many(run)
    assert (status, len(out)) == (30, 4)
    assert "'sea//a.png' cannot name a picture" in "\n".join(err)
