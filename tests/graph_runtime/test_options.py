"""Options of nodes: found in either spelling, returned as the caller's own class, and new kinds made known."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from graph_runtime import _pb
from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.core.immediate_mux_calculator_pb2 import ImmediateMuxCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime._pb.mediapipe.framework.thread_pool_executor_pb2 import ThreadPoolExecutorOptions
from graph_runtime.config import find_options, parse_graph_config, register_options
from graph_runtime.errors import GraphError, InvalidArgumentError, StatusCode

GATE = "[type.googleapis.com/mediapipe.GateCalculatorOptions]"


def node(options: str) -> CalculatorGraphConfig.Node:
    return parse_graph_config(f"node {{ {options} }}").node[0]


def foreign_file(name: str, package: str, number: int) -> FileDescriptorProto:
    """A user's options file: package.Paint { optional string color = 1; extends CalculatorOptions as ext }."""
    file = FileDescriptorProto(name=name, package=package, dependency=["mediapipe/framework/calculator_options.proto"])
    message = file.message_type.add(name="Paint")
    message.field.add(
        name="color", number=1, label=FieldDescriptorProto.LABEL_REQUIRED, type=FieldDescriptorProto.TYPE_STRING
    )
    message.extension.add(
        name="ext",
        number=number,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=f".{package}.Paint",
        extendee=".mediapipe.CalculatorOptions",
    )
    return file


def foreign_class(file: FileDescriptorProto) -> type[Message]:
    """The class in a pool of the user's own, beside a CalculatorOptions of that pool."""
    pool = descriptor_pool.DescriptorPool()
    carrier = FileDescriptorProto()
    _pb.POOL.FindFileByName("mediapipe/framework/calculator_options.proto").CopyToProto(carrier)
    pool.AddSerializedFile(carrier.SerializeToString())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Paint"))


@pytest.mark.parametrize(
    "options",
    [
        "options { [mediapipe.GateCalculatorOptions.ext] { allow: true } }",
        f"node_options {{ {GATE} {{ allow: true }} }}",
        f"node_options {{ [type.googleapis.com/mediapipe.PacketThinnerCalculatorOptions] {{ }} }} "
        f"node_options {{ {GATE} {{ allow: true }} }}",
    ],
)
def test_options_are_found_in_either_spelling(options: str) -> None:
    found = find_options(node(options), GateCalculatorOptions)
    assert type(found) is GateCalculatorOptions
    assert found.allow


def test_the_extension_wins_over_the_any() -> None:
    both = f"node_options {{ {GATE} {{ allow: true }} }} options {{ [mediapipe.GateCalculatorOptions.ext] {{ }} }}"
    found = find_options(node(both), GateCalculatorOptions)
    assert found is not None
    assert not found.allow


def test_other_options_are_none() -> None:
    assert find_options(node(""), GateCalculatorOptions) is None
    assert find_options(node(f"options {{ }} node_options {{ {GATE} {{ }} }}"), PacketThinnerCalculatorOptions) is None


def test_a_message_that_is_no_extension_is_found_in_an_any() -> None:
    text = "node_options { [type.googleapis.com/mediapipe.ImmediateMuxCalculatorOptions] { process_timestamp_bounds: true } }"
    found = find_options(node(text), ImmediateMuxCalculatorOptions)
    assert found is not None
    assert found.process_timestamp_bounds


def test_options_of_one_type_twice_are_refused() -> None:
    twice = node(f"node_options {{ {GATE} {{ }} }} node_options {{ {GATE} {{ }} }}")
    with pytest.raises(GraphError) as caught:
        find_options(twice, GateCalculatorOptions)
    assert caught.value.code is StatusCode.INTERNAL
    assert str(caught.value) == (
        "Options type: 'type.googleapis.com/mediapipe.GateCalculatorOptions' specified more than once "
        "for a single calculator node config."
    )
    assert find_options(twice, PacketThinnerCalculatorOptions) is None


def test_bytes_that_are_no_options_are_refused() -> None:
    broken = node("")
    broken.node_options.add(type_url="type.googleapis.com/mediapipe.GateCalculatorOptions", value=b"\xff")
    with pytest.raises(
        InvalidArgumentError, match=r"^the options of type mediapipe.GateCalculatorOptions cannot be read"
    ):
        find_options(broken, GateCalculatorOptions)


