"""`Train`: a style painting and a dataset in S3 become a model here, with a record of what it was made from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csci_utils.copies import CopyRecord, fetch, push
from csci_utils.folder_look import FolderInfo
from csci_utils.io import record_path, sha256_of, write_record
from csci_utils.lock import locked
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from neural_style.train_config import ALGORITHM
from pipeline import progress, settings
from pipeline.checkpoints import checkpoints_of, remove_checkpoints, short_name
from pipeline.errors import InputChangedError, ModelInTheWayError, PipelineError
from pipeline.tasks.data import ContentImage, Mirrored, SavedModel, refuse_offline
from pipeline.tasks.train_request import RECORD_FORMAT, VGG16, Published, TrainRequest, read_training, training_of

if TYPE_CHECKING:
    from neural_style.new_folders import NewFolders
    from neural_style.train_style import Where

SAMPLES = "samples"
"""Folder below the local root where the sample pictures of a training lie, in one of the model's name."""

log = logging.getLogger(__name__)


class Train(TrainRequest):
    """Train a style.

    The model is complete while it is the file that its record describes, and the record names the painting and the
    dataset as S3 holds them now, and the same configuration. A run that was killed goes on from its last checkpoint.

    Attributes:
        ending: ``trained`` or ``fetched`` once it has run; "" where another process made the model meanwhile.
    """

    ending = ""

    def output(self) -> SuffixPreservingLocalTarget:
        """The model."""
        return SuffixPreservingLocalTarget(str(self.local_model))

    def complete(self) -> bool:
        """Whether the model holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        return self.reason_to_train() is None

    def run(self) -> None:
        """Fetch, train, check, place, record; of several processes that want the same model one trains it.

        Raises:
            PipelineError: `torchrun` started this process; all but one would wait for the lock, and that for them.
        """
        if settings.is_one_of_several():
            raise PipelineError("a task trains in one process; use `torchrun -m neural_style train` for several")
        self.ending = ""
        with self.shown():
            with locked(training_of(self.local_model)) as waited:  # `fetch` locks the model itself
                if not (waited and self.complete()):
                    self.ending = "fetched" if self._take_published() else self._train()
            self.say("done", percent=100)

    def fetchable(self) -> dict[str, Any] | None:
        """The record of the published model where that is what is wanted; another host may have trained it.

        Raises:
            ModelInTheWayError: S3 holds a model of that name that no training of ours put there; the next fetch would
                bring it back in place of what is trained here.
        """
        published = Published(None, None) if settings.current().offline else self.published()
        if published.held is None:
            return None
        if published.record is None and published.held.sha256 != self._recorded_sha256():
            raise ModelInTheWayError(
                f"{self.uri}: S3 holds a model of that name without a record of its training; choose another --name, "
                "or remove it"
            )
        is_wanted = published.record is not None and self.reason_in(published.record) is None
        return published.record if is_wanted else None

    def _take_published(self) -> bool:
        record = self.fetchable()
        if record is None:
            return False
        self.say("fetching the published model", percent=0)
        fetch(self.uri, self.local_model, on_bytes=progress.add_bytes)
        write_record(training_of(self.local_model), record)
        return True

    def _recorded_sha256(self) -> str | None:
        record = read_training(self.local_model)
        return None if record is None else str(record["result"]["sha256"])

    def _train(self) -> str:
        style, dataset = self.inputs()
        self.say("fetching the painting and the dataset", percent=0)
        copy, vgg, where = _fetch(style), self._vgg(), self._where()
        from neural_style.new_folders import NewFolders
        from neural_style.train_style import refuse_early, train_style

        vgg_path = None if vgg is None else vgg.local_path
        judge = refuse_early(self.config, style=style.local_path, vgg=vgg_path, where=where)  # a dataset is large
        with NewFolders() as folders, self.output().temporary_path() as scratch:
            _try_files(where, folders)
            brought = dataset.bring()
            checkpoints = checkpoints_of(self.LOCAL_ROOT, self.model) / self._run_name(copy, brought)
            trained = train_style(
                self.config,
                style=style.local_path,
                dataset=dataset.local_path,
                output=Path(scratch),
                vgg=judge,
                where=replace(where, checkpoint_folder=checkpoints),
                tell=_tell_losses,
                on_step=self._show,
            )
            if not (copy.holds(style.local_path) and dataset.still_holds(brought)):
                raise InputChangedError(
                    f"{self.local_model}: painting or dataset were replaced meanwhile; run it again"
                )
            made = {"sha256": sha256_of(scratch), "size_bytes": Path(scratch).stat().st_size}
        record = self._record(copy, brought, trained.record(), made)
        if judge is not None:
            record["made_from"]["vgg16"] = {"uri": None if vgg is None else str(vgg.uri), "sha256": judge.sha256}
        write_record(training_of(self.local_model), record)
        remove_checkpoints(checkpoints)
        return "trained"

    def _vgg(self) -> SavedModel | None:
        """Bring VGG16's weights here if the bucket has them; else it is left to torchvision."""
        if self.config.features != "vgg16":
            return None
        weights: SavedModel = self.clone(SavedModel, model=VGG16)
        if weights.look() is None:
            return None
        _fetch(weights)
        return weights

    def _where(self) -> Where:
        """Say where the run computes, and what it keeps besides its checkpoints; bring the picture for samples."""
        from neural_style.quick_import import garbage_kept

        with garbage_kept():
            from neural_style.sample_pictures import Samples
            from neural_style.train_style import Where

        samples = None
        if self.sample:
            picture: ContentImage = self.clone(ContentImage, image=self.sample)
            _fetch(picture)
            folder = Path(self.LOCAL_ROOT, SAMPLES, self.model).with_suffix("")
            samples = Samples(picture=picture.local_path, folder=folder, every_steps=self.sample_every)
        return Where(
            name=short_name(self.model),
            device=self.device_name,
            threads=self.threads,
            loaders=self.loaders,
            compiled=self.compiled,
            deterministic=not self.nondeterministic,
            checkpoint_every=self.checkpoint_every,
            note_every=self.note_every,
            max_broken=self.max_broken,
            tensorboard_folder=Path(self.tensorboard).expanduser() if self.tensorboard else None,
            samples=samples,
        )

    def _run_name(self, style: CopyRecord, dataset: FolderInfo) -> str:
        """Name the run; the same name is the same run, to go on with."""
        made_from = " ".join((self.config.digest(), style.sha256, dataset.digest))
        return hashlib.sha256(made_from.encode()).hexdigest()[:24]

    def _show(self, step: int, total_steps: int) -> None:
        self.say(f"step {step} of {total_steps}", percent=min(100 * step // total_steps, 99))

    def _record(
        self, style: CopyRecord, dataset: FolderInfo, trained: Mapping[str, Any], made: Mapping[str, Any]
    ) -> dict[str, Any]:
        source = {name: getattr(style, name) for name in ("uri", "etag", "sha256", "size_bytes", "checked_by")}
        record = {
            "format": RECORD_FORMAT,
            "made_from": {"style": source, "dataset": asdict(dataset)},
            "config": self.config.digest(),
            "parameters": asdict(self.config) | {"algorithm": ALGORITHM},
            "training": {name: trained[name] for name in ("steps", "metrics", "curve")},
            "made_by": dict(trained["made_by"]),
            "result": dict(made),
        }
        return record | ({"forced": self.forced} if self.forced else {})


def _fetch(source: Mirrored) -> CopyRecord:
    """Bring an object here, or trust the copy that is here, where S3 is not to be asked."""
    return fetch(source.uri, source.local_path, on_bytes=progress.add_bytes, offline=settings.current().offline)


def _try_files(where: Where, folders: NewFolders) -> None:
    """Try what is written on the way by names like those that it will have."""
    if where.tensorboard_folder is not None:
        folders.try_file(where.tensorboard_folder / where.name / "events")
    if where.samples is not None:
        folders.try_file(where.samples.folder / f"{where.samples.picture.stem}.png")


def _tell_losses(step: int, losses: Mapping[str, float]) -> None:
    log.info("step %d: %s", step, ", ".join(f"{name} {value:.4g}" for name, value in losses.items()))


class UploadTrained(TrainRequest):
    """A trained model in S3, and then its record; it makes the model first where this host has none that holds.

    Complete by the published record, so that any host can tell. Models that no training of ours put there are never
    replaced.

    Attributes:
        ending: What became of the model on this host, as in `Train`; "" where it was there.
    """

    ending = ""

    def output(self) -> ExactKeyS3Target:
        """The model in S3."""
        return ExactKeyS3Target(str(self.uri))

    def complete(self) -> bool:
        """Whether what S3 holds is what is wanted.

        Raises:
            S3Error: the store refused or did not answer.
        """
        refuse_offline("sends a model to S3")
        record = self.published().record
        return record is not None and self.reason_in(record) is None

    def run(self) -> None:
        """Train if need be, then send the model, and its record last."""
        made: Train = self.clone(Train)
        self.ending = ""
        with self.shown(made):
            if not made.complete():
                made.run()
                self.ending = made.ending
            self.say("publishing", percent=99)
            self._publish()
            self.say("published", percent=100)

    def _publish(self) -> None:
        journal = settings.current().journal
        is_ours = self.published().record is not None
        push(self.local_model, self.uri, journal=journal, replace=is_ours, on_bytes=progress.add_bytes)
        push(record_path(training_of(self.local_model)), self.record_uri, journal=journal, replace=True)
