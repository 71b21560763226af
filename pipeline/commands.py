"""The commands and their options; what they do stands elsewhere, and is imported when it is asked for."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from neural_style.console import print_path
from neural_style.contract import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from neural_style.quick_import import start_is_over
from pipeline.choices import DEFAULT_MAX_FAILURES, LOCAL, RUNNERS
from pipeline.console import PROGRAM, log_to_stderr, tell

DEFAULT_COMMAND = "style"
DEFAULT_EMBEDDED_FOLDER = Path("bucket")

_IMPORTED_AT_START = {DEFAULT_COMMAND: "pipeline.style", "many": "pipeline.many.run"}
"""What commands consist of that are waited for the most."""

Command = TypeVar("Command", bound=Callable[..., int])


class StyleByDefault(click.Group):
    """A group that styles when no subcommand is named, and whose help shows those options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before arguments that name none."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "--version")):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the default command's options first, then the commands."""
        style = self.commands[DEFAULT_COMMAND]
        style.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    name=PROGRAM,
    cls=StyleByDefault,
    options_metavar="",
    subcommand_metavar="[style] [OPTIONS] | COMMAND [ARGS]...",
    context_settings={"help_option_names": ["--help"], "max_content_width": 110},
)
@click.version_option(package_name="neural-style-pipeline")
def cli() -> None:
    """Style pictures that lie in S3 with models that lie in S3; each result says what it was made from.

    The results' paths go to standard output, everything else to standard error.
    """


_STORE_OPTIONS = [
    click.option("--s3-root", metavar="URL", help="s3://bucket/prefix.  [default: $PIPELINE_S3_ROOT]"),
    click.option("--local-root", metavar="FOLDER", help="Local mirror.  [default: $PIPELINE_LOCAL_ROOT or ./data]"),
    click.option("--offline", is_flag=True, default=None, help="Ask S3 nothing, and trust the local copies."),
    click.option("--embedded", is_flag=True, help="Use an S3 inside this process: no account, nothing configured."),
    click.option(
        "--embedded-folder",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help=f"What the embedded S3 holds.  [default: ./{DEFAULT_EMBEDDED_FOLDER}]",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Say more about what is done, and why."),
]


def _with_store(command: Command) -> Command:
    """Give a command the options that say where things lie, and put them in force while it runs."""

    @functools.wraps(command)
    def configured(
        *,
        s3_root: str | None,
        local_root: str | None,
        offline: bool | None,
        embedded: bool,
        embedded_folder: Path | None,
        verbose: bool,
        device: str | None = None,
        engine: str | None = None,
        styling_precision: str | None = None,
        memory: str | None = None,
        **rest: Any,
    ) -> int:
        log_to_stderr(verbose=verbose)
        given = {
            "s3_root": s3_root,
            "local_root": local_root,
            "device": device,
            "engine": engine,
            "precision": styling_precision,
            "memory": memory,
            "offline": offline,
        }
        folder = (embedded_folder or DEFAULT_EMBEDDED_FOLDER) if embedded or embedded_folder is not None else None
        if folder is not None:
            publishes = rest.get("publish") or rest.get("published") or rest.get("here") is False
            _refuse_to_lose(command.__name__, publish=bool(publishes and not rest.get("dry_run")))
        with _settings_in_force(given, embedded_folder=folder):
            if (module := _IMPORTED_AT_START.get(command.__name__)) is not None:
                importlib.import_module(module)
            start_is_over()
            return command(**rest)

    for option in reversed(_STORE_OPTIONS):
        configured = option(configured)
    return configured  # type: ignore[return-value]  # the wrapper takes more and returns the same


def _refuse_to_lose(command: str, *, publish: bool) -> None:
    """Refuse to put something into a store that ends with the command."""
    if command != "put" and not publish:
        return
    from pipeline.errors import PipelineError

    raise PipelineError(
        "what is put into the embedded S3 ends with the command; put the file into its folder "
        f"(./{DEFAULT_EMBEDDED_FOLDER}, or --embedded-folder), keep results --here, or name a bucket"
    )


@contextlib.contextmanager
def _settings_in_force(given: dict[str, Any], *, embedded_folder: Path | None) -> Iterator[None]:
    from pipeline import settings

    with contextlib.ExitStack() as stack:
        if embedded_folder is not None:
            from pipeline.embedded import ROOT, embedded_s3

            given = given | {"s3_root": settings.checked_s3_root(given["s3_root"] or ROOT)}
            read = settings.read_settings(**given, dotenv=False)
            stack.enter_context(embedded_s3(embedded_folder, s3_root=read.s3_root))
        else:
            read = settings.read_settings(**given)
            read.required_s3_root()
        stack.enter_context(settings.use(read))
        yield


_memory_option = click.option(
    "--memory",
    metavar="SIZE",
    help="What a picture may take, as 2GiB; one that needs more is streamed.  [default: auto, half of what is free]",
)


_STYLE_OPTIONS = [
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="NAME",
        help="Model below saved_models/ [.pth]; may be repeated.",
    ),
    click.option(
        "--max-side", type=click.IntRange(min=1), metavar="PIXELS", help="Shrink the longest edge to this first."
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_PIXELS,
        show_default=True,
        metavar="PIXELS",
        help="Refuse a picture that declares more, before it is decoded; one that is read in bands may have more.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        default=DEFAULT_QUALITY,
        show_default=True,
        help="Of JPEG and WebP results.",
    ),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]"),
    click.option("--engine", metavar="ENGINE", help="auto, torch, openvino or onnxruntime.  [default: auto]"),
    click.option(
        "--precision",
        "styling_precision",
        metavar="PRECISION",
        help="float32, or fast: close to it, in less time.  [default: float32]",
    ),
    _memory_option,
]


