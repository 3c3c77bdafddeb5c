"""ValidatedGraphConfig: what it says about a graph, and the type names of streams and side packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_runtime import CalculatorGraph, GraphError, StatusCode, ValidatedGraphConfig, parse_graph_config

PASS = 'input_stream: "in" node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }'


def validated(text: str) -> ValidatedGraphConfig:
    config = ValidatedGraphConfig()
    config.initialize(graph_config=text)
    return config


def test_a_graph_is_given_once() -> None:
    config = ValidatedGraphConfig()
    assert not config.initialized()
    config.initialize(graph_config=PASS)
    assert config.initialized()
    with pytest.raises(RuntimeError, match=r"^ValidatedGraphConfig can be initialized only once\.$"):
        config.initialize(graph_config=PASS)


def test_the_validated_graph_has_a_default_executor() -> None:
    config = validated(PASS)
    assert config.text_config == CalculatorGraph(graph_config=PASS).text_config
    assert "executor {\n}" in config.text_config
    assert parse_graph_config(config.binary_config) == parse_graph_config(config.text_config)


def test_all_ways_to_give_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "g.binarypb"
    path.write_bytes(validated(PASS).binary_config)
    for source in (
        {"binary_graph_path": str(path)},
        {"graph_config": parse_graph_config(PASS)},
        {"validated_graph_config": validated(PASS)},
    ):
        config = ValidatedGraphConfig()
        config.initialize(**source)
        assert config.text_config == validated(PASS).text_config
        assert CalculatorGraph(**source).text_config == config.text_config


def test_ways_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Please provide one of the following: binary_graph_path, .*config\.$"):
        CalculatorGraph()
    with pytest.raises(ValueError, match=r"^Please provide one of the following: .*, not several\.$"):
        CalculatorGraph(graph_config=PASS, binary_graph_path="g.binarypb")
    with pytest.raises(RuntimeError, match="^Unknown kwargs input argument: foo$"):
        CalculatorGraph(foo=1)
    with pytest.raises(FileNotFoundError, match="^The path does not exist: .*nowhere$"):
        CalculatorGraph(binary_graph_path=tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="^Error while reading file: "):
        CalculatorGraph(binary_graph_path=tmp_path)
    with pytest.raises(TypeError, match="takes a Plan, or keywords such as graph_config=..., not str"):
        CalculatorGraph(PASS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a ValidatedGraphConfig is needed, not int"):
        CalculatorGraph(validated_graph_config=5)  # type: ignore[arg-type]


OPTIONS = "options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { int64_value: 1 } } }"
GRAPH = f"""{PASS}
    input_stream: "v" input_stream: "a"
    node {{ calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:i" {OPTIONS} }}
    node {{ calculator: "StringToIntCalculator" input_side_packet: "s" output_side_packet: "n" }}
    node {{ calculator: "PacketPresenceCalculator" input_stream: "PACKET:in" output_stream: "PRESENCE:p" }}
    node {{ calculator: "ConcatenateFloatVectorCalculator" input_stream: "a" output_stream: "fs" }}
    node {{ calculator: "BeginLoopIntCalculator" input_stream: "ITERABLE:v"
            output_stream: "ITEM:item" output_stream: "BATCH_END:end" }}
    node {{ calculator: "PassThroughCalculator" input_side_packet: "any" output_side_packet: "same" }}
"""


def test_type_names() -> None:
    config = validated(GRAPH)
    names = {name: config.registered_stream_type_name(name) for name in ("p", "fs", "v", "item", "end", "a")}
    assert names == {
        "p": "bool", "fs": "::std::vector<float>", "v": "::std::vector<int>", "item": "int", "end": "::mediapipe::Timestamp",
        "a": "OneOf<float, ::std::vector<float>>",
    }  # fmt: skip
    side = {name: config.registered_side_packet_type_name(name) for name in ("i", "s", "n")}
    assert side == {"i": "int64_t", "s": "string", "n": "int"}


def test_types_that_are_not_known() -> None:
    config = validated(GRAPH)
    for name in ("in", "out"):
        with pytest.raises(
            RuntimeError, match=f'^Unable to find the type for stream "{name}".  It may be set to AnyType'
        ):
            config.registered_stream_type_name(name)
    for name in ("any", "same"):
        with pytest.raises(RuntimeError, match=f'^Unable to find the type for side packet "{name}".  It may be set'):
            config.registered_side_packet_type_name(name)
    with pytest.raises(ValueError, match='^Stream "zz" is not defined in the config.$'):
        config.registered_stream_type_name("zz")
    with pytest.raises(ValueError, match='^Side packet "zz" is not defined in the config.$') as info:
        config.registered_side_packet_type_name("zz")
    assert isinstance(info.value, GraphError)
    assert info.value.code == StatusCode.INVALID_ARGUMENT


def test_options_that_cannot_be_read_are_shown_as_they_are() -> None:
    text = """input_stream: "a" node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b"
        node_options { type_url: "type.googleapis.com/mediapipe.GateCalculatorOptions" value: "\\377" } }"""
    assert 'value: "\\377"' in validated(text).text_config
