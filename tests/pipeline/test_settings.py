from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from csci_utils import s3
from csci_utils.s3 import S3Limits
from pipeline import settings
from pipeline.cli import exit_status
from pipeline.errors import NotConfiguredError
from pipeline.settings import read_settings
from tests.conftest import REPO


@pytest.fixture
def luigi_cfg(monkeypatch):
    from luigi.configuration import get_config

    config = get_config()
    values = {"s3_root": "s3://from-cfg/p", "local_root": "cfg-data", "device": "cpu"}
    get = config.get

    def with_section(section, option, *args, **kwargs):
        return values.get(option, *args) if section == "pipeline" else get(section, option, *args, **kwargs)

    monkeypatch.setattr(config, "get", with_section)


def test_nothing_configured_is_said_with_two_ways_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotConfiguredError, match="PIPELINE_S3_ROOT=s3://.* --embedded"):
        read_settings().required_s3_root()


def test_default_local_root_is_data_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_settings()
    assert (found.local_root, found.device) == (tmp_path / "data", "auto")


def test_luigi_cfg_comes_before_the_default(tmp_path, monkeypatch, luigi_cfg):
    monkeypatch.chdir(tmp_path)
    assert read_settings().s3_root == "s3://from-cfg/p"
    assert read_settings().local_root == tmp_path / "cfg-data"


def test_dotenv_comes_before_luigi_cfg(tmp_path, monkeypatch, luigi_cfg):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_S3_ROOT", "")  # so that monkeypatch puts the variable back
    monkeypatch.delenv("PIPELINE_S3_ROOT")
    (tmp_path / ".env").write_text("PIPELINE_S3_ROOT=s3://from-dotenv/p\n")
    assert read_settings().s3_root == "s3://from-dotenv/p"
    os.environ.pop("PIPELINE_S3_ROOT")


def test_environment_comes_before_dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_S3_ROOT", "s3://from-env/p")
    (tmp_path / ".env").write_text("PIPELINE_S3_ROOT=s3://from-dotenv/p\n")
    assert read_settings().s3_root == "s3://from-env/p"


def test_command_line_comes_first(monkeypatch, luigi_cfg):
    monkeypatch.setenv("PIPELINE_S3_ROOT", "s3://from-env/p")
    monkeypatch.setenv("PIPELINE_DEVICE", "cuda:1")
    found = read_settings(s3_root="s3://from-cli/p/", local_root="/tmp/x", device="cpu")
    assert (found.s3_root, found.local_root, found.device) == ("s3://from-cli/p", Path("/tmp/x"), "cpu")


def test_dotenv_is_left_alone_when_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PIPELINE_S3_ROOT=s3://from-dotenv/p\nAWS_PROFILE=real-account\n")
    assert read_settings(dotenv=False).s3_root == ""
    assert "AWS_PROFILE" not in os.environ


@pytest.mark.parametrize("root", ["bucket/prefix", "http://bucket", "s3://", "s3:///x", "s3://bu cket", "s3://b//c"])
def test_an_s3_root_of_another_form_is_refused(root):
    with pytest.raises(NotConfiguredError, match="s3_root wants s3://bucket/prefix"):
        read_settings(s3_root=root)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "CPU", "cuda:"])
def test_a_device_of_another_form_is_refused(device):
    with pytest.raises(NotConfiguredError, match="device wants auto, cpu, cuda"):
        read_settings(device=device)


STYLING = {
    "engine": ("openvino", "vulkan", "engine wants auto, torch, openvino or onnxruntime, found 'vulkan'"),
    "precision": ("fast", "bf16", "precision wants float32 or fast, found 'bf16'"),
    "memory": ("2GiB", "1MiB", "memory wants at least 64MiB, found '1MiB'"),
}
"""What a setting may be, what it may not, and what is said then."""


@pytest.mark.parametrize("name", STYLING)
def test_how_a_picture_is_styled_comes_from_the_same_places_in_the_same_order(tmp_path, monkeypatch, name):
    from luigi.configuration import get_config

    value, variable = STYLING[name][0], f"PIPELINE_{name.upper()}"
    other = getattr(settings.Settings(s3_root="", local_root=tmp_path, device="cpu"), name)
    monkeypatch.chdir(tmp_path)
    assert getattr(read_settings(), name) == other
    in_cfg = {name: value}
    monkeypatch.setattr(get_config(), "get", lambda _, option, default: in_cfg.get(option, default))
    assert getattr(read_settings(), name) == value
    monkeypatch.setenv(variable, "")  # so that monkeypatch puts the variable back
    monkeypatch.delenv(variable)
    (tmp_path / ".env").write_text(f"{variable}={other}\n")
    assert getattr(read_settings(), name) == other
    monkeypatch.setenv(variable, value)
    assert getattr(read_settings(), name) == value
    assert getattr(read_settings(**{name: other}), name) == other


