"""VGG16 by torchvision's own, its weight file, and everything that can be wrong with one."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision

from neural_style import vgg as vgg_module
from neural_style.errors import FeaturesError
from neural_style.vgg import FILE_NAME, IMAGENET_MEAN, IMAGENET_STD, TAPS, Vgg16, load_vgg16, normalize, random_vgg16

PUBLISHED_ENDS = {"relu1_2": 4, "relu2_2": 9, "relu3_3": 16, "relu4_3": 23}  # of torchvision's layers, counted by hand


@pytest.fixture(scope="module")
def vgg() -> Vgg16:
    return random_vgg16(seed=1)


@pytest.fixture(scope="module")
def whole_file(vgg: Vgg16, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's: what we want, a deeper layer and a classifier; the digest is in its name."""
    state = {**vgg.state_dict(), "features.24.weight": torch.zeros(512, 1), "classifier.6.bias": torch.zeros(1000)}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path.rename(path.with_name(f"vgg16-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


def test_keys_and_shapes_are_torchvisions():
    with torch.device("meta"):
        theirs = torchvision.models.vgg16().features[:23].state_dict()
    ours = Vgg16().features.state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: each.shape for key, each in theirs.items()}


@pytest.mark.slow
def test_taps_are_what_torchvisions_layers_give(vgg):
    with torch.device("meta"):
        theirs = torchvision.models.vgg16().features[:23]
    theirs.load_state_dict(vgg.features.state_dict(), assign=True)
    picture = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for name, found in zip(TAPS, vgg(picture), strict=True):
            torch.testing.assert_close(found, theirs[: PUBLISHED_ENDS[name]](picture.clone()), msg=name)


def test_no_layer_runs_past_the_last_tap(vgg):
    ran = []
    hooks = [layer.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, layer in enumerate(vgg.features)]
    found = vgg(torch.zeros(1, 3, 16, 16), num_taps=2)
    for hook in hooks:
        hook.remove()
    assert [each.shape[1] for each in found] == [64, 128]
    assert ran == list(range(PUBLISHED_ENDS["relu2_2"]))


def test_nothing_in_it_is_trained(vgg):
    assert not any(parameter.requires_grad for parameter in vgg.parameters())


def test_pictures_are_normalised_as_torchvision_does_it():
    picture_255 = torch.randint(0, 256, (2, 3, 4, 5), generator=torch.Generator().manual_seed(3)).float()
    theirs = torchvision.transforms.functional.normalize(picture_255 / 255, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(normalize(picture_255), theirs)


@pytest.mark.slow
def test_random_weights_come_from_the_seed_alone():
    before = torch.random.get_rng_state()
    first, again, other = (random_vgg16(seed).features[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with torch.random.fork_rng():
        torch.random.set_rng_state(before)
        assert torch.equal(random_vgg16(1).features[0].weight, first)


def test_random_weights_neither_fade_nor_explode(vgg):
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        sizes = [found.square().mean().sqrt().item() for found in vgg(noise)]
    assert all(0.3 < size < 3 for size in sizes)


@pytest.mark.slow
def test_a_file_is_read_as_deep_as_wanted(whole_file, vgg):
    loaded = load_vgg16(whole_file)
    assert loaded.state_dict().keys() == vgg.state_dict().keys()
    assert all(torch.equal(tensor, vgg.state_dict()[key]) for key, tensor in loaded.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.slow
def test_what_is_read_knows_the_digest_of_its_file(whole_file, vgg, tmp_path):
    found = load_vgg16(whole_file).sha256
    assert found == hashlib.sha256(whole_file.read_bytes()).hexdigest()
    unnamed = tmp_path / "mine.pth"
    unnamed.write_bytes(whole_file.read_bytes())
    assert load_vgg16(unnamed).sha256 == found
    assert vgg.sha256 == ""


@pytest.mark.slow
def test_a_file_of_other_bytes_than_its_name_promises_is_refused(whole_file, tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(whole_file.read_bytes())
    found = hashlib.sha256(whole_file.read_bytes()).hexdigest()[:8]
    wanted = f"wanted a sha256 that begins with 397923af, as the name says, found {found}"
    sentence = f"{path}: {wanted}; fetch it again, and replace it"
    with pytest.raises(FeaturesError, match=f"^{re.escape(sentence)}$"):
        load_vgg16(path)


FAULTS = {
    "no-file": (None, "there is no such model file; check the name (wanted VGG16's weights, vgg16-397923af.pth)"),
    "empty": (b"", "the model file is empty; fetch it again (wanted VGG16's weights, vgg16-397923af.pth)"),
    "noise": (b"\x80\x02noise" * 99, "not a readable weight file; wanted VGG16's weights, vgg16-397923af.pth"),
    "a-list": ([torch.zeros(3)], "wanted VGG16's weights, found a list; wanted vgg16-397923af.pth"),
    "another-net": (
        {"conv1.conv2d.weight": torch.zeros(3)},
        "not VGG16: 20 of 20 keys missing (first 'features.0.weight'); wanted vgg16-397923af.pth",
    ),
    "another-width": (
        {key: torch.zeros(7) for key in Vgg16().state_dict()},
        "not VGG16: 'features.0.weight' has the shape (7,), wanted (64, 3, 3, 3); wanted vgg16-397923af.pth",
    ),
}


@pytest.mark.parametrize(("held", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_file_is_one_sentence(tmp_path, held, sentence):
    path = tmp_path / "mine.pth"
    if isinstance(held, bytes):
        path.write_bytes(held)
    elif held is not None:
        torch.save(held, path)
    with pytest.raises(FeaturesError, match=f"^{re.escape(f'{path}: {sentence}')}$"):
        load_vgg16(path)


@pytest.mark.slow
def test_a_file_cut_short_is_refused_though_its_name_promises_nothing(whole_file, tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(whole_file.read_bytes()[:-1000])
    with pytest.raises(FeaturesError, match="not a readable weight file"):
        load_vgg16(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints" / FILE_NAME


@pytest.mark.slow
def test_without_a_file_torchvisions_own_is_fetched_once(hub, whole_file, monkeypatch):
    asked = []

    def fetched(url: str, path: str, **options: object) -> None:
        asked.append((url, options["hash_prefix"]))
        Path(path).write_bytes(whole_file.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetched)
    monkeypatch.setattr("neural_style.vgg._checked_sha256", lambda _path: "")
    for _ in range(2):
        assert load_vgg16().features[0].weight.shape == (64, 3, 3, 3)
    assert asked == [(torchvision.models.VGG16_Weights.IMAGENET1K_V1.url, "397923af")]
    assert asked[0][0].endswith(FILE_NAME)


@pytest.mark.slow
def test_of_several_that_want_it_at_a_time_one_fetches_it(hub, whole_file, monkeypatch):
    """Threads with a lock each, as processes have it."""
    asked, never = [], threading.Event()

    def fetched(_url: str, path: str, **_options: object) -> None:
        asked.append(path)
        never.wait(0.3)  # one that does not wait comes here meanwhile
        Path(path).write_bytes(whole_file.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetched)
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _number: vgg_module._downloaded(), range(3)))
    assert asked == [str(hub)]
    assert paths == [hub] * 3
    assert [path.name for path in hub.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "fault", [URLError("no route to host"), RuntimeError("invalid hash value"), TimeoutError("timed out")], ids=repr
)
def test_without_a_file_and_without_a_network_it_says_what_to_put_where(hub, monkeypatch, fault):
    def failing(*_args: object, **_options: object) -> None:
        raise fault

    monkeypatch.setattr(torch.hub, "download_url_to_file", failing)
    with pytest.raises(FeaturesError, match=f"bucket as saved_models/{FILE_NAME}, or here at {hub}$") as caught:
        load_vgg16()
    assert str(fault) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_torchvision_has_is_checked_too(hub):
    hub.parent.mkdir(parents=True)
    hub.write_bytes(b"other")
    with pytest.raises(FeaturesError, match="wanted a sha256 that begins with 397923af"):
        load_vgg16()
