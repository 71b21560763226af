"""`Stylize`: a picture and a model in S3 become a styled picture here, with a record of what it was made from."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from luigi.contrib.external_program import ExternalProgramRunError, ExternalProgramTask
from luigi.format import Nop

from csci_utils.copies import CopyRecord, fetch
from csci_utils.io import scratch_folder, write_record
from csci_utils.lock import locked
from csci_utils.luigi.target import SuffixPreservingLocalTarget
from csci_utils.signals import raise_interrupt
from neural_style.byte_size import parse_memory
from pipeline import progress, settings
from pipeline.errors import ProgramFailedError, Terminated
from pipeline.loaded import loaded_stylizer, refuse_another
from pipeline.results import Source, is_precise_enough, make_record, precision_in
from pipeline.tasks.request import PROGRAM, StyleRequest

# How far a result is when the net begins and ends, percent.
STYLING, STYLED = 20, 90
# The error line of `python -m neural_style`.
PROGRAM_ERROR = "neural_style: error: "

logger = logging.getLogger(__name__)


class Stylize(StyleRequest, ExternalProgramTask):
    """Style a picture with a model.

    The result is complete while it is the file that its record describes, and the record names the picture and the
    model as S3 holds them now, and the same parameters, or a better precision. Where and by what it is made (mode,
    device, engine, memory) is no part of that.
    """

    def output(self) -> SuffixPreservingLocalTarget:
        """The styled picture."""
        return SuffixPreservingLocalTarget(str(self.local_result), format=Nop)

    def complete(self) -> bool:
        """Whether the result holds.

        Raises:
            S3Error: the store refused or did not answer.
        """
        if not self.output().exists():
            return False
        inputs = self.look()
        return len(inputs) == len(self.requires()) and self.reason_to_make(inputs) is None

    def run(self) -> None:
        """Fetch, style, check, publish, record; of several processes that want the same result one makes it."""
        with self.shown(), progress.one_picture() as reach:
            with locked(self.local_result) as waited:
                if not ((waited or self._is_maybe_better()) and self.complete()):
                    self._make(reach)
            self.say("done", percent=100)
            if self.set_tracking_url is not None:
                self.set_tracking_url(Path(self.output().path).as_uri())

    def _is_maybe_better(self) -> bool:
        """Whether a task of this run may have made the same file meanwhile, in a precision that does for this one."""
        made = precision_in(self.made())
        return made != self.precision and is_precise_enough(made, self.precision)

    def _make(self, reach: Callable[[float], None]) -> None:
        self.say("fetching the picture and the model", percent=0)
        copies = {name: self._fetch(name, path) for name, path in self.local_copies().items()}
        self.say("styling", percent=STYLING)
        with self.output().temporary_path() as scratch:
            made_by = self._style(copies["model"], Path(scratch), on_progress=self._shown_seldom(reach))
            for name, path in self.local_copies().items():
                refuse_another(path, copies[name])
            sources = {name: Source.of_copy(copy) for name, copy in copies.items()}
            record = make_record(
                Path(scratch), inputs=sources, parameters=self.wanted_parameters, made_by=made_by, forced=self.forced
            )
        write_record(self.output().path, record)

    def program_args(self) -> list[str]:
        """The command line of the net in its own process (`mode` program)."""
        return [sys.executable, "-m", "neural_style", "eval", *self._program_options]

    def program_environment(self) -> dict[str, str]:
        """This process's environment without the credentials, which the net has no use for."""
        return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    def _fetch(self, name: str, path: Path) -> CopyRecord:
        return fetch(self.input()[name].uri, path, on_bytes=progress.add_bytes, offline=settings.current().offline)

    def _shown_seldom(self, reach: Callable[[float], None]) -> Callable[[float], None]:
        """Show how far the net is; most calls cost no more than a look at the clock."""
        next_s = 0.0

        def on_progress(fraction: float) -> None:
            nonlocal next_s
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + progress.REFRESH_S
                reach(fraction)
                self.say(f"styling: {fraction:.0%}", percent=round(STYLING + (STYLED - STYLING) * fraction))

        return on_progress

    def _style(self, model: CopyRecord, scratch: Path, *, on_progress: Callable[[float], None]) -> dict[str, Any]:
        """Write the styled picture to `scratch` and say what made it."""
        if self.mode == PROGRAM:
            return self._style_in_program(scratch)
        here = self.local_copies()
        stylizer = loaded_stylizer(
            str(here["model"]),
            model.sha256,
            device=self.device_name,
            engine=self.engine_name,
            precision=self.precision,
            memory_bytes=parse_memory(self.memory_wanted),
            cache=settings.current().model_cache,
        )
        styled = stylizer.style_file(
            here["image"],
            scratch,
            max_side=self.max_side,
            max_pixels=self.max_pixels,
            quality=self.quality,
            on_progress=on_progress,
        )
        return styled.made_by

    def _style_in_program(self, scratch: Path) -> dict[str, Any]:
        here = self.local_copies()
        with scratch_folder(self.LOCAL_ROOT) as folder:
            report = folder / "report.json"
            options = {
                "content-image": here["image"],
                "model": here["model"],
                "output-image": scratch,
                "device": self.device_name,
                "engine": self.engine_name,
                "precision": self.precision,
                "memory": self.memory_wanted,
                "cache": settings.current().model_cache,
                "max-side": self.max_side,
                "max-pixels": self.max_pixels,
                "quality": self.quality,
                "report": report,
                "parent": os.getpid(),
            }
            # Luigi asks for the arguments without telling where the scratch file is, so they are kept here meanwhile.
            self._program_options = [f"--{name}={value}" for name, value in options.items() if value is not None]
            try:
                super().run()
            except ExternalProgramRunError as err:
                raise _program_failure(err) from None  # its own text holds the whole environment
            except SystemExit:  # Luigi's handler of SIGTERM; as an exit it would count as a failed task
                raise_interrupt(Terminated)
            said = json.loads(report.read_text(encoding="utf-8"))
        for warning in said["warnings"]:
            logger.warning("%s", warning)
        return dict(said["made_by"])


def _program_failure(err: ExternalProgramRunError) -> ProgramFailedError:
    """The one sentence in which the program said what was wrong, or how it ended."""
    lines = [line for line in (err.err or "").splitlines() if line.startswith(PROGRAM_ERROR)]
    if lines:
        return ProgramFailedError(lines[-1].removeprefix(PROGRAM_ERROR))
    last = next((line for line in reversed((err.err or "").splitlines()) if line.strip()), "it said nothing")
    return ProgramFailedError(f"python -m neural_style ended without a result ({err.message.rstrip(':')}): {last}")