def _styled_with(command: Command) -> Command:
    """Give a command the options that say with which models pictures are styled, and how."""
    for option in reversed(_STYLE_OPTIONS):
        command = option(command)
    return command


@cli.command(DEFAULT_COMMAND)
@click.option(
    "-i", "--image", "images", multiple=True, metavar="NAME", help="Picture below images/ in S3; may be repeated."
)
@_styled_with
@click.option(
    "--mode",
    type=click.Choice(["in-process", "program"]),
    default="in-process",
    show_default=True,
    help="Run the net here, or as a program of its own.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that work at once."
)
@click.option("--publish", is_flag=True, help="Put the results into S3, too, below stylized/.")
@click.option("--force", is_flag=True, help="Make again what is up to date.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and why; make nothing.")
@click.option("--scheduler", metavar="URL", help="Share the work with other hosts through this luigid.")
@_with_store
def style(**job: Any) -> int:
    """Style every picture with every model."""
    from pipeline.plan import StyleJob
    from pipeline.style import run

    return run(StyleJob(**job), result=print_path, tell=tell)


@cli.command()
@click.option(
    "--images",
    multiple=True,
    metavar="PATTERN",
    help="Folder ('holiday/'), pattern ('holiday/*.jpg', '**/*.png') or name below images/ in S3; may be repeated.",
)
@click.option(
    "--images-from",
    "lists",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A list of names, one a line; - is standard input.",
)
@_styled_with
@click.option("--here", is_flag=True, help="Keep the results in the local mirror, too, with their records.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that work at once."
)
@click.option("--runner", type=click.Choice(RUNNERS), default=LOCAL, show_default=True)
@click.option("--ray-address", metavar="ADDRESS", help="Of a Ray cluster.  [default: one that is started here]")
@click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=DEFAULT_MAX_FAILURES,
    show_default=True,
    metavar="N",
    help="Give the run up when more pictures fail.",
)
@click.option("--retry-failed", is_flag=True, help="Try pictures again that failed and have not changed.")
@click.option("--force", is_flag=True, help="Make again what is up to date.")
@click.option("--dry-run", is_flag=True, help="Say how much would be made, and why; make nothing.")
@click.option("--scheduler", metavar="URL", help="Share the work with other hosts through this luigid.")
@_with_store
def many(*, force: bool, **job: Any) -> int:
    """Style whole folders of pictures with every model, and put the results into S3.

    What is there and up to date is left alone; a picture that fails does not stop the others.
    """
    import secrets

    from pipeline import settings
    from pipeline.many.plan import ManyJob
    from pipeline.many.run import run

    now = settings.current()
    forced = secrets.token_hex(8) if force else ""
    wanted = ManyJob(s3_root=now.required_s3_root(), precision=now.precision, forced=forced, **job)
    return run(wanted, result=print_path, tell=tell)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--as",
    "folder",
    metavar="images|saved_models|styles|datasets/NAME",
    help="Where they go below the S3 root.  [default: pictures to images, models to saved_models]",
)
@click.option("--replace", is_flag=True, help="Also in place of an object with other bytes.")
@_with_store
def put(*, files: tuple[Path, ...], folder: str | None, replace: bool) -> int:
    """Put files into S3, whole and with their digests; what S3 holds already is left alone.

    One folder with --as datasets/NAME is put as a whole: its pictures and .tar files at any depth.
    """
    from pipeline.put import put_files

    return put_files(files, folder=folder, replace=replace, tell=tell)