@pytest.mark.parametrize(("name", "value", "said"), [(name, *wrong) for name, (_, *wrong) in STYLING.items()])
def test_a_wrong_value_is_one_sentence_that_says_where_it_stands(tmp_path, monkeypatch, name, value, said):
    from luigi.configuration import get_config

    places = {}
    with pytest.raises(NotConfiguredError) as of_option:
        read_settings(**{name: value})
    places[f"--{name}"] = of_option
    monkeypatch.setattr(get_config(), "get", lambda _, option, default: {name: value}.get(option, default))
    with pytest.raises(NotConfiguredError) as of_cfg:
        read_settings(dotenv=False)
    places[f"{name} in luigi.cfg's section [pipeline]"] = of_cfg
    monkeypatch.setenv(f"PIPELINE_{name.upper()}", value)
    with pytest.raises(NotConfiguredError) as of_environment:
        read_settings(dotenv=False)
    places[f"PIPELINE_{name.upper()}"] = of_environment
    assert [str(error.value) for error in places.values()] == [f"{said}; correct {place}" for place in places]
    with pytest.raises(NotConfiguredError, match=re.escape(said)):
        settings.Settings(s3_root="", local_root=tmp_path, device="cpu", **{name: value})


@pytest.mark.parametrize(("text", "memory_bytes"), [("auto", None), ("1.5GiB", 1_610_612_736)])
def test_memory_is_a_number_of_bytes_or_left_to_the_program(text, memory_bytes):
    assert read_settings(memory=text).memory_bytes == memory_bytes


def test_settings_in_use_end_with_their_block():
    first = read_settings(s3_root="s3://one/p")
    with settings.use(first):
        assert settings.current() is first
    with settings.use(read_settings(s3_root="s3://two/p")):
        assert settings.current().s3_root == "s3://two/p"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("1", True),
        ("yes", True),
        ("True", True),
        ("on", True),
        ("0", False),
        ("no", False),
        ("off", False),
        ("", False),
    ],
)
def test_offline_takes_the_usual_words(monkeypatch, value, found):
    monkeypatch.setenv("PIPELINE_OFFLINE", value)
    assert read_settings(dotenv=False).offline is found
    assert read_settings(dotenv=False, offline=not found).offline is not found


def test_another_word_for_offline_is_refused(monkeypatch):
    monkeypatch.setenv("PIPELINE_OFFLINE", "perhaps")
    with pytest.raises(NotConfiguredError, match="offline wants yes or no, found 'perhaps'; correct PIPELINE_OFFLINE"):
        read_settings(dotenv=False)


@pytest.fixture
def _limits_end_with_the_test():
    yield
    s3.use_limits(S3Limits())
    s3.use_addressing_style(None)


LIMITS = {field.name: get_type_hints(S3Limits)[field.name] for field in fields(S3Limits)}


def another_value(name):
    """A value that the limit does not have by default, and that goes with the other defaults."""
    return LIMITS[name](getattr(S3Limits(), name) * 2)


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_of_the_store_is_a_setting(monkeypatch, name):
    value = another_value(name)
    monkeypatch.setenv(f"PIPELINE_S3_{name.upper()}", str(value))
    assert read_settings(dotenv=False).s3_limits == S3Limits(**{name: value})


def test_every_setting_is_in_the_readme():
    text = (REPO / "README.md").read_text()
    names = [
        *(field.name for field in fields(settings.Settings) if field.name != "s3_limits"),
        *(f"s3_{n}" for n in LIMITS),
    ]
    assert [name for name in names if f"`PIPELINE_{name.upper()}`" not in text] == []


