"""A short play of the clients that draw, edit, stream and leave at random."""

from __future__ import annotations

import pytest

from tests.load.__main__ import main

pytestmark = pytest.mark.model


def test_every_client_gets_its_pictures_and_memory_stays_flat() -> None:
    assert main(["--clients", "3", "--requests", "6"]) == 0
