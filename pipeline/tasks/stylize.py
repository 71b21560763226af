"""`Stylize`: a picture and a model in S3 become a styled picture here, with a record of what it was made from."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi
from luigi.contrib.external_program import ExternalProgramRunError, ExternalProgramTask
from luigi.format import Nop

from csci_utils.io import sha256_of, write_record
from csci_utils.luigi.mirror import CopyRecord, fetch
from csci_utils.luigi.run import ExplainedTask
from csci_utils.luigi.target import SuffixPreservingLocalTarget
from csci_utils.s3 import ObjectInfo, head
from neural_style.contract import (
    ALGORITHM_VERSION,
    DEFAULT_MAX_PIXELS,
    DEFAULT_QUALITY,
    LOSSY_SUFFIXES,
    PRECISION,
    result_suffix,
)
from pipeline import progress, settings
from pipeline.errors import InputChangedError, ProgramFailedError, Terminated
from pipeline.results import Parameters, Source, make_record, reason_to_make, result_name
from pipeline.tasks.data import (
    IMAGES,
    SAVED_MODELS,
    ContentImage,
    S3Input,
    SavedModel,
    image_parameter,
    model_parameter,
)
from pipeline.tasks.roots import RootedTask

if TYPE_CHECKING:
    from neural_style.stylize import Stylizer

IN_PROCESS = "in-process"
PROGRAM = "program"
# A run styles picture after picture and rarely alternates between more nets than this.
LOADED_MODELS = 4
# The error line of `python -m neural_style`.
PROGRAM_ERROR = "neural_style: error: "

logger = logging.getLogger(__name__)


class DeviceParameter(luigi.OptionalStrParameter):
    """A device's name, or nothing."""

    def normalize(self, x: str | None) -> str | None:
        """Check the form; whether it is there is seen where the net is loaded."""
        return settings.checked_device(x) if x else None