def test_a_limit_comes_from_luigi_cfg_dotenv_environment_and_caller_in_that_order(tmp_path, monkeypatch):
    from luigi.configuration import get_config

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_S3_BODY_ATTEMPTS", "")  # so that monkeypatch puts the variable back
    monkeypatch.delenv("PIPELINE_S3_BODY_ATTEMPTS")
    monkeypatch.setattr(get_config(), "get", lambda _, option, default: {"s3_body_attempts": "2"}.get(option, default))
    assert read_settings().s3_limits == S3Limits(body_attempts=2)
    (tmp_path / ".env").write_text("PIPELINE_S3_BODY_ATTEMPTS=3\n")
    assert read_settings().s3_limits == S3Limits(body_attempts=3)
    monkeypatch.setenv("PIPELINE_S3_BODY_ATTEMPTS", "4")
    assert read_settings().s3_limits == S3Limits(body_attempts=4)
    assert read_settings(s3_limits=S3Limits(body_attempts=6)).s3_limits == S3Limits(body_attempts=6)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("body_attempts", "many", "s3_body_attempts wants a whole number, found 'many'"),
        ("body_attempts", "2.5", "s3_body_attempts wants a whole number, found '2.5'"),
        ("body_attempts", "0", "s3_body_attempts wants a positive number, found 0"),
        ("part_bytes", "5242879", "s3_part_bytes wants 5242880 or more, as S3 does, found 5242879"),
        ("read_timeout_s", "20 s", "s3_read_timeout_s wants a number, found '20 s'"),
        ("read_timeout_s", "-1", "s3_read_timeout_s wants a positive number, found -1.0"),
        ("read_timeout_s", "inf", "s3_read_timeout_s wants a number, found 'inf'"),
        ("read_timeout_s", "nan", "s3_read_timeout_s wants a number, found 'nan'"),
        ("addressing_style", "dns", "s3_addressing_style wants auto, path or virtual, found 'dns'"),
    ],
)
def test_a_value_that_is_none_is_one_sentence_and_status_2(monkeypatch, capsys, name, value, said):
    variable = f"PIPELINE_S3_{name.upper()}"
    monkeypatch.setenv(variable, value)
    assert exit_status(["--s3-root", "s3://bucket/p", "-i", "a.jpg", "-m", "m"]) == 2
    assert capsys.readouterr().err == f"style-pipeline: error: {said}; correct {variable}\n"


def test_a_wrong_value_of_luigi_cfg_is_looked_for_there(monkeypatch):
    from luigi.configuration import get_config

    monkeypatch.setattr(get_config(), "get", lambda _, option, default: {"s3_body_attempts": "0"}.get(option, default))
    with pytest.raises(NotConfiguredError, match=r"found 0; correct s3_body_attempts in luigi\.cfg's section \[pipe"):
        read_settings(dotenv=False)


@pytest.mark.usefixtures("_limits_end_with_the_test")
def test_the_first_look_at_the_settings_puts_the_limits_in_force(monkeypatch):
    monkeypatch.setenv("PIPELINE_S3_READ_TIMEOUT_S", "2.5")
    monkeypatch.setenv("PIPELINE_S3_ADDRESSING_STYLE", "Path")
    settings.current()
    assert s3.client().meta.config.read_timeout == 2.5
    assert s3.client().meta.config.s3["addressing_style"] == "path"


def test_limits_end_with_the_block_that_uses_them():
    with settings.use(read_settings(s3_root="s3://one/p", s3_limits=S3Limits(max_attempts=2))):
        assert s3.limits() == S3Limits(max_attempts=2)
    assert s3.limits() == S3Limits()


def test_settings_that_change_no_limit_keep_the_client():
    before = s3.client()
    with settings.use(read_settings(s3_root="s3://one/p")):
        assert s3.client() is before


FORK = """
import os
from csci_utils import s3
from pipeline import settings
settings.current()
if os.fork() == 0:
    config = s3.client().meta.config
    print(config.connect_timeout, config.s3, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.slow
def test_a_forked_process_has_the_limits_of_its_parent(monkeypatch):
    monkeypatch.setenv("PIPELINE_S3_CONNECT_TIMEOUT_S", "1.5")
    monkeypatch.setenv("PIPELINE_S3_ADDRESSING_STYLE", "virtual")
    done = subprocess.run([sys.executable, "-c", FORK], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1.5 {'addressing_style': 'virtual'}\n", done.stderr


@pytest.mark.slow
def test_the_luigi_command_keeps_to_the_limits(tmp_path, monkeypatch):
    """Where nothing listens, with one try allowed."""
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(REPO / "luigi.cfg"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("PIPELINE_S3_ROOT", "s3://bucket/p")
    monkeypatch.setenv("PIPELINE_S3_CONNECT_ATTEMPTS", "1")
    command = [sys.executable, "-m", "luigi", "--module", "pipeline.tasks", "ContentImage", "--local-scheduler"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 35, done.stderr
    assert "cannot connect to http://127.0.0.1:9" in done.stderr
    assert "try 2" not in done.stderr
