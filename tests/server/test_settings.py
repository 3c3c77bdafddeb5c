"""Settings: what wins over what, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from server.settings import Settings, SettingsError, misspelt_variables


def test_defaults_are_local_and_on_the_usual_port() -> None:
    settings = Settings.resolve({}, {})
    assert settings == Settings()
    assert (settings.rest_bind_address, settings.rest_port, settings.models) == (("127.0.0.1",), 8000, None)
    assert settings.max_body_bytes == 64 * 1024 * 1024


def test_a_flag_wins_over_its_variable_and_the_variable_over_the_default() -> None:
    environment = {"GRAPH_RUNTIME_REST_PORT": "9001", "GRAPH_RUNTIME_LOG_LEVEL": "debug", "GRAPH_RUNTIME_MODELS": "/m"}
    settings = Settings.resolve({"rest_port": 9002, "log_level": None, "command": "serve"}, environment)
    assert (settings.rest_port, settings.log_level, settings.models) == (9002, "DEBUG", Path("/m"))


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.resolve({}, {"GRAPH_RUNTIME_REST_PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("REST_PORT", "http", "'http' is not a whole number"),
        ("REST_PORT", "70000", "'70000' is not a port; give a number from 0 (any free port) to 65535"),
        ("RUN_THREADS", "0", "'0' is too small; give 1 or more"),
        ("LOAD_WAIT_S", "nan", "'nan' is not a number of seconds; give 0 or more"),
        ("LOAD_WAIT_S", "soon", "'soon' is not a number of seconds; give 0 or more"),
        ("LOG_LEVEL", "loud", "'loud' is not a log level; give one of TRACE, DEBUG, INFO, WARNING, ERROR"),
        (
            "GRPC_CHANNEL_ARGUMENTS",
            "grpc.max_concurrent_streams=16,grpc.keepalive_time_ms",
            "'grpc.keepalive_time_ms' is no NAME=VALUE, such as grpc.max_concurrent_streams=16",
        ),
        (
            "REST_BIND_ADDRESS",
            " ",
            "the address is empty; give one such as 127.0.0.1, or 0.0.0.0 for every network of this machine",
        ),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_the_reason(variable: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.resolve({}, {f"GRAPH_RUNTIME_{variable}": value})
    assert str(caught.value) == f"environment variable GRAPH_RUNTIME_{variable}: {reason}"


def test_a_variable_that_is_nearly_a_setting_is_told() -> None:
    assert misspelt_variables({"GRAPH_RUNTIME_RESTPORT": "1", "GRAPH_RUNTIME_REST_PORT": "1", "PATH": "/bin"}) == [
        "environment variable GRAPH_RUNTIME_RESTPORT is not known and has no effect; did you mean GRAPH_RUNTIME_REST_PORT?"
    ]


def test_what_kubernetes_sets_for_a_service_of_our_name_is_left_alone() -> None:
    environment = {
        "GRAPH_RUNTIME_SERVICE_HOST": "10.0.0.1",
        "GRAPH_RUNTIME_SERVICE_PORT": "80",
        "GRAPH_RUNTIME_PORT": "tcp://10.0.0.1:80",
        "GRAPH_RUNTIME_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert misspelt_variables(environment) == []
    assert Settings.resolve({}, environment) == Settings()


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"ALLOW_CREDENTIALS": "true", "ALLOWED_ORIGINS": "*"},
            "--allow_credentials needs a list of --allowed_origins",
        ),
        ({"TLS_KEY_FILE": "/k"}, "--tls_certificate_file and --tls_key_file go together"),
    ],
)
def test_settings_that_do_not_go_together_are_told(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Settings.resolve({}, {f"GRAPH_RUNTIME_{name}": value for name, value in environment.items()})


def test_settings_can_be_sent_to_another_process() -> None:
    settings = Settings(models=Path("/m"), rest_port=1)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_arguments_of_the_grpc_library_are_numbers_where_they_look_like_it() -> None:
    text = "grpc.max_concurrent_streams=16, grpc.default_compression_algorithm=-1,grpc.name=some=thing"
    assert Settings.resolve({}, {"GRAPH_RUNTIME_GRPC_CHANNEL_ARGUMENTS": text}).grpc_channel_arguments == (
        ("grpc.max_concurrent_streams", 16),
        ("grpc.default_compression_algorithm", -1),
        ("grpc.name", "some=thing"),
    )
