"""Pictures of folders and shards: which there are, in what order, and their bytes."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from neural_style import picture_set
from neural_style.errors import DatasetError, PictureError
from neural_style.picture_set import PictureSet


def write(folder: Path, *names: str) -> Path:
    """Files whose bytes are their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def write_shard(path: Path, members: dict[str, bytes], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def names_of(pictures: PictureSet) -> list[str]:
    return [pictures.name(number) for number in range(len(pictures))]


def test_pictures_are_found_at_any_depth_and_sorted_by_folder(tmp_path: Path) -> None:
    write(tmp_path, "b/z.jpg", "b/c/a.png", "b/c d/a.png", "a.JPG", "z/y/x/w.webp")
    pictures = PictureSet(tmp_path)
    assert names_of(pictures) == ["a.JPG", "b/z.jpg", "b/c/a.png", "b/c d/a.png", "z/y/x/w.webp"]
    assert [pictures.read(number) for number in range(5)] == [name.encode() for name in names_of(pictures)]


@pytest.mark.slow  # torchvision's import
def test_the_order_is_that_of_the_published_scripts_loader(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    write(tmp_path, "cat/10.jpg", "cat/9.jpg", "cat/more/1.jpg", "cat/ä.jpg", "cat/Z.jpg", "a dog/2.jpg", "a/3.jpg")
    theirs = [Path(path).relative_to(tmp_path).as_posix() for path, _ in ImageFolder(str(tmp_path)).samples]
    assert names_of(PictureSet(tmp_path)) == theirs


def test_what_begins_with_a_dot_and_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", ".b.jpg", ".c/d.jpg", "e/.f.png", "_SUCCESS", "notes.txt", "g.jpg.json", "jpg", "h.tar.gz")
    assert names_of(PictureSet(tmp_path)) == ["a.jpg"]


def test_a_pipe_of_a_pictures_name_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert names_of(PictureSet(tmp_path)) == ["a.jpg"]


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "a.jpg")
    write(tmp_path / "mine", "b.jpg")
    (tmp_path / "mine" / "there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / "c.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert names_of(PictureSet(tmp_path / "mine")) == ["b.jpg", "c.jpg", "there/a.jpg"]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_shards_are_read_by_seeking(tmp_path: Path, tar_format: int) -> None:
    long = "x" * 90 + "/" + "y" * 90 + ".jpg"
    members = {"b.jpg": b"bb", "./a.png": b"a" * 1000, "a.json": b"{}", ".hidden.jpg": b"h", long: b"long"}
    write_shard(tmp_path / "more" / "1.tar", members, format=tar_format)
    write_shard(tmp_path / "0.TAR", {"/c.jpg": b"c", "../d.jpg": b"d", "c.jpg": b"last"}, format=tar_format)
    write(tmp_path, "z.jpg")
    pictures = PictureSet(tmp_path)
    assert names_of(pictures) == ["z.jpg", "0.TAR/c.jpg", "more/1.tar/a.png", "more/1.tar/b.jpg", f"more/1.tar/{long}"]
    assert [pictures.read(number) for number in range(5)] == [b"z.jpg", b"last", b"a" * 1000, b"bb", b"long"]


def test_a_shard_may_be_named_by_itself_and_folders_follow_each_other(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"b.jpg": b"b"})
    write(tmp_path / "folder", "a.jpg")
    assert names_of(PictureSet(shard)) == ["s.tar/b.jpg"]
    pictures = PictureSet([shard, str(tmp_path / "folder")])
    assert (names_of(pictures), pictures.read(1)) == (["s.tar/b.jpg", "a.jpg"], b"a.jpg")


def test_no_file_stays_open(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.tar", {"b.jpg": b"b"})
    write(tmp_path, "a.jpg")
    before = len(os.listdir("/proc/self/fd"))
    pictures = PictureSet(tmp_path)
    pictures.read(0), pictures.read(1)
    assert len(os.listdir("/proc/self/fd")) <= before


def cut_data(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:700])


def cut_after_the_first_member(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: 512 + 1024])


def scribble_over_the_second_header(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[1536:1600] = b"\xff" * 64
    shard.write_bytes(content)


def compress(shard: Path) -> None:
    import gzip

    shard.write_bytes(gzip.compress(shard.read_bytes()))


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [cut_data, cut_after_the_first_member, scribble_over_the_second_header, compress, empty]
)
def test_a_damaged_shard_is_said_to_be(tmp_path: Path, damage) -> None:
    shard = write_shard(tmp_path / "s.tar", {"a.jpg": b"a" * 1000, "b.jpg": b"b" * 1000})
    damage(shard)
    with pytest.raises(DatasetError, match=r"s\.tar: cannot be read as a tar file, it may be cut short") as caught:
        PictureSet(tmp_path)
    assert "\n" not in str(caught.value)


def make_nothing(path: Path) -> None:
    pass


def make_file(path: Path) -> None:
    path.write_bytes(b"x")


def make_empty(path: Path) -> None:
    write(path, "notes.txt", ".a.jpg")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_nothing, "there is no such folder of pictures; check the name"),
        (make_file, "wanted a folder of pictures, found a file; name the folder it lies in"),
        (make_empty, r"no pictures in it: wanted files like \.jpg or \.png at any depth, or in \.tar files"),
    ],
)
def test_what_is_no_folder_of_pictures_is_one_sentence(tmp_path: Path, make, said: str) -> None:
    make(tmp_path / "pictures")
    with pytest.raises(DatasetError, match=said) as caught:
        PictureSet([write(tmp_path / "fine", "a.jpg"), tmp_path / "pictures"])
    assert str(caught.value).startswith(f"{tmp_path}/pictures: ")


def test_no_folder_at_all_is_said() -> None:
    with pytest.raises(DatasetError, match="no folder of pictures was given"):
        PictureSet([])


def test_a_picture_that_went_away_is_broken_and_a_store_that_fails_is_not_its_fault(
    tmp_path: Path, monkeypatch
) -> None:
    pictures = PictureSet(write(tmp_path, "a.jpg", "b.jpg"))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(PictureError, match=r"^a\.jpg: the picture cannot be read: No such file"):
        pictures.read(0)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(picture_set.os, "pread", fail)
    with pytest.raises(DatasetError, match=r"b\.jpg: cannot be read: Input/output error; see to it"):
        pictures.read(1)


def test_a_monstrous_file_is_not_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(picture_set, "_MAX_FILE_BYTES", 3)
    with pytest.raises(PictureError, match=r"a\.jpg: its file has 5 bytes, more than any picture"):
        PictureSet(write(tmp_path, "a.jpg")).read(0)


def test_the_digest_changes_with_names_and_sizes(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    first = PictureSet(tmp_path).digest()
    assert PictureSet(tmp_path).digest() == first
    (tmp_path / "b.jpg").write_bytes(b"longer than it was")
    second = PictureSet(tmp_path).digest()
    (tmp_path / "b.jpg").rename(tmp_path / "c.jpg")
    assert len({first, second, PictureSet(tmp_path).digest()}) == 3
