"""Pictures and a model in a store, and the commands that style them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import REPO
from bench.many_store import NotingStore
from bench.many_timeline import as_told
from bench.measure import Command

FOLDER = "pictures"
MODEL = "random"


@dataclass(frozen=True, kw_only=True)
class ManyInStore:
    """So many pictures and a model in a bucket of their own.

    Attributes:
        store: Where.
        root: The bucket.
        count: Of pictures.
        local: The local root of the commands.
    """

    store: NotingStore
    root: str
    count: int
    local: Path

    @classmethod
    def fill(
        cls, store: NotingStore, root: str, *, pictures: Path, model: Path, count: int, local: Path
    ) -> ManyInStore:
        """Put the first files of a folder, and a model, where they are to be.

        Raises:
            RuntimeError: there are too few.
        """
        paths = sorted(pictures.iterdir())[:count]
        if len(paths) < count:
            raise RuntimeError(f"{pictures} holds {len(paths)} files, wanted {count}")
        store.fill(f"{root}/images/{FOLDER}/", paths)
        if model.stem != MODEL:
            raise RuntimeError(f"{model}: wanted a model of the name {MODEL}")
        store.fill(f"{root}/saved_models/", [model])
        return cls(store=store, root=root, count=count, local=local)

    def forget(self) -> None:
        """Remove all that was made: in the store, and here."""
        shutil.rmtree(self.local, ignore_errors=True)
        self.forget_results()

    def forget_results(self) -> None:
        """Remove the results."""
        self.store.forget(f"{self.root}/stylized/")

    def many(self, name: str, *, before: Callable[[], None]) -> Command:
        """`python -m pipeline many` over all of them."""
        options = ["--images", f"{FOLDER}/", "-m", MODEL, "--device", "cpu"]
        return self.command(name, ["-m", "pipeline", "many", *options], before=before, num_results=self.count)

    def command(self, name: str, args: Sequence[str], *, before: Callable[[], None], num_results: int) -> Command:
        """A command of this Python, which tells afterwards what the store was asked meanwhile.

        Args:
            name: For the table.
            args: Of Python.
            before: Called before it.
            num_results: That it has to leave in the store.
        """

        def quiet_before() -> None:
            before()
            self.store.requests()

        def after() -> dict[str, object]:
            asked, found = self.store.requests(), self.store.count(f"{self.root}/stylized/{MODEL}/{FOLDER}/")
            if found != num_results:
                raise RuntimeError(f"{name} left {found} results, wanted {num_results}")
            return {**as_told(asked), "num_pictures": self.count}

        more = {"PIPELINE_S3_ROOT": f"s3://{self.root}", "PIPELINE_LOCAL_ROOT": str(self.local)}
        return Command(
            name=name,
            args=[sys.executable, *args],
            env={**self.store.env, **more},
            cwd=REPO,
            before=quiet_before,
            after=after,
        )
