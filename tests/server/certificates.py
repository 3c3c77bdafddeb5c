"""Certificates for tests of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Certificates:
    """A certificate authority, and the files of a server and of a client."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.authority_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.authority_file)
        self.server_file, self.server_key = folder / "server.pem", folder / "server.key"
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(self.server_key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.server_file, append=True)
        self.client = self.authority.issue_cert("client@example.com")

    def context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """What a client trusts, and shows."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if with_certificate:
            self.client.configure_cert(context)
        return context