def test_graphs_and_executors_carry_options_too() -> None:
    config = parse_graph_config(
        "executor { options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 3 } } }"
        f"graph_options {{ {GATE} {{ allow: true }} }}"
    )
    executor = find_options(config.executor[0], ThreadPoolExecutorOptions)
    graph = find_options(config, GateCalculatorOptions)
    assert executor is not None
    assert executor.num_threads == 3
    assert graph is not None
    assert graph.allow
    assert find_options(config.executor[0], GateCalculatorOptions) is None


@pytest.mark.parametrize(
    "spelling", ["options { [painter.Paint.ext] %s }", "node_options { [type.googleapis.com/painter.Paint] %s }"]
)
def test_a_registered_class_of_another_pool_is_usable_in_text_and_comes_back_as_itself(spelling: str) -> None:
    paint = foreign_class(foreign_file("painter.proto", "painter", 500_000_001))
    ours = register_options(paint)
    assert [cls.DESCRIPTOR.full_name for cls in ours] == ["painter.Paint"]
    painted = node(spelling.replace("%s", '{ color: "red" }'))
    for cls in (paint, ours[0]):
        found = find_options(painted, cls)
        assert type(found) is cls
        assert found == cls(color="red")


def test_required_fields_of_registered_options_are_checked() -> None:
    register_options(foreign_class(foreign_file("painter.proto", "painter", 500_000_001)))
    with pytest.raises(
        GraphError, match=r'^Failed to parse: <string>:1:24: Message "painter.Paint" is missing the req'
    ):
        parse_graph_config("node { node_options {  [type.googleapis.com/painter.Paint] { } } }")


@pytest.mark.parametrize("serialized", [False, True])
def test_a_descriptor_set_can_be_registered(serialized: bool) -> None:
    files = FileDescriptorSet(
        file=[foreign_file(f"set{serialized}.proto", f"set{serialized}", 500_000_002 + serialized)]
    )
    (paint,) = register_options(files.SerializeToString() if serialized else files)
    found = find_options(node(f'options {{ [set{serialized}.Paint.ext] {{ color: "blue" }} }}'), paint)
    assert found == paint(color="blue")


def test_a_descriptor_set_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "set.binpb"
    file.write_bytes(FileDescriptorSet(file=[foreign_file("file.proto", "file", 500_000_004)]).SerializeToString())
    (paint,) = register_options(file)
    assert find_options(node('options { [file.Paint.ext] { color: "blue" } }'), paint) == paint(color="blue")


def test_a_file_of_another_content_under_a_known_name_is_refused() -> None:
    """Such as a second options.proto: it would have been left out without a word."""
    first = foreign_file("twice.proto", "twice", 500_000_005)
    register_options(FileDescriptorSet(file=[first]))
    assert register_options(FileDescriptorSet(file=[first]))
    with pytest.raises(
        InvalidArgumentError, match=r"another file is registered under the name twice\.proto, with other mes"
    ):
        register_options(FileDescriptorSet(file=[foreign_file("twice.proto", "other", 500_000_006)]))


@pytest.mark.parametrize(
    "source",
    [
        b"\xff\xff",
        FileDescriptorSet(file=[FileDescriptorProto(name="lost.proto", dependency=["nowhere.proto"])]),
        FileDescriptorSet(file=[foreign_file("clash.proto", "clash", 261754847)]),  # GateCalculatorOptions has it
    ],
)
def test_descriptors_that_do_not_fit_are_refused(source: bytes | FileDescriptorSet) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^these options cannot be registered: "):
        register_options(source)


def test_options_that_nobody_registered_survive_in_binary_form() -> None:
    stranger = foreign_class(foreign_file("stranger.proto", "stranger", 500_000_009))
    unknown = CalculatorGraphConfig.Node()
    unknown.options.ParseFromString(
        bytes.fromhex("cad0acf30e") + b"\x05" + stranger(color="red").SerializePartialToString()
    )
    graph = CalculatorGraphConfig(node=[unknown])
    kept = parse_graph_config(graph.SerializeToString()).node[0]
    found = find_options(kept, stranger)
    assert found == stranger(color="red")
