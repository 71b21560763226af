"""From imports to distributions: as installed, by settings, by known and likely names."""

from __future__ import annotations

import sys

import pytest

from csci_utils.deps.facts import Distribution, Environment, normal_name
from csci_utils.deps.modules_of import ALIASES, Brought, Modules


def modules(installed=None, *, named=None, expected=(), stdlib=None):
    environment = None
    if installed is not None:
        found = tuple(
            Distribution(name=name, spelled=name, version="1", path=f"/s/{name}", location="/s", modules=tuple(each))
            for name, each in installed.items()
        )
        environment = Environment(
            label="e", kind="python", python="p", prefix="/e", distributions=found, stdlib=stdlib and frozenset(stdlib)
        )
    return Modules(environment=environment, named=named or {}, expected=frozenset(expected))


def test_what_is_installed_tells_what_brings_an_import():
    known = modules({"pyyaml": ["yaml", "_yaml"], "python-dateutil": ["dateutil"]})
    assert known.bring("yaml.nodes", "Node") == Brought(by=("pyyaml",))
    assert known.bring("dateutil") == Brought(by=("python-dateutil",))


def test_a_namespace_is_told_apart_by_what_is_taken_from_it():
    known = modules(
        {
            "google-cloud-storage": ["google.cloud.storage"],
            "protobuf": ["google.protobuf"],
            "ruamel-yaml": ["ruamel.yaml"],
        }
    )
    assert known.bring("google.cloud", "storage").by == ("google-cloud-storage",)
    assert known.bring("google.cloud.storage.blob", "Blob").by == ("google-cloud-storage",)
    assert known.bring("google", "protobuf").by == ("protobuf",)
    assert known.bring("ruamel", "yaml").by == ("ruamel-yaml",)
    assert known.bring("google").by == ("google-cloud-storage", "protobuf")
    assert known.bring("google.cloud").by == ("google-cloud-storage",)
    assert known.bring("google.cloud", "bigquery") == Brought(by=("google-cloud-bigquery",), guessed=True)


def test_one_import_may_be_brought_by_several():
    known = modules({"opencv-python": ["cv2"], "opencv-python-headless": ["cv2"]})
    assert known.bring("cv2").by == ("opencv-python", "opencv-python-headless")


def test_settings_go_before_what_is_installed():
    known = modules({"a": ["x"]}, named={"x": "Other_One", "y.z": "yz"})
    assert known.bring("x.y").by == ("other-one",)
    assert known.bring("y", "z") == Brought(by=("yz",))


@pytest.mark.parametrize(
    ("module", "expected", "by"),
    [
        ("yaml", (), ("pyyaml",)),
        ("PIL.Image", (), ("pillow",)),
        (
            "cv2",
            (),
            ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
        ),
        ("sklearn.linear_model", (), ("scikit-learn",)),
        ("google.protobuf", (), ("protobuf",)),
        ("unknown_one.x", (), ("unknown-one",)),
        ("google.cloud.storage", ("google-cloud-storage", "google-cloud-core"), ("google-cloud-storage",)),
        ("socketio", ("python-socketio",), ("python-socketio",)),
        ("engine", ("engine-python",), ("engine-python",)),
        ("sftp", ("pysftp",), ("pysftp",)),
        ("Flask_Login", ("flask-login",), ("flask-login",)),
    ],
)
def test_without_an_environment_names_are_guessed(module, expected, by):
    for known in (modules(expected=expected), modules({}, expected=expected)):
        assert known.bring(module) == Brought(by=by, guessed=True)


@pytest.mark.parametrize(
    ("module", "name", "by"),
    [
        ("google.cloud", "bigquery", "google-cloud-bigquery"),
        ("google.cloud.bigquery.table", "Row", "google-cloud-bigquery"),
        ("google.auth.transport", None, "google-auth"),
        ("azure.storage.blob", "BlobClient", "azure-storage-blob"),
        ("azure.identity", None, "azure-identity"),
        ("zope.interface", "implementer", "zope-interface"),
        ("backports", "zoneinfo", "backports-zoneinfo"),
        ("opentelemetry.sdk.trace", None, "opentelemetry-sdk"),
        ("opentelemetry", "trace", "opentelemetry-api"),
        ("opentelemetry.instrumentation.flask", None, "opentelemetry-instrumentation-flask"),
    ],
)
def test_a_part_of_a_known_namespace_is_guessed_by_its_whole_name(module, name, by):
    """The first name alone is somebody else's on the index."""
    assert modules().bring(module, name) == Brought(by=(by,), guessed=True)


def test_of_a_namespace_that_is_not_known_or_no_part_is_named_nothing_is_sure():
    known = modules({"firm-core": ["firm.core"]})
    assert known.bring("firm.other", "f") == Brought(by=("firm-other",), guessed=True, sure=False)
    for module, name in (("google", None), ("google.cloud", "*"), ("azure.storage", None)):
        assert known.bring(module, name) == Brought(by=(module.replace(".", "-"),), guessed=True, sure=False)


def test_every_known_name_is_in_normal_form():
    for module, by in ALIASES.items():
        assert by == tuple(dict.fromkeys(map(normal_name, by))), module
        assert all(part.isidentifier() for part in module.split("."))


def test_the_standard_library_is_the_environments():
    assert modules({}, stdlib=["os", "distutils"]).is_standard("distutils.core")
    assert not modules({}, stdlib=["os"]).is_standard("tomllib")
    assert modules({}).is_standard("tomllib") is ("tomllib" in sys.stdlib_module_names)
    assert modules().is_standard("xml.etree")
    assert modules().is_standard("_typeshed")
    assert not modules().is_standard("yaml")


@pytest.mark.parametrize(
    ("python", "standard"), [("3.8", True), ("3.11", True), ("3.12", False), ("3.12.1", False), ("odd", True)]
)
def test_an_older_python_brought_more_itself(monkeypatch, python, standard):
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset({"os"}))
    known = Modules(environment=None, named={}, expected=frozenset(), python=python)
    assert known.is_standard("distutils.core") is standard
    assert known.is_standard("os")


def test_a_distribution_has_likely_modules():
    known = modules({"pyyaml": ["yaml", "_yaml"]}, named={"odd": "The.Thing"})
    assert known.of("pyyaml") == ("yaml", "_yaml")
    assert known.of("pillow") == ("PIL", "pillow")
    assert known.of("the-thing") == ("odd", "the_thing")
