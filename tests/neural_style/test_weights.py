"""Weight files are read without running what is in them, and compared before use."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neural_style import weights
from neural_style.errors import OutputError, WeightsError, WeightsNotFoundError
from neural_style.transformer_net import TransformerNet
from neural_style.weights import load_network, load_weights, save_weights, widths_of

State = dict[str, Tensor]


class Trap:
    """Unpickled by a careless reader, this makes a file."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sprung,))


def same(found: State, wanted: State) -> bool:
    """Compare names, order, numbers and types (`torch.equal` lets types differ)."""
    pairs = [(found[key], wanted[key]) for key in wanted if key in found]
    return list(found) == list(wanted) and all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_weights_come_back_as_they_are(small_weights: Path, small_state: State) -> None:
    assert same(load_weights(small_weights), small_state)


@pytest.mark.parametrize("widths", [(32, 64, 128), (4, 8, 16), (3, 5, 7)], ids=str)
def test_the_width_is_read_from_the_weights(tmp_path: Path, widths: tuple[int, int, int]) -> None:
    torch.save(TransformerNet(widths).state_dict(), tmp_path / "w.pth")
    net = load_network(tmp_path / "w.pth")
    assert widths_of(net.state_dict()) == widths
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("model", ["mosaic_nc16", "candy_nc16", "mosaic_nc8", "candy_nc8"])
def test_published_weights_load(real: Path, model: str) -> None:
    full = int(model.partition("_nc")[2])
    assert widths_of(load_weights(real / "saved_models" / f"{model}.pth")) == (full, 2 * full, 4 * full)


def with_statistics(state: State) -> State:
    extra = {}
    for key, tensor in state.items():
        extra[key] = tensor
        if ".in" in f".{key}" and key.endswith(".bias"):
            name = key.removesuffix(".bias")
            extra[f"{name}.running_mean"] = torch.zeros_like(tensor)
            extra[f"{name}.running_var"] = torch.ones_like(tensor)
            extra[f"{name}.num_batches_tracked"] = torch.tensor(7)
    assert len(extra) == 62 + 15 * 3
    return extra


@pytest.mark.parametrize(
    "wrap",
    [
        with_statistics,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{key}": tensor for key, tensor in with_statistics(state).items()}},
        OrderedDict,
        lambda state: {key: tensor.double() for key, tensor in state.items()},
        lambda state: {key: torch.nn.Parameter(tensor) for key, tensor in state.items()},
        lambda state: dict(reversed(state.items())),
    ],
    ids=["running-statistics", "state_dict", "module", "all-of-it", "ordered", "float64", "parameters", "other-order"],
)
def test_what_training_scripts_leave_is_taken_off(
    tmp_path: Path, small_state: State, wrap: Callable[[State], Any]
) -> None:
    torch.save(wrap(small_state), tmp_path / "w.pth")
    found = load_weights(tmp_path / "w.pth")
    assert same(found, small_state)
    assert not any(isinstance(tensor, torch.nn.Parameter) for tensor in found.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_becomes_float32(tmp_path: Path, small_state: State, dtype: torch.dtype) -> None:
    halves = {key: tensor.to(dtype) for key, tensor in small_state.items()}
    torch.save(halves, tmp_path / "w.pth")
    assert same(load_weights(tmp_path / "w.pth"), {key: tensor.float() for key, tensor in halves.items()})


def test_files_of_before_torch_1_6_load(tmp_path: Path, small_state: State) -> None:
    torch.save(small_state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "w.pth")
    assert same(load_weights(tmp_path / "w.pth"), small_state)


@pytest.mark.parametrize(
    "write",
    [
        lambda trap, path: torch.save({"a": trap}, path),
        lambda trap, path: torch.save({"a": trap}, path, _use_new_zipfile_serialization=False),
        lambda trap, path: path.write_bytes(pickle.dumps(trap, protocol=2)),
        lambda trap, path: path.write_bytes(pickle.dumps(trap)),
    ],
    ids=["torch", "old-torch", "pickle-2", "pickle-4"],
)
def test_code_in_a_weight_file_is_not_run(tmp_path: Path, write: Callable[[Trap, Path], object]) -> None:
    sprung = tmp_path / "sprung"
    write(Trap(sprung), tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth: holds code or objects.*, not plain weights, and was not run"):
        load_weights(tmp_path / "evil.pth")
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))  # the trap works
    assert sprung.exists()


def broken(**changed: Any) -> Callable[[State], Any]:
    return lambda state: {**state, **{key.replace("__", "."): value for key, value in changed.items()}}


