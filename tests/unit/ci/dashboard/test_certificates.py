"""Certificates that the dashboard makes for itself, and those it is given."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from datakit_ci.dashboard import certificates
from datakit_ci.dashboard.certificates import given_certificate, own_certificate
from datakit_core.errors import ConfigError
from datakit_core.tls import anonymous_context


def names(file: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in found}


def test_one_is_made_for_its_names_and_kept(tmp_path: Path) -> None:
    first = own_certificate(tmp_path / "a", "ci.example.org")
    again = own_certificate(tmp_path / "a", "ci.example.org")
    assert first == again
    assert len(first.fingerprint) == 95
    assert first.cert.stat().st_mode & 0o777 == 0o600
    assert {"ci.example.org", "localhost", "127.0.0.1"} <= names(first.cert)
    anonymous_context(first.cert, first.key)


def test_another_name_needs_another_one(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, "127.0.0.1")
    assert own_certificate(tmp_path, "other.example.org").fingerprint != first.fingerprint
    assert "0.0.0.0" not in names(own_certificate(tmp_path, "0.0.0.0").cert)


def test_one_that_ends_soon_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_GOOD_FOR", timedelta(days=29))
    first = own_certificate(tmp_path, "localhost")
    monkeypatch.undo()
    assert own_certificate(tmp_path, "localhost").fingerprint != first.fingerprint


def test_a_damaged_file_or_one_open_to_others_is_named(tmp_path: Path) -> None:
    own_certificate(tmp_path, "localhost")
    file = tmp_path / "certificate.pem"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        own_certificate(tmp_path, "localhost")
    file.chmod(0o600)
    file.write_text("oops")
    with pytest.raises(ConfigError, match="damaged"):
        own_certificate(tmp_path, "localhost")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    own = own_certificate(tmp_path, "localhost")
    assert given_certificate(own.cert, own.key).fingerprint == ""
    own.key.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        given_certificate(own.cert, own.key)
    with pytest.raises(ConfigError, match="not there"):
        given_certificate(own.cert, tmp_path / "none")
