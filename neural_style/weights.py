"""Weight files of the published net: read without running what is in them, compared before use, written whole."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csci_utils.io import atomic_path

from .errors import WeightsError, output_error
from .model_file import refuse_what_is_no_model
from .transformer_net import PUBLISHED_WIDTHS, TransformerNet

# What PyTorch 0.3 stored beside every norm and the net never used (pytorch/examples#367).
_NORM_BUFFER = re.compile(r"(^|\.)in\d+\.(running_mean|running_var|num_batches_tracked)$")
_WIDTH_KEYS = ("conv1.conv2d.weight", "conv2.conv2d.weight", "conv3.conv2d.weight")
_CALLS = {"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a weight file and compare it with the published net, key by key and shape by shape.

    Nothing in the file is run. Half precision becomes float32, statistics that old files carry beside their norms are
    dropped, and so are the wrappings ``{"state_dict": ...}`` and ``module.`` of training scripts.

    Returns:
        The 62 entries of ``TransformerNet(widths_of(state)).state_dict()``, float32, contiguous, on the CPU.

    Raises:
        WeightsError: the file is anything else; one sentence that names the path.
    """
    path = Path(path)
    refuse_what_is_no_model(path)
    return _compared(_unpickled(path), path)


def load_network(path: str | os.PathLike[str]) -> TransformerNet:
    """Build the net that a weight file belongs to, in eval mode, on the CPU.

    Raises:
        WeightsError: as in `load_weights`.
    """
    state = load_weights(path)
    net = _hollow_net(widths_of(state))
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False).eval()


def save_weights(net_or_state: nn.Module | Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write weights in the published format, whole or not at all; the same weights give the same bytes.

    Raises:
        WeightsError: these are not the weights of the published net.
        OutputError: the file could not be written.
    """
    state = net_or_state.state_dict() if isinstance(net_or_state, nn.Module) else net_or_state
    path = Path(path)
    whole = {key: tensor.detach().cpu().clone() for key, tensor in _compared(dict(state), path).items()}
    # By way of memory: given a path, torch writes the (scratch) file's name into the file.
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    try:
        with atomic_path(path, check=_check_file) as scratch:
            scratch.write_bytes(buffer.getbuffer())
    except OSError as err:
        raise output_error(path, err) from err


def _check_file(path: Path) -> None:
    load_weights(path)


def widths_of(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Read the net's three widths (full, half, quarter size) off its first three convolutions."""
    full, half, quarter = (state[key].shape[0] for key in _WIDTH_KEYS)
    return full, half, quarter


def _unpickled(path: Path) -> Any:
    """Return what the file holds, in torch's safe subset of pickle."""
    try:
        if zipfile.is_zipfile(path) and _is_torchscript(path):
            raise WeightsError(
                f"{path}: this is a TorchScript program, not plain weights; save its state_dict() instead"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old torch versions, all read here
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle.UnpicklingError as err:
        raise WeightsError(f"{path}: {_pickle_fault(err, path)}") from err
    except Exception as err:  # whatever a damaged archive makes torch stumble over: RuntimeError, EOFError, KeyError...
        raise WeightsError(f"{path}: not a readable weight file (truncated or damaged); fetch it again") from err


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


def _pickle_fault(err: pickle.UnpicklingError, path: Path) -> str:
    """Tell a pickle that would run code from one that is merely broken."""
    named = re.search(r"GLOBAL (\S+)|Trying to call reduce for unrecognized function (.+?)(?:\n|$)", str(err))
    if named is None and not _calls_something(path):
        return "not a weight file, or a damaged one; fetch it again"
    what = "" if named is None else f" ({named.group(1) or named.group(2)})"
    return f"holds code or objects{what}, not plain weights, and was not run; save the net's state_dict() instead"


def _calls_something(path: Path) -> bool:
    """Read a plain pickle's first instructions without following them; torch gives up on protocol 4 before it looks."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    try:
        return any(instruction.name in _CALLS for instruction, _, _ in pickletools.genops(head))
    except Exception:  # no pickle at all, or a cut one: pickletools raises whatever its readers meet
        return False


def _compared(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Check that an unpickled object is the state of a published net, and bring it to float32."""
    state = _unwrapped(loaded, path)
    state = {key: tensor for key, tensor in state.items() if not _NORM_BUFFER.search(key)}
    if missing := [key for key in _expected_shapes(PUBLISHED_WIDTHS) if key not in state]:
        raise WeightsError(
            f"{path}: not a TransformerNet: {len(missing)} of its 62 keys missing (first {missing[0]!r}), "
            f"{len(state)} found; give weights of the published net"
        )
    if any(state[key].ndim != 4 or not 0 < state[key].shape[0] <= 65536 for key in _WIDTH_KEYS):
        raise WeightsError(f"{path}: not a TransformerNet: its first layers are no convolutions over a picture")
    expected = _expected_shapes(widths_of(state))
    if unknown := [key for key in state if key not in expected]:
        raise WeightsError(f"{path}: not a TransformerNet: {len(unknown)} unknown keys (first {unknown[0]!r})")
    return {key: _checked_tensor(state[key], key=key, shape=expected[key], path=path) for key in expected}


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Take off the wrappings that training scripts leave: ``{"state_dict": ...}`` and DataParallel's ``module.``."""
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: wanted a state dict, found a {type(loaded).__name__}; save the net's state_dict()")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path}: wanted a state dict of tensors, found a {type(value).__name__} under {str(key)[:80]!r}; "
                "save the net's state_dict() alone"
            )
    if loaded and all(key.startswith("module.") for key in loaded):
        return {key.removeprefix("module."): value for key, value in loaded.items()}
    return dict(loaded)


def _checked_tensor(tensor: Tensor, *, key: str, shape: torch.Size, path: Path) -> Tensor:
    if tensor.shape != shape:
        raise WeightsError(f"{path}: {key!r} has the shape {tuple(tensor.shape)}, the net needs {tuple(shape)}")
    if tensor.dtype not in _WEIGHT_DTYPES or tensor.layout != torch.strided:
        raise WeightsError(
            f"{path}: {key!r} holds {tensor.dtype} ({tensor.layout}), wanted plain floating point numbers"
        )
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        # One stored number can claim to be a tensor of any size (stride 0): a bomb, not weights.
        raise WeightsError(f"{path}: {key!r} claims more numbers than the file holds; fetch it again")
    if not bool(torch.isfinite(tensor).all()):
        raise WeightsError(
            f"{path}: {key!r} holds numbers that are not finite; the training went wrong, train it again"
        )
    return tensor.detach().to(torch.float32).contiguous()


def _expected_shapes(widths: tuple[int, int, int]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in _hollow_net(widths).state_dict().items()}


def _hollow_net(widths: tuple[int, int, int]) -> TransformerNet:
    """Build a net with shapes and no numbers, which costs no memory and no random start."""
    with torch.device("meta"):
        return TransformerNet(widths)
