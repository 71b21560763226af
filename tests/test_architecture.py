"""Imports point one way, and torch is met only where DESIGN says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

PACKAGES = ("csci_utils", "neural_style", "pipeline")
ALLOWED = {
    "csci_utils": {"csci_utils"},
    "neural_style": {"neural_style", "csci_utils.io"},
    "pipeline": {"pipeline", "neural_style", "csci_utils"},
}
FORBIDDEN_LIBRARIES = {
    "csci_utils": {"torch", "torchvision"},
    "neural_style": {"luigi", "boto3", "botocore", "moto", "click"},
    "pipeline": {"torch", "torchvision"},
}
TORCH_MODULES = {
    "neural_style.transformer_net",
    "neural_style.banded_layers",
    "neural_style.banded_net",
    "neural_style.cuda_runner",
    "neural_style.devices",
    "neural_style.folding",
    "neural_style.free_memory",
    "neural_style.losses",
    "neural_style.map_store",
    "neural_style.moments",
    "neural_style.onednn",
    "neural_style.painted_model",
    "neural_style.palette",
    "neural_style.perceptual",
    "neural_style.plain_net",
    "neural_style.picture_model",
    "neural_style.side_by_side",
    "neural_style.style_model",
    "neural_style.style_patches",
    "neural_style.training_net",
    "neural_style.vgg",
    "neural_style.weights",
    "neural_style.onnx_export",
    "neural_style.engines.torch_engine",
    "neural_style.checkpoint_file",
    "neural_style.datamodule",
    "neural_style.distributed",
    "neural_style.model",
    "neural_style.plugins",
    "neural_style.plugins.base",
    "neural_style.plugins.checkpoint",
    "neural_style.plugins.cuda",
    "neural_style.plugins.curve",
    "neural_style.plugins.finite",
    "neural_style.plugins.progress",
    "neural_style.plugins.readback",
    "neural_style.plugins.registry",
    "neural_style.plugins.samples",
    "neural_style.plugins.schedule",
    "neural_style.plugins.tensorboard",
    "neural_style.random_features",
    "neural_style.random_state",
    "neural_style.reproducible",
    "neural_style.train",
    "neural_style.train_data",
    "neural_style.train_style",
    "neural_style.trainer_part",
}
OF_RAYS_PROCESS = {"pipeline.many.ray_driver", "pipeline.many.ray_pool"}
"""What only the process imports that speaks with Ray."""
MODULES = [(package, path) for package in PACKAGES for path in sorted((REPO / package).rglob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    """Every module that a file names, in functions too; relative ones are made absolute."""
    package = ".".join(path.relative_to(REPO).with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def under(module: str, roots: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


@pytest.mark.slow
@pytest.mark.parametrize(("package", "path"), MODULES, ids=[module_name(path) for _, path in MODULES])
def test_imports_point_one_way(package, path):
    ours = {name for name in imported_modules(path) if name.partition(".")[0] in PACKAGES}
    packages_named = {name for name in ours if name in PACKAGES}  # `from csci_utils import io` names both
    strays = {name for name in ours - packages_named if not under(name, ALLOWED[package])}
    assert not strays
    assert not {name.partition(".")[0] for name in imported_modules(path)} & FORBIDDEN_LIBRARIES[package]


@pytest.mark.parametrize(
    "path", [path for root, path in MODULES if root == "neural_style"], ids=lambda path: module_name(path)
)
def test_torch_is_named_only_where_the_design_says(path):
    names_torch = any(name.partition(".")[0] in ("torch", "torchvision") for name in imported_modules(path))
    assert not names_torch or module_name(path) in TORCH_MODULES


def test_there_is_something_to_check():
    assert {package for package, _ in MODULES} == set(PACKAGES)
    assert {module_name(path) for _, path in MODULES} >= TORCH_MODULES


def test_a_forbidden_import_would_be_seen(tmp_path, monkeypatch):
    stray = tmp_path / "neural_style" / "engines" / "stray.py"
    stray.parent.mkdir(parents=True)
    stray.write_text("def f():\n    from csci_utils import s3\n    from ..weights import x\n    import torch.nn\n")
    monkeypatch.setattr(sys.modules[__name__], "REPO", tmp_path)
    found = imported_modules(stray)
    assert {"csci_utils.s3", "neural_style.weights", "torch.nn"} <= found
    assert not under("csci_utils.s3", ALLOWED["neural_style"])


def modules_of(*packages: str) -> list[str]:
    return [module_name(path) for package, path in MODULES if package in packages and path.stem != "__main__"]


def test_the_tree_of_the_architecture_names_every_module():
    tree = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {path.name for _, path in MODULES if not path.name.startswith("__")}
    assert sorted(name for name in names if name not in tree) == []


def loaded_after_importing(modules: list[str], libraries: list[str]) -> str:
    code = f"import sys\nfor m in {modules!r}: __import__(m)\nprint([m for m in {libraries!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_pipeline_and_csci_utils_load_no_torch():
    assert loaded_after_importing(modules_of("pipeline", "csci_utils"), ["torch", "torchvision"]) == "[]"


@pytest.mark.slow
def test_pipeline_loads_no_picture_library_before_it_runs():
    modules = [name for name in modules_of("pipeline") if name not in OF_RAYS_PROCESS]
    assert len(modules) == len(modules_of("pipeline")) - len(OF_RAYS_PROCESS)
    assert loaded_after_importing(modules, ["numpy", "PIL", "onnxruntime", "moto", "tqdm", "ray"]) == "[]"


@pytest.mark.slow
def test_modules_said_to_be_free_of_torch_load_none():
    free = [name for name in modules_of("neural_style") if name not in TORCH_MODULES]
    assert len(free) > 5
    assert loaded_after_importing(free, ["torch", "torchvision", "onnxruntime"]) == "[]"


@pytest.mark.slow
def test_neural_style_loads_no_luigi_and_no_s3():
    assert loaded_after_importing(modules_of("neural_style"), ["luigi", "boto3", "botocore", "click"]) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["-m", "pipeline", "--help"], ["-m", "neural_style", "--help"], ["-m", "neural_style", "eval", "--help"]],
    ids=" ".join,
)
def test_help_imports_no_torch(command):
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        f"sys.argv = {command[1:]!r}\nrunpy.run_module({command[1]!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "False")
    assert "--" in done.stdout
