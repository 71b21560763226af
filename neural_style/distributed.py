"""Several processes that train together, as `torchrun` starts them."""

from __future__ import annotations

import atexit
import io
import os
import pickle
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .devices import resolve_device
from .errors import DeviceError, LostProcessError, MeetingError, PluginError, one_line

_GOODBYE_S = 10.0
_GLOO = "gloo"  # whose errors are plain RuntimeErrors, which name its source files
_BRIEF = 120  # characters of it
_KEYS = "neural_style"  # of what lies in the store that all of torch shares


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which of the processes this one is, from the environment that `torchrun` sets.

    Attributes:
        rank: Its number among all; 0 writes.
        local_rank: Its number on this machine, which is that of its GPU.
        world_size: How many there are.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables; one that is missing means a process that is alone.

        Raises:
            DeviceError: they contradict each other.
        """
        try:
            rank, local_rank, world_size = (
                int(os.environ.get(name, default))
                for name, default in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
            )
        except ValueError as err:
            raise DeviceError(f"RANK, LOCAL_RANK and WORLD_SIZE want whole numbers: {err}; use torchrun") from err
        if not 0 <= rank < world_size or local_rank < 0:
            raise DeviceError(f"there is no process {rank} of {world_size}; let torchrun set RANK and WORLD_SIZE")
        return cls(rank=rank, local_rank=local_rank, world_size=world_size)


class Process:
    """This process among those that train together, which may be itself alone.

    Args:
        device: As in `resolve_device`; with several processes, ``auto`` and ``cuda`` are the GPU of the local rank.

    Attributes:
        device: Where this process computes.

    Raises:
        DeviceError: the device is not there.
    """

    def __init__(self, device: str) -> None:
        self._place = Place.from_environment()
        self.device = torch.device(_device_name(device, self._place))
        self._group: Group | None = None

    @property
    def rank(self) -> int:
        """The number of this process; 0 writes."""
        return self._place.rank

    @property
    def local_rank(self) -> int:
        """Its number on this machine."""
        return self._place.local_rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._place.world_size

    @property
    def is_distributed(self) -> bool:
        """Whether there are several."""
        return self.world_size > 1

    @property
    def group(self) -> Group | None:
        """These processes; None when this one is alone. Asked for the first time, it waits for the others.

        Raises:
            MeetingError: they did not find each other, or cannot talk.
            DeviceError: two of them would compute on one GPU.
        """
        if self._group is None and self.is_distributed:
            self._group = Group(self._place, self.device)
            atexit.register(self.close)
        return self._group

    @property
    def queue(self) -> Queue | None:
        """What process 0 tells the others, after the run too; None when there are none."""
        return self.group.queue if self.group is not None else None

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return the net, its gradients averaged over all processes where there are several."""
        return wrapped(net, self.device) if self.group is not None else net

    @contextmanager
    def told_of_loss(self) -> Iterator[None]:
        """Put what torch says when another process is gone into one sentence: of a group that has worked before.

        Raises:
            LostProcessError: it is gone.
        """
        try:
            yield
        except RuntimeError as err:
            if self._group is None or not (isinstance(err, dist.DistError) or _GLOO in str(err)):
                raise
            self._group.is_broken = True
            raise LostProcessError(
                f"another process of this training has ended ({_brief(err)}); see what it said, and start all of them "
                "again (they go on from the last checkpoint, if there is one)"
            ) from err

    def close(self) -> None:
        """Leave the other processes, if there are any; at the latest this happens when the program ends."""
        if self._group is not None:
            group, self._group = self._group, None
            atexit.unregister(self.close)
            group.close()


