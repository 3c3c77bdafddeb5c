"""What commands tell the person at the terminal."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(command: str, text: str) -> None:
    """A line on standard error, with the command that it comes from."""
    sys.stderr.write(f"graph-runtime {command}: {text}\n")
    sys.stderr.flush()
