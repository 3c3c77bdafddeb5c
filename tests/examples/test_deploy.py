"""The container files: what linters say of them, and that they fit the server. No image is built: that needs a daemon."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import ENVIRONMENT_PREFIX, Settings, misspelt_variables

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "compose.yaml"
KUBERNETES = ROOT / "examples" / "deploy" / "kubernetes.yaml"
USER = 5000


def run(*command: str) -> str:
    tool = shutil.which(command[0], path=Path(sys.executable).parent)
    assert tool is not None, f"{command[0]} is not installed"
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def composed() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["graph-runtime"]
    return service


def pod() -> dict[str, Any]:
    documents = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}
    found: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]
    return found


def docker_lines(instruction: str) -> list[str]:
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    return [line.removeprefix(instruction).strip() for line in text.splitlines() if line.startswith(f"{instruction} ")]


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    yield "Dockerfile", dict(each.split("=", 1) for line in docker_lines("ENV") for each in line.split())
    yield "compose.yaml", {name: str(value) for name, value in composed()["environment"].items()}
    yield "kubernetes.yaml", {each["name"]: each["value"] for each in pod()["containers"][0]["env"]}


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run("hadolint", str(DOCKERFILE))


def test_the_kubernetes_objects_are_valid_to_the_letter() -> None:
    run("kubernetes-validate", "--strict", str(KUBERNETES))


@pytest.mark.parametrize(("file", "environment"), list(environments()))
def test_every_variable_is_a_setting_with_a_value_that_can_be_used(file: str, environment: dict[str, str]) -> None:
    assert misspelt_variables(environment) == []
    ours = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower() for name in environment if name.startswith(ENVIRONMENT_PREFIX)
    }
    settings = Settings.resolve({}, environment)
    assert ours <= set(Settings.__slots__)
    changed = {name for name in ours if getattr(settings, name) != getattr(Settings(), name)}
    assert changed == ours, "a variable that says what is so anyway"


def test_the_time_to_end_is_longer_than_the_server_may_take() -> None:
    def longest_s(environment: dict[str, str]) -> float:
        settings = Settings.resolve({}, environment)
        return settings.drain_delay_s + settings.shutdown_grace_s + 2 * settings.cancel_grace_s

    found = dict(environments())
    assert pod()["terminationGracePeriodSeconds"] > longest_s(found["kubernetes.yaml"])
    assert composed()["stop_grace_period"] == "2m"
    assert longest_s(found["compose.yaml"]) < 120


def test_nobody_is_root_and_nothing_can_be_written_but_what_is_mounted() -> None:
    assert docker_lines("USER") == [f"{USER}:{USER}"]
    service = composed()
    assert (service["user"], service["read_only"], service["cap_drop"]) == (f"{USER}:{USER}", True, ["ALL"])
    security = pod()["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert (pod()["securityContext"]["runAsNonRoot"], pod()["securityContext"]["runAsUser"]) == (True, USER)


def test_whoever_runs_the_image_can_write_to_a_new_cache_volume() -> None:
    """A volume takes owner and mode from the folder of the image; without one it is root's."""
    folder = dict(environments())["compose.yaml"]["GRAPH_RUNTIME_CACHE_DIR"]
    assert f"cache:{folder}" in composed()["volumes"]
    assert f"mkdir -m 1777 {folder}" in docker_lines("RUN")


def test_probes_ask_for_paths_and_ports_that_the_server_has() -> None:
    container = pod()["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {name: probe["path"].rpartition("/")[2] for name, probe in probes.items()} == {
        "startupProbe": "live", "livenessProbe": "live", "readinessProbe": "ready",
    }  # fmt: skip
    urls = re.findall(r"http://127\.0\.0\.1:(\d+)(/[a-z0-9/]+)", DOCKERFILE.read_text() + COMPOSE.read_text())
    assert urls == [("8000", "/v2/health/live"), ("8000", "/v2/health/ready")]
    settings = Settings.resolve({}, dict(environments())["Dockerfile"])
    assert ports == {"http": settings.rest_port, "grpc": settings.grpc_port}
    assert docker_lines("EXPOSE") == ["8000 9000"] == [" ".join(map(str, ports.values()))]
    assert [each.rpartition(":")[2] for each in composed()["ports"]] == ["8000", "9000"]


def test_commands_are_given_as_lists_so_that_signals_reach_the_server() -> None:
    (entry,) = docker_lines("ENTRYPOINT")
    assert json.loads(entry) == ["graph-runtime", "serve"]
    (health,) = docker_lines("HEALTHCHECK")
    assert json.loads(health.partition("CMD ")[2])[:2] == ["python", "-c"]