class Group:
    """The processes of one run, and the store through which they find each other.

    Attributes:
        is_broken: One of them is gone, so nobody waits for it.
    """

    def __init__(self, place: Place, device: torch.device) -> None:
        self._place = place
        self.is_broken = False
        self._owned = not dist.is_initialized()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            with _told_of_meeting():
                if self._owned:
                    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
                self._store = dist.distributed_c10d._get_default_store()
                if device.type == "cuda":
                    refuse_shared_device(self._store, place, name=str(device), identity=_identity(device))
                self.mean(torch.zeros(1, device=device))  # what cannot work is found out here, and not in a step
        except BaseException:
            self._leave()
            raise
        self.queue = Queue(self._store)

    def gathered(self, value: Any) -> list[Any]:
        """Bring one object of every process to all of them, by rank."""
        found: list[Any] = [None] * self._place.world_size
        dist.all_gather_object(found, value)
        return found

    def from_first(self, value: Any) -> Any:
        """Bring the object of process 0 to all of them."""
        found = [value]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor that every process has, in all of them."""
        found = values.clone()
        dist.all_reduce(found)
        return found / self._place.world_size

    def close(self) -> None:
        """Leave the group; the process that holds the store stays until the others have read what they want of it."""
        with suppress(RuntimeError):  # of a store whose process is gone
            self._store.add(f"{_KEYS}/left", 1)
            deadline = time.monotonic() + _GOODBYE_S
            while (
                self._place.rank == 0
                and not self.is_broken
                and self._store.add(f"{_KEYS}/left", 0) < self._place.world_size
            ):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
        self._leave()

    def _leave(self) -> None:
        if self._owned and dist.is_initialized():
            dist.destroy_process_group()


def refuse_shared_device(store: Any, place: Place, *, name: str, identity: str) -> None:
    """Compare the devices of all processes, through their store: NCCL would fail on one for two of them, or hang.

    Args:
        store: Of `torch.distributed`; each process has to come here.
        place: Of this process.
        name: Of its device, for the sentence.
        identity: What no other device has, on whichever machine.

    Raises:
        DeviceError: another process has the same.
    """
    keys = [f"{_KEYS}/device/{rank}" for rank in range(place.world_size)]
    store.set(keys[place.rank], identity)
    store.wait(keys)
    others = [rank for rank, key in enumerate(keys) if rank != place.rank and store.get(key) == identity.encode()]
    if others:
        first, second = sorted((others[0], place.rank))
        raise DeviceError(
            f"processes {first} and {second} would both compute on {name}, and each wants a GPU of its own; leave the "
            "choice to torchrun (--device cuda), and start one process for each GPU"
        )


def _identity(device: torch.device) -> str:
    return f"{socket.gethostname()} {torch.cuda.get_device_properties(device).uuid}"


@contextmanager
def _told_of_meeting() -> Iterator[None]:
    """Put what torch says when the processes do not find each other into one sentence.

    Raises:
        MeetingError: they did not.
    """
    try:
        yield
    except DeviceError:
        raise
    except (RuntimeError, ValueError) as err:
        raise MeetingError(
            f"the processes of this training did not find each other ({_brief(err)}); see that all of them were "
            "started, by torchrun, and that the network interface they take (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME) "
            "leads from one to the other"
        ) from err


def _brief(err: Exception) -> str:
    """Return the beginning of what torch says: the rest names its source files."""
    said = one_line(str(err).strip().partition("\n")[0])
    return said if len(said) <= _BRIEF else f"{said[:_BRIEF]}..."


class Queue:
    """A queue of plain data and tensors; each process reads all of it, in the order in which it was put."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._num_read = 0

    def put(self, item: Any) -> None:
        """Append something.

        Raises:
            PluginError: it is more than plain data and tensors.
        """
        buffer = io.BytesIO()
        try:
            torch.save(item, buffer)
            _loaded(buffer.getvalue())
        except (pickle.PickleError, AttributeError, TypeError) as err:
            raise PluginError(f"the queue takes plain data and tensors, not {type(item).__name__!r}") from err
        number = self._store.add(f"{_KEYS}/length", 1) - 1
        self._store.set(f"{_KEYS}/{number}", buffer.getvalue())

    def get(self, *, timeout_s: float = 300.0) -> Any:
        """Return the next item, waiting until there is one.

        Raises:
            TimeoutError: nothing was put in that time.
        """
        key = f"{_KEYS}/{self._num_read}"
        try:
            self._store.wait([key], timedelta(seconds=timeout_s))
        except RuntimeError as err:
            raise TimeoutError(f"nothing was put into the trainer's queue within {timeout_s:g} s") from err
        self._num_read += 1
        return _loaded(self._store.get(key))

    def empty(self) -> bool:
        """Whether `get` would have to wait."""
        return not self._store.check([f"{_KEYS}/{self._num_read}"])


def wrapped(net: nn.Module, device: torch.device) -> nn.Module:
    """Have a net's gradients averaged over all processes; one that nothing trains stays as it is."""
    if not any(parameter.requires_grad for parameter in net.parameters()):
        return net
    return DistributedDataParallel(net, device_ids=[device.index] if device.type == "cuda" else None)


def unwrapped(part: Any) -> Any:
    """Return the net inside what `wrapped` or `torch.compile` made of it: its keys are those of a file."""
    while isinstance(part, DistributedDataParallel) or hasattr(part, "_orig_mod"):
        part = part.module if isinstance(part, DistributedDataParallel) else part._orig_mod
    return part


def _loaded(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def _device_name(device: str, place: Place) -> str:
    """Give each of several processes its own GPU, or the CPU where there are none."""
    if place.world_size > 1 and device in ("auto", "accel", "cuda"):
        device = f"cuda:{place.local_rank}" if torch.cuda.is_available() or device != "auto" else "cpu"
    return resolve_device(device)
