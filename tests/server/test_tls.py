"""TLS by certificate files: a server that speaks https, and files that are none."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.cli import main

if TYPE_CHECKING:
    from tests.server.certificates import Certificates
    from tests.server.conftest import Models, StartServer


def get(url: str, context: ssl.SSLContext) -> object:
    with urllib.request.urlopen(url, timeout=30, context=context) as response:
        return json.load(response)


def test_a_server_with_certificate_files_speaks_https_and_says_so(
    start_server: StartServer, models: Models, certificates: Certificates
) -> None:
    models.add("echo", "Echo")
    flags = ["--tls_certificate_file", str(certificates.server_file), "--tls_key_file", str(certificates.server_key)]
    server = start_server("--models", str(models.folder), *flags)
    _, _, third = server.first_lines()
    assert server.url.startswith("https://127.0.0.1:")
    assert server.url in third
    assert get(f"{server.url}/v2/health/live", certificates.context()) == {"live": True}
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{server.url}/v2/health/live", ssl.create_default_context())


def test_a_server_with_a_client_authority_lets_only_its_clients_in(
    start_server: StartServer, models: Models, certificates: Certificates
) -> None:
    models.add("echo", "Echo")
    server = start_server(
        "--models", str(models.folder),
        "--tls_certificate_file", str(certificates.server_file),
        "--tls_key_file", str(certificates.server_key),
        "--tls_client_ca_file", str(certificates.authority_file),
    )  # fmt: skip
    server.first_lines()
    assert get(f"{server.url}/v2/health/live", certificates.context(with_certificate=True)) == {"live": True}
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        get(f"{server.url}/v2/health/live", certificates.context())


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"tls_certificate_file": "none.pem"}, "none.pem cannot be read: No such file or directory"),
        ({"tls_key_file": "none.pem"}, "none.pem cannot be read: No such file or directory"),
        ({"tls_certificate_file": "text"}, "are no certificate and its private key"),
        ({"tls_key_file": "text"}, "are no certificate and its private key"),
        ({"tls_key_file": "other.key"}, "KEY_VALUES_MISMATCH"),
        ({"tls_client_ca_file": "text"}, "has no certificates as PEM"),
        ({"tls_key_file": None}, "--tls_certificate_file and --tls_key_file go together"),
        (
            {"tls_certificate_file": None, "tls_key_file": None, "tls_client_ca_file": "ca.pem"},
            "--tls_client_ca_file needs --tls_certificate_file",
        ),
    ],
)
def test_files_that_cannot_be_used_are_told_before_anything_starts(
    models: Models,
    certificates: Certificates,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str | None],
    problem: str,
) -> None:
    (tmp_path / "text").write_text("no certificate")
    certificates.authority.issue_cert("other.example").private_key_pem.write_to_path(tmp_path / "other.key")
    files = {"tls_certificate_file": "server.pem", "tls_key_file": "server.key"} | changed
    flags = [f"--{flag}={tmp_path / name}" for flag, name in files.items() if name is not None]
    assert main(["serve", "--models", str(models.folder), "--rest_port", "0", *flags]) == 2
    assert problem in capsys.readouterr().err


def test_a_key_with_a_password_is_told_and_nobody_is_asked_for_it(
    models: Models, certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.server_key.read_bytes(), password=None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    flags = [f"--tls_certificate_file={certificates.server_file}", f"--tls_key_file={locked}"]
    assert main(["serve", "--models", str(models.folder), "--rest_port", "0", *flags]) == 2
    assert "the private key has a password" in capsys.readouterr().err