class Stylize(ExplainedTask, RootedTask, ExternalProgramTask):
    """Style a picture with a model.

    The result is complete while it is the file that its record describes, and the record names the picture and the
    model as S3 holds them now, and the same parameters. Where it is made (mode, device) is no part of that.
    """

    SHARED_RELATIVE_PATH = "stylized"

    image = image_parameter()
    model = model_parameter()
    max_side = luigi.OptionalNumericalParameter(  # type: ignore[call-arg]  # Luigi's mixin hides what it takes
        default=None, min_value=1, max_value=2**31, var_type=int, description="shrink the longest edge to it, pixels"
    )
    quality = luigi.NumericalParameter(
        default=DEFAULT_QUALITY, min_value=1, max_value=101, var_type=int, description="of JPEG and WebP"
    )
    max_pixels = luigi.IntParameter(
        default=DEFAULT_MAX_PIXELS, significant=False, description="refuse a picture that declares more"
    )
    mode = luigi.ChoiceParameter(
        choices=(IN_PROCESS, PROGRAM), default=IN_PROCESS, significant=False, description="where the net runs"
    )
    device = DeviceParameter(
        default=None, significant=False, description="auto, cpu, cuda, cuda:1 or mps [default: the settings']"
    )

    def requires(self) -> dict[str, S3Input]:
        """The two objects in S3; `run` brings them here, as local copies are each host's own affair."""
        return {
            "image": ContentImage(image=self.image, s3_root=self.s3_root),
            "model": SavedModel(model=self.model, s3_root=self.s3_root),
        }

    def output(self) -> SuffixPreservingLocalTarget:
        """The styled picture."""
        name = result_name(self.image, self.model, max_side=self.max_side, suffix=result_suffix(self.image))
        return SuffixPreservingLocalTarget(str(Path(self.LOCAL_ROOT, self.SHARED_RELATIVE_PATH, name)), format=Nop)

    @property
    def resources(self) -> dict[str, int]:  # type: ignore[override]  # Luigi reads it, and never sets it
        """One GPU of this host, where one is used: two nets do not share it."""
        device = self._device()
        uses_gpu = device.startswith(("cuda", "mps")) or (device == "auto" and os.path.exists("/dev/nvidia0"))
        return {f"gpu-{socket.gethostname()}": 1} if uses_gpu else {}

    def complete(self) -> bool:
        """Whether the result holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        if not self.output().exists():
            return False
        found = {name: head(task.output().uri) for name, task in self.requires().items()}
        inputs = {name: info for name, info in found.items() if info is not None}
        return len(inputs) == len(found) and self.reason_to_make(inputs) is None

    def reason_to_make(self, inputs: Mapping[str, ObjectInfo]) -> str | None:
        """Why the result has to be made (again); None when it holds.

        Args:
            inputs: ``image`` and ``model`` as S3 holds them now.
        """
        return reason_to_make(Path(self.output().path), inputs=inputs, parameters=self._parameters())

    def local_copies(self) -> dict[str, Path]:
        """Where the copies of ``image`` and ``model`` lie on this host."""
        return {
            "image": Path(self.LOCAL_ROOT, IMAGES, self.image),
            "model": Path(self.LOCAL_ROOT, SAVED_MODELS, self.model),
        }

    def run(self) -> None:
        """Fetch, style, check, publish, record."""
        self._say("fetching the picture and the model", percent=0)
        copies = {name: self._fetch(name, path) for name, path in self.local_copies().items()}
        self._say("styling", percent=20)
        with self.output().temporary_path() as scratch:
            made_by = self._style(copies["model"], Path(scratch))
            for name, path in self.local_copies().items():
                _refuse_another(path, copies[name])
            sources = {name: _source(copy) for name, copy in copies.items()}
            record = make_record(Path(scratch), inputs=sources, parameters=self._parameters(), made_by=made_by)
        write_record(self.output().path, record)
        self._say("done", percent=100)
        if self.set_tracking_url is not None:
            self.set_tracking_url(Path(self.output().path).as_uri())
        progress.add_picture()

    def program_args(self) -> list[str]:
        """The command line of the net in its own process (`mode` program)."""
        return [sys.executable, "-m", "neural_style", "eval", *self._program_options]

    def program_environment(self) -> dict[str, str]:
        """This process's environment without the credentials, which the net has no use for."""
        return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    def _say(self, message: str, *, percent: int) -> None:
        """Show on Luigi's page what this task is doing; Luigi sets both while it runs the task, and only then."""
        if self.set_status_message is not None and self.set_progress_percentage is not None:
            self.set_status_message(message)
            self.set_progress_percentage(percent)

    def _fetch(self, name: str, path: Path) -> CopyRecord:
        return fetch(self.input()[name].uri, path, on_bytes=progress.add_bytes)

    def _style(self, model: CopyRecord, scratch: Path) -> dict[str, Any]:
        """Write the styled picture to `scratch` and say what made it."""
        if self.mode == PROGRAM:
            return self._style_in_program(scratch)
        here = self.local_copies()
        stylizer = _loaded(str(here["model"]), model.sha256, self._device())
        stylizer.style_file(
            here["image"], scratch, max_side=self.max_side, max_pixels=self.max_pixels, quality=self.quality
        )
        return stylizer.description()

    def _style_in_program(self, scratch: Path) -> dict[str, Any]:
        here = self.local_copies()
        with tempfile.TemporaryDirectory(prefix="stylize-") as folder:
            report = Path(folder, "report.json")
            options = {
                "content-image": here["image"],
                "model": here["model"],
                "output-image": scratch,
                "device": self._device(),
                "max-side": self.max_side,
                "max-pixels": self.max_pixels,
                "quality": self.quality,
                "report": report,
            }
            # Luigi asks for the arguments without telling where the scratch file is, so they are kept here meanwhile.
            self._program_options = [f"--{name}={value}" for name, value in options.items() if value is not None]
            try:
                super().run()
            except ExternalProgramRunError as err:
                raise _program_failure(err) from None  # its own text holds the whole environment
            except SystemExit as err:  # Luigi's handler of SIGTERM; as an exit it would count as a failed task
                raise Terminated from err
            said = json.loads(report.read_text(encoding="utf-8"))
        for warning in said["warnings"]:
            logger.warning("%s", warning)
        return dict(said["made_by"])

    def _device(self) -> str:
        return self.device or settings.current().device

    def _parameters(self) -> Parameters:
        lossy = Path(self.output().path).suffix.lower() in LOSSY_SUFFIXES
        return Parameters(
            max_side=self.max_side,
            quality=self.quality if lossy else None,
            precision=PRECISION,
            algorithm=ALGORITHM_VERSION,
        )


@functools.lru_cache(maxsize=LOADED_MODELS)
def _loaded(model: str, sha256: str, device: str) -> Stylizer:
    """The net of a model file, read once a process as long as its bytes are the same.

    Raises:
        InputChangedError: the file's bytes are others than those that were fetched; the net is not kept.
    """
    from neural_style.stylize import Stylizer

    stylizer = Stylizer(model, device=device)
    if sha256_of(model) != sha256:
        raise _replaced(Path(model), sha256)
    return stylizer


def _refuse_another(path: Path, copy: CopyRecord) -> None:
    """Raise if `path` is no longer the very file that was fetched: another process put a newer one there meanwhile."""
    if not copy.holds(path):
        raise _replaced(path, copy.sha256)


def _replaced(path: Path, sha256: str) -> InputChangedError:
    return InputChangedError(f"{path}: replaced while it was being read, wanted sha256 {sha256}; run it again")


def _source(copy: CopyRecord) -> Source:
    return Source(
        uri=copy.uri, etag=copy.etag, sha256=copy.sha256, size_bytes=copy.size_bytes, checked_by=copy.checked_by
    )


def _program_failure(err: ExternalProgramRunError) -> ProgramFailedError:
    """The one sentence in which the program said what was wrong, or how it ended."""
    lines = [line for line in (err.err or "").splitlines() if line.startswith(PROGRAM_ERROR)]
    if lines:
        return ProgramFailedError(lines[-1].removeprefix(PROGRAM_ERROR))
    last = next((line for line in reversed((err.err or "").splitlines()) if line.strip()), "it said nothing")
    return ProgramFailedError(f"python -m neural_style ended without a result ({err.message.rstrip(':')}): {last}")
