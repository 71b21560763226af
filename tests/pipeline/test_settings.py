from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.errors import NotConfiguredError
from pipeline.settings import read_settings


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
    with pytest.raises(NotConfiguredError, match="offline wants yes or no, found 'perhaps'; set PIPELINE_OFFLINE"):
        read_settings(dotenv=False)
