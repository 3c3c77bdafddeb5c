"""TLS by certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path

from server.settings import Settings, SettingsError


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the settings say of TLS; None for a server without.

    Raises:
        SettingsError: a file cannot be read, or is not what it should be; the text names it.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    for path in (settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file):
        if path is not None:
            _readable(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{settings.tls_certificate_file} and {settings.tls_key_file} are no certificate and its private key, as PEM and "
            f"without a password: {_reason(error)}"
        ) from None
    if settings.tls_client_ca_file is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca_file)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{settings.tls_client_ca_file} has no certificates as PEM: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    raise ValueError("the private key has a password")  # OpenSSL would ask the terminal


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