@cli.command()
@click.argument("results", nargs=-1, metavar="[RESULT]...")
@_with_store
def status(*, results: tuple[str, ...]) -> int:
    """Say which results and trained models hold, and why the others do not; all of them unless some are named."""
    from pipeline.status import tell_status

    return tell_status(results, result=print_path, tell=tell)


@cli.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@_memory_option
@_with_store
def reproduce(*, results: tuple[str, ...]) -> int:
    """Make results again from their records, as they were made, and compare: nothing is changed."""
    from pipeline.reproduce import reproduce_results

    return reproduce_results(results, result=print_path, tell=tell)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--published", is_flag=True, help="Remove published results from S3, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@_with_store
def remove(*, names: tuple[str, ...], published: bool, dry_run: bool) -> int:
    """Remove local files and datasets, and every result and trained model made from them; what S3 holds stays there."""
    from pipeline.remove import remove_with_results

    return remove_with_results(names, published=published, dry_run=dry_run, tell=tell)


@cli.command()
@click.option("-s", "--style", required=True, metavar="NAME", help="Painting below styles/ in S3.")
@click.option("-d", "--dataset", required=True, metavar="NAME", help="Pictures below datasets/NAME in S3.")
@click.option("--name", default="", metavar="NAME", help="Of the model below saved_models/.  [default: the painting's]")
@click.option("--features", type=click.Choice(["vgg16", "random"]), default="vgg16", show_default=True, help="Judge.")
@click.option("--epochs", type=int, help="How often every picture is shown.  [default: 2]")
@click.option("--steps", type=int, help="Batches, instead of epochs.")
@click.option("--batch-size", type=int, help="Pictures a step.  [default: 4]")
@click.option("--image-size", "image_px", type=int, help="Side of a training picture, pixels.  [default: 256]")
@click.option("--style-size", "style_px", type=int, help="Side of the painting, pixels.  [default: as it is]")
@click.option("--lr", "learning_rate", type=float, help="Learning rate.  [default: 1e-3]")
@click.option("--content-weight", type=float, help="[default: 1e5]")
@click.option("--style-weight", type=float, help="[default: 1e10]")
@click.option("--total-variation", "total_variation_weight", type=float, help="Its weight.  [default: 0]")
@click.option("--seed", type=int, help="[default: 42]")
@click.option("--widths", metavar="A,B,C", help="Channels of the net.  [default: 32,64,128]")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--crop", type=click.Choice(["center", "random"]), help="[default: center]")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the arithmetic on the CPU.")
@click.option("--loaders", type=click.IntRange(min=0), metavar="N", help="Threads that decode pictures.")
@click.option("--compile", "compiled", is_flag=True, help="Let torch.compile fuse what it can.")
@click.option("--nondeterministic", is_flag=True, help="Let CUDA take what is fastest, not what gives the same bits.")
@click.option("--max-broken", type=click.IntRange(min=0), default=100, show_default=True, help="Broken pictures.")
@click.option("--checkpoint-interval", "checkpoint_every", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--log-interval", "note_every", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--tensorboard", default="", metavar="FOLDER", help="Write the losses there, for TensorBoard.")
@click.option("--sample", default="", metavar="NAME", help="Picture below images/ in S3, to style on the way.")
@click.option("--sample-interval", "sample_every", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--publish", is_flag=True, help="Put the model into S3, too, below saved_models/.")
@click.option("--force", is_flag=True, help="Train again what is up to date.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and why; train nothing.")
@click.option("--scheduler", metavar="URL", help="Share GPUs and the work with others through this luigid.")
@_with_store
def train(**job: Any) -> int:
    """Train a new style from a painting and a dataset; a run that was killed goes on from its last checkpoint."""
    from pipeline.train import TrainJob, run

    return run(TrainJob(**job), result=print_path, tell=tell)


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="[default: gallery in the local root]"
)
@click.option("--publish", is_flag=True, help="Put the page into S3, too, below gallery/.")
@_with_store
def gallery(*, names: tuple[str, ...], folder: Path | None, publish: bool) -> int:
    """Write a page to look at: results beside their originals, what each was made from, and what failed.

    It shows all results, here and of `many`, unless results or folders of results are named.
    """
    from pipeline.gallery.gallery import write_gallery

    return write_gallery(names, folder=folder, publish=publish, result=print_path, tell=tell)
