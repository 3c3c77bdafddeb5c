"""``graph-runtime serve`` as a process, with calculators that tests can hold on to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# The process needs a calculator that this test can hold on to; it is registered as an embedding program would do it.
PROGRAM = '''
import sys, threading, time
from graph_runtime import Calculator, register_calculator
from calculators import HttpPayload

class _Http(Calculator):
    @classmethod
    def get_contract(cls, cc):
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set(HttpPayload)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set(str)

@register_calculator
class Echo(_Http):
    def process(self, cc):
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add('{"echo":true}')

@register_calculator
class Wait(_Http):
    def process(self, cc):
        gone = threading.Event()
        cc.on_cancel(gone.set)
        print("waiting", flush=True)
        gone.wait()
        print("cancelled", flush=True)

@register_calculator
class Deaf(_Http):
    def process(self, cc):
        print("waiting", flush=True)
        threading.Event().wait()

@register_calculator
class Hold(_Http):
    """Works until the test writes a line to the standard input of the process."""
    def process(self, cc):
        print("holding", flush=True)
        released.wait()
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add('{"held":true}')

@register_calculator
class Nap(_Http):
    """Works for a moment."""
    def process(self, cc):
        time.sleep(0.005)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add('{"napped":true}')

released = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), released.set()), daemon=True).start()

from server.cli import main
sys.exit(main(sys.argv[1:]))
'''


class Server:
    """A server process with its standard output as lines."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAPH_RUNTIME_")}
        self._stderr = cwd / "stderr"
        with self._stderr.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "serve", "--rest_port", "0", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=cwd,
                env=environment,
            )
        self.url = ""

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def first_lines(self) -> list[str]:
        """The lines up to the curl line."""
        lines = [self.line(), self.line(), self.line()]
        self.url = lines[0].split()[3]
        return lines

    def release(self) -> None:
        """Let calculators go that hold."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill it, if it is still there."""
        with self.process:
            self.process.kill()

    def errors(self) -> str:
        return self._stderr.read_text()

    def post(self, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}/v3/call", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


class Asker(threading.Thread):
    """A client that asks on a thread of its own."""

    def __init__(self, server: Server, body: dict[str, Any]) -> None:
        super().__init__()
        self._server = server
        self._body = body
        self._status = 200
        self.start()

    def run(self) -> None:
        try:
            self._server.post(self._body)
        except urllib.error.HTTPError as error:
            self._status = error.code
            error.close()
        except ConnectionError:
            self._status = 0

    def status(self) -> int:
        """The status of the answer; 0 if the connection broke."""
        self.join(30)
        assert not self.is_alive(), "there was no answer"
        return self._status
