"""The training loop, and nothing else: what is learned is a `Model`'s, from whom a `DataModule`'s, the rest plug-ins'.

The loop never waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import torch

from .datamodule import DataModule
from .distributed import Process
from .errors import CheckpointError, DatasetError, PluginError, SettingError
from .model import Model
from .plugins.base import Plugin, refuse_conflicts
from .random_state import random_states, seeded, set_random_states
from .reproducible import run_settings

__all__ = ["DataModule", "Model", "TrainState", "Trainer"]

T = TypeVar("T")

_EPOCH, _CYCLE, _TEST = 1, 2, 3  # what the random numbers of a loader's beginning are for


@dataclass
class TrainState:
    """Where a run stands.

    Attributes:
        step: Batches learned from.
        epoch: Epochs done.
        epoch_step: Batches of the present epoch that are done.
        validation_cycle: Validations done.
        stopped: A plug-in or the model has ended the run before its time.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    validation_cycle: int = 0
    stopped: bool = False


class Trainer(Process):
    """Runs a model over its data, and calls the hooks of plug-ins and model in their order.

    A run ends after ``max_epochs`` or ``max_steps``, whichever comes first, or when a plug-in or the model says so.

    Args:
        max_epochs: How often the training data are gone through.
        max_steps: How many batches are learned from.
        device: See `Process`.
        validate_every: After how many epochs the model is validated; None does not.
        seed: Of every random number; what the generators held before a run is given back after it.
        threads: For the arithmetic on the CPU; None leaves it as it is.
        deterministic: See `run_settings`.

    Attributes:
        plugins: By id, in the order in which their hooks are called.
        state: Where it stands.
        is_ending: No step follows the present one, as far as is known.
        is_untrained: What is tested was not trained by this trainer: it has its first weights until others are loaded.

    Raises:
        SettingError: a number is outside what it may be, or the run would have no end.
        DeviceError: the device is not there.
    """

    def __init__(
        self,
        *,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        device: str = "auto",
        validate_every: int | None = None,
        seed: int = 42,
        threads: int | None = None,
        deterministic: bool = True,
    ) -> None:
        super().__init__(device)
        _check_numbers(max_epochs=max_epochs, max_steps=max_steps, validate_every=validate_every, threads=threads)
        if max_epochs is None and max_steps is None:
            raise SettingError("training wants an end, and found none; give max_epochs or max_steps")
        self.max_epochs, self.max_steps, self.validate_every = max_epochs, max_steps, validate_every
        self.seed, self.threads, self.deterministic = seed, threads, deterministic
        self.plugins: dict[str, Plugin] = {}
        self.state = TrainState()
        self.is_ending = False
        self.is_untrained = False
        self._trained: Model | None = None
        self._endings: list[type[Exception]] = []
        self._model: Model | None = None
        self._datamodule: DataModule | None = None
        self._valid_loader: Iterable[Any] | None = None
        self._resumed_random: dict[str, Any] | None = None

    @property
    def model(self) -> Model:
        """The model of the run."""
        return _given(self._model)

    @property
    def datamodule(self) -> DataModule:
        """The data of the run."""
        return _given(self._datamodule)

    def register_plugin(self, plugin: Plugin) -> None:
        """Put a plug-in into the table; its hooks come after those of the plug-ins there.

        Raises:
            PluginError: another has its id, or does what only one may do.
        """
        refuse_conflicts(plugin, self.plugins)
        self.plugins[plugin.plug_id] = plugin
        plugin.trainer = self

    def register_exception(self, kind: type[Exception]) -> None:
        """Make an exception a way to end: the hooks of the end have run when it leaves `fit`.

        Raises:
            PluginError: it is no exception.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise PluginError(f"wanted a kind of Exception that may end training, found {kind!r}")
        self._endings.append(kind)

    def fit(self, model: Model, datamodule: DataModule) -> None:
        """Train the model.

        Raises:
            DatasetError: there are no batches.
            Exception: whatever model, data and plug-ins raise; the hooks of the end are not called then, but where it
                was registered as a way to end.
        """
        self.state, self.is_ending, self._resumed_random = TrainState(), False, None
        with self._run_of(model, datamodule):
            model.setup()
            self._trained, self.is_untrained = model, False
            self._valid_loader = self._asked("valid_loader", "validation") if self.validate_every else None
            try:
                self._call("on_training_start")
                model.train()
                while not self._is_over():
                    self._train_epoch()
            except tuple(self._endings):
                self._call("on_training_end")
                raise
            self._call("on_training_end")

    def test(self, model: Model, datamodule: DataModule) -> None:
        """Test the model: the one that `fit` has trained as it is, another one set up (``fast_init``) first.

        Raises:
            DatasetError: there are no batches to test on.
        """
        self.is_untrained = model is not self._trained
        with self._run_of(model, datamodule):
            if self.is_untrained:
                model.setup(fast_init=True)
            loader = self._asked("test_loader", "testing")
            self._call("on_testing_start")
            model.eval()
            self._measure(loader, phase="testing", step=model.test_step, number=(_TEST, 0))
            self._call("on_testing_end")

    def state_dict(self) -> dict[str, Any]:
        """Return all of the run as tensors and plain data; every process of a run has to call it at the same step.

        Raises:
            Exception: whatever a plug-in raises because the run is not worth keeping.
        """
        states = {plug_id: plugin.state_dict() for plug_id, plugin in self.plugins.items()}
        own = random_states(self.device)
        return {
            "run": asdict(self.state),
            "plugins": {plug_id: state for plug_id, state in states.items() if state},
            "model": self.model.state_dict(),
            "random": self.group.gathered(own) if self.group is not None else [own],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the run stood that gave this state.

        Raises:
            CheckpointError: it had other plug-ins, or another number of processes.
            KeyError, RuntimeError: it had another model.
        """
        if len(state["random"]) != self.world_size:
            raise CheckpointError(
                f"a run of {len(state['random'])} processes cannot go on with {self.world_size}; start as many"
            )
        missing = [plug_id for plug_id in state["plugins"] if plug_id not in self.plugins]
        if missing:
            raise CheckpointError(
                f"the run had a plug-in {missing[0]!r}, which this one has not; add it to the trainer"
            )
        self.state = TrainState(**state["run"])
        self.model.load_state_dict(state["model"])
        for plug_id, plugin_state in state["plugins"].items():
            self.plugins[plug_id].load_state_dict(plugin_state)
        self._resumed_random = state["random"][self.rank]

    @contextmanager
    def _run_of(self, model: Model, datamodule: DataModule) -> Iterator[None]:
        """Bring the parts together for the block, under the run's settings, and close them after it."""
        self._model, self._datamodule = model, datamodule
        model.trainer = datamodule.trainer = self
        with (
            self.told_of_loss(),
            run_settings(threads=self.threads, deterministic=self.deterministic),
            seeded(self.device, self.seed),
            ExitStack() as stack,
        ):
            parts: list[DataModule | Plugin | Model] = [datamodule, *self._plugins(), model]
            for part in parts:
                stack.callback(part.teardown)
            datamodule.setup()
            for plugin in self._plugins():
                plugin.setup()
            yield

    def _train_epoch(self) -> None:
        """Run one epoch, or what is left of it, and the validation after it if one is due."""
        self._call("on_training_epoch_start")
        is_cut = self._train_batches()
        if self.state.epoch_step == 0:
            raise DatasetError("wanted batches to train on, and the loader gave none; look at the data")
        self._call("on_training_epoch_end")
        if self.validate_every and (self.state.epoch + 1) % self.validate_every == 0:
            self._validate()
        if not is_cut:
            self.state.epoch, self.state.epoch_step = self.state.epoch + 1, 0
            self._ask_for_the_end()
        self._let_plugins_save()  # of a run that is cut, the validation too

    def _train_batches(self) -> bool:
        """Learn from the batches of an epoch, and tell whether the run ended before they did."""
        drop = self.datamodule.set_epoch(self.state.epoch, self.state.epoch_step) or 0
        loader = self.datamodule.train_loader()
        with self._drawn(loader, drop=drop, number=(_EPOCH, self.state.epoch)) as batches:
            self._restore_random()
            for batch in batches:
                self._do_batch(batch, phase="training", step=self._train_step)
                self._ask_for_the_end()
                if self.is_ending:
                    return True
                self._let_plugins_save()
        return False

    def _restore_random(self) -> None:
        """Put the generators of a resumed run back, whatever its hooks of the start have drawn meanwhile."""
        if self._resumed_random is not None:
            set_random_states(self._resumed_random, self.device)
            self._resumed_random = None

    def _train_step(self, batch: Any) -> None:
        self.model.train_step(batch)
        self.state.step += 1
        self.state.epoch_step += 1

    def _ask_for_the_end(self) -> None:
        """Ask whether this was the last step, all of the plug-ins and the model."""
        answers = [part.should_training_stop() for part in self._parts()]  # each is asked
        self.state.stopped = any(answers)
        self.is_ending = self._is_over()

    def _let_plugins_save(self) -> None:
        for plugin in self._plugins():
            plugin.between_steps()

    def _is_over(self) -> bool:
        return (
            self.state.stopped
            or (self.max_steps is not None and self.state.step >= self.max_steps)
            or (self.max_epochs is not None and self.state.epoch >= self.max_epochs)
        )

    def _validate(self) -> None:
        cycle = self.state.validation_cycle
        self.model.eval()
        self._call("on_validation_start", cycle)
        self._measure(
            _given(self._valid_loader), phase="validation", step=self.model.valid_step, number=(_CYCLE, cycle)
        )
        self._call("on_validation_end", cycle)
        self.model.train()
        self.state.validation_cycle += 1

    def _measure(
        self, loader: Iterable[Any], *, phase: str, step: Callable[[Any], None], number: tuple[int, int]
    ) -> None:
        with torch.no_grad(), self._drawn(loader, drop=0, number=number) as batches:
            for batch in batches:
                self._do_batch(batch, phase=phase, step=step)

    def _do_batch(self, batch: Any, *, phase: str, step: Callable[[Any], None]) -> None:
        for plugin in self._plugins():
            batch = getattr(plugin, f"process_{phase}_batch")(batch)
        self._call(f"on_{phase}_batch_start")
        step(batch)
        self._call(f"on_{phase}_batch_end")

    @contextmanager
    def _drawn(self, loader: Iterable[Any], *, drop: int, number: tuple[int, int]) -> Iterator[Iterator[Any]]:
        """Yield what follows the first ``drop`` batches.

        The beginning has random numbers of its own (where a ``DataLoader`` draws its order), and so has what is
        dropped: the batches after it then find the generators as the saved run left them.
        """
        with seeded(self.device, self.seed, *number):
            batches = iter(loader)
            beginning = list(islice(batches, max(drop, 1)))
        try:
            yield chain([] if drop else beginning, batches)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _call(self, hook: str, *arguments: int) -> None:
        """Call a hook of each plug-in, and then the model's own."""
        for part in self._parts():
            getattr(part, hook)(*arguments)

    def _plugins(self) -> list[Plugin]:
        return list(self.plugins.values())

    def _parts(self) -> list[Plugin | Model]:
        return [*self._plugins(), self.model]

    def _asked(self, name: str, purpose: str) -> Iterable[Any]:
        loader: Iterable[Any] | None = getattr(self.datamodule, name)()
        if loader is None:
            kind = type(self.datamodule).__name__
            raise DatasetError(
                f"{kind} has nothing for {purpose}: its {name}() gives None; override it, or leave it out"
            )
        return loader


def _given(part: T | None) -> T:
    if part is None:
        raise PluginError("the trainer has no model and no data yet; they come with fit() or test()")
    return part


def _check_numbers(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise SettingError(f"{name} wants at least 1, found {value}")
