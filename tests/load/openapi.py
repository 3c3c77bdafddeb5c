"""Requests that schemathesis makes of /openapi.json, to a real server: ``python -m tests.load.openapi --seconds 60``.

Every operation gets requests that fit its schema and requests that do not. None may be answered with a 5xx, none may hang, and
answers have to be as the document says. Names of models, and values that a model can take beside some that it cannot, are put in
there: without them nearly all requests would be for models that nobody has. At the end it tells how many pictures were drawn.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from server.discovery import bundled_models_dir

LONGEST_S: Final = 30
"""The most that an answer may take: a hang, else."""
CHECKS: Final = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "ignored_auth",
)  # fmt: skip
"""Not which methods are allowed: POST is a graph call below /v1 and /v3 wherever nothing else takes it."""
IMAGES: Final = """
input_stream: "HTTP_REQUEST_PAYLOAD:input" output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node {{ name: "gen" calculator: "ImageGenCalculator" input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes" output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options {{ [type.googleapis.com / mediapipe.ImageGenCalculatorOptions] {{
    models_path: "{model}" max_resolution: "64x64" max_num_images_per_prompt: 2
    default_num_inference_steps: 1 max_num_inference_steps: 2 }} }} }}
"""
PASS: Final = """
input_stream: "in" output_stream: "out" node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
NAMES: Final = ("shapes", "pass", "nobody")
VALUES: Final[dict[str, list[Any]]] = {
    "size": ["64x64", "32x32", "auto", "65x64", "x"],
    "width": [32, 64, 65],
    "height": [32, 64, 0],
    "n": [1, 2, 3],
    "num_inference_steps": [0, 1, 2, 3],
    "quality": ["auto", "standard", "high"],
    "response_format": ["b64_json", "url"],
    "strength": [1],
}
"""For the fields of images requests, some that the model can take."""
NOT_OF_THIS_MODEL: Final = ("prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3", "num_images_per_prompt")


@contextmanager
def running_server(folder: Path, key: str) -> Iterator[str]:
    """The address of a server with a model that draws fast and a graph that passes on."""
    for name, text in (("shapes", IMAGES.format(model=bundled_models_dir() / "shapes")), ("pass", PASS)):
        (folder / name).mkdir(parents=True)
        (folder / name / "graph.pbtxt").write_text(text)
    command = [sys.executable, "-m", "server.cli", "serve", "--rest_port", "0", "--log_level", "ERROR"]
    with subprocess.Popen(
        [*command, "--models", str(folder)], stdout=subprocess.PIPE, text=True, env={"API_KEY": key}
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[3]
            process.stdout.readline()  # "Ready."
            yield url
            assert process.poll() is None, "the server has ended"
        finally:
            process.terminate()


def narrowed(document: Any) -> Any:
    """The document with the names of models, and with times in which something can be answered."""
    components = document["components"]
    components["parameters"]["model"]["schema"] = {"enum": NAMES}
    components["parameters"]["x-request-timeout-s"]["schema"] = {"type": "number", "minimum": LONGEST_S, "maximum": 600}
    for schema in ("GenerationsRequest", "EditsRequest", "GraphRequest"):
        components["schemas"][schema]["properties"]["model"] = {"enum": NAMES}
    for schema in ("GenerationsRequest", "EditsRequest"):
        fields = components["schemas"][schema]["properties"]
        fields.update((name, {"enum": values}) for name, values in VALUES.items())
        for name in NOT_OF_THIS_MODEL:
            del fields[name]
    return document


def told(url: str, key: str) -> list[str]:
    """What the server counted: pictures, and HTTP answers by their status."""
    asked = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(asked) as answer:
        text = answer.read().decode()
    statuses: Counter[str] = Counter()
    for status, count in re.findall(r'^graph_runtime_http_requests_total\{.*status="(\d+)"\} (\d+)', text, re.M):
        statuses[status] += int(count)
    pictures = re.findall(r"^graph_runtime_images_total\{.*\} \d+", text, re.M)
    return [*pictures, *(f"HTTP {status}: {count}" for status, count in sorted(statuses.items()))]


def main() -> int:
    """Returns schemathesis' exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    wanted, more = parser.parse_known_args()
    key = secrets.token_hex()
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder, "models"), key) as url:
        with urllib.request.urlopen(f"{url}/openapi.json") as answer:
            document = narrowed(json.load(answer))
        schema = Path(folder, "openapi.json")
        schema.write_text(json.dumps(document))
        command = [
            "schemathesis", "run", str(schema), "--url", url, "--header", f"Authorization: Bearer {key}",
            "--checks", ",".join(CHECKS), "--request-timeout", str(LONGEST_S), "--max-time", str(wanted.seconds),
            "--seed", str(wanted.seed), "--phases", "examples,coverage,fuzzing", "--continue-on-failure", *more,
        ]  # fmt: skip
        code = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], cwd=folder).returncode
        print(*told(url, key), sep="\n")
        return code


if __name__ == "__main__":
    sys.exit(main())
