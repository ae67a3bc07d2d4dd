"""Secrets: where they come from, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.secrets import Keyring, Secret
from datakit_core.errors import ConfigError


def written(path: Path, value: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(value)
    path.chmod(mode)
    return path


def test_a_file_is_read_without_its_last_newline(tmp_path: Path) -> None:
    path = written(tmp_path / "token", b"12345678\n")
    keyring = Keyring.load({"TOKEN": Secret.file(path)})
    assert keyring.environment([("GH_TOKEN", "TOKEN")]) == {"GH_TOKEN": "12345678"}


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY", "a password")
    keyring = Keyring.load({"KEY": Secret.env("DEPLOY")})
    assert keyring.environment([("KEY", "KEY")]) == {"KEY": "a password"}
    assert keyring.redaction.text("it is a password!") == "it is ***!"


def test_one_that_is_not_there_fails_only_who_asks_for_it(tmp_path: Path) -> None:
    keyring = Keyring.load({"A": Secret.file(tmp_path / "none"), "B": Secret.env("NOT_SET_AT_ALL")})
    assert keyring.environment([]) == {}
    with pytest.raises(ConfigError, match=r"secret A: .*none is not there"):
        keyring.environment([("A", "A")])
    with pytest.raises(ConfigError, match=r"secret B: .* NOT_SET_AT_ALL is not there"):
        keyring.environment([("B", "B")])
    with pytest.raises(ConfigError, match="secret C: not declared"):
        keyring.environment([("C", "C")])


@pytest.mark.parametrize("value", [b"", b"1234567", b"1234567\n", b"12345678\0", b"x" * 65537])
def test_what_cannot_be_redacted_or_given_is_refused(tmp_path: Path, value: bytes) -> None:
    path = written(tmp_path / "token", value)
    with pytest.raises(ConfigError, match="secret TOKEN: it is"):
        Keyring.load({"TOKEN": Secret.file(path)})


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "token", b"12345678", 0o640)
    with pytest.raises(ConfigError, match=r"secret TOKEN: others can read it; run: chmod 600"):
        Keyring.load({"TOKEN": Secret.file(path)})


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Keyring.load({"TOKEN": Secret.file(tmp_path)})


def test_values_are_in_no_representation(tmp_path: Path) -> None:
    path = written(tmp_path / "token", b"12345678")
    assert "12345678" not in repr(Keyring.load({"TOKEN": Secret.file(path)}))