def without(*keys: str) -> Callable[[State], Any]:
    return lambda state: {key: tensor for key, tensor in state.items() if key not in keys}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            lambda state: torch.nn.Linear(2, 2).state_dict(),
            r"not a TransformerNet: 62 of its 62 keys missing \(first 'conv1.conv2d.weight'\), 2 found",
        ),
        (without("in1.bias", "res2.in1.weight"), r"2 of its 62 keys missing \(first 'in1.bias'\), 60 found"),
        (broken(head__weight=torch.zeros(2)), r"1 unknown keys \(first 'head.weight'\)"),
        (broken(head__running_mean=torch.zeros(2)), r"1 unknown keys \(first 'head.running_mean'\)"),
        (broken(in2__weight=torch.zeros(9)), r"'in2.weight' has the shape \(9,\), the net needs \(8,\)"),
        (broken(conv1__conv2d__weight=torch.zeros(4)), "its first layers are no convolutions"),
        (broken(conv1__conv2d__weight=torch.zeros(0, 3, 9, 9)), "its first layers are no convolutions"),
        (broken(conv1__conv2d__weight=torch.zeros(4, 1, 9, 9)), r"has the shape \(4, 1, 9, 9\), .* \(4, 3, 9, 9\)"),
        (broken(in1__bias=torch.full((4,), torch.nan)), "'in1.bias' holds numbers that are not finite"),
        (broken(in1__bias=torch.full((4,), torch.inf)), "'in1.bias' holds numbers that are not finite"),
        (broken(in1__bias=torch.zeros(4, dtype=torch.int64)), "'in1.bias' holds torch.int64"),
        (broken(in1__bias=torch.zeros(4).to_sparse()), "'in1.bias' holds torch.float32 .torch.sparse_coo"),
        (broken(in1__bias=torch.zeros(1).expand(4)), "'in1.bias' claims more numbers than the file holds"),
        (broken(epoch=3), "wanted a state dict of tensors, found a int under 'epoch'"),
        (lambda state: {"model": state}, "found a dict under 'model'; save the net's state_dict"),
        (lambda state: {3: torch.zeros(1)}, "found a Tensor under '3'"),
        (lambda state: list(state.values()), "wanted a state dict, found a list"),
        (lambda state: {}, "62 of its 62 keys missing"),
    ],
    ids=[
        *("another-net", "keys-missing", "key-unknown", "statistics-of-no-norm", "shape", "no-convolution", "no-width"),
        *("other-input", "nan", "infinite", "integers", "sparse", "expanded", "number", "nested", "number-key", "list"),
        "nothing",
    ],
)
def test_other_contents_are_refused_in_one_sentence(
    tmp_path: Path, small_state: State, content: Callable[[State], Any], sentence: str
) -> None:
    path = tmp_path / "other\n.pth"
    torch.save(content(small_state), path)
    with pytest.raises(WeightsError, match=sentence) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{tmp_path}/other .pth: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the model file is empty"),
        (
            b"\n<!DOCTYPE html>\n<html>not found</html>",
            "looks like a web page, not a model: a download that went wrong",
        ),
        (b"hello world, this is text", "not a readable weight file|not a weight file"),
        (bytes(range(256)), "not a readable weight file|not a weight file"),
        (b"PK\x03\x04" + bytes(100), "not a readable weight file|not a weight file"),
    ],
    ids=["empty", "web-page", "text", "bytes", "zip-head"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w\.pth: .*({sentence})"):
        load_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, small_state: State, zipped: bool, share: float) -> None:
    buffer = io.BytesIO()
    torch.save(small_state, buffer, _use_new_zipfile_serialization=zipped)
    content = buffer.getvalue()
    (tmp_path / "w.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"w\.pth: not a (readable )?weight file.*damaged"):
        load_weights(tmp_path / "w.pth")


def test_a_program_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated; the files will be around for years
        torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "script.pth"))
    with pytest.raises(WeightsError, match=r"script\.pth: this is a TorchScript program, not plain weights"):
        load_weights(tmp_path / "script.pth")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="wanted a model file, found a folder"):
        load_weights(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"no\.pth: there is no such model file; check the name"):
        load_weights(tmp_path / "no.pth")


def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the model file cannot be read"):
        load_weights(tmp_path / "a\0.pth")


@pytest.mark.slow
def test_saved_weights_come_back_and_are_the_same_bytes_each_time(tmp_path: Path, small_weights: Path) -> None:
    net = load_network(small_weights)
    save_weights(net, tmp_path / "a.pth")
    save_weights(net.state_dict(), tmp_path / "b.pth")
    assert same(load_weights(tmp_path / "a.pth"), net.state_dict())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_wrong_weights_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.pth: not a TransformerNet"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, small_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pth").write_bytes(b"old")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "_check_file", full)
    with pytest.raises(OutputError, match=r"a\.pth: could not be written: No space left on device"):
        save_weights(small_state, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
