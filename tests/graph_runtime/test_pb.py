"""The messages: their numbers are MediaPipe's, and their pool is nobody else's."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from graph_runtime import _pb
from graph_runtime._pb.google.protobuf.any_pb2 import Any
from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.image_gen import image_gen_calculator_pb2 as image_gen
from graph_runtime._pb.mediapipe.framework import calculator_pb2
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime._pb.mediapipe.framework.stream_handler_pb2 import InputStreamHandlerConfig
from graph_runtime.proto_files import proto_path

CHECKOUT = Path(__file__).resolve().parents[2]
PROTO_FILES = sorted(
    path.relative_to(proto_path()).as_posix() for path in (proto_path() / "mediapipe").rglob("*.proto")
)

# Top-level messages of the wheel that have grown fields or names since, or that the newest MediaPipe renamed.
NEWER_THAN_THE_WHEEL = {"ConstantSidePacketCalculatorOptions", "CalculatorRuntimeInfo", "StreamRuntimeInfo"}

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None, reason="the mediapipe wheel is not installed here"
)


def messages() -> dict[str, Descriptor]:
    """Every message of ours by its name without the package, nested ones included."""
    found: dict[str, Descriptor] = {}

    def walk(descriptor: Descriptor) -> None:
        found[descriptor.full_name.removeprefix("mediapipe.")] = descriptor
        for nested in descriptor.nested_types:
            walk(nested)

    for name in PROTO_FILES:
        for descriptor in _pb.POOL.FindFileByName(name).message_types_by_name.values():
            walk(descriptor)
    return found


def numbers(descriptor: Descriptor) -> str:
    """A message as one line of field_numbers.txt."""
    extensions = [
        f"[{extension.number} {extension.containing_type.name}]"
        for extension in descriptor.extensions
        if extension.containing_type is not None
    ]
    fields = [f"{field.name}={field.number}" for field in sorted(descriptor.fields, key=lambda field: field.number)]
    return " ".join([descriptor.full_name.removeprefix("mediapipe."), *extensions, *fields])


def python(code: str, **environment: str) -> str:
    """Run code in a process of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_field_and_extension_has_its_upstream_number() -> None:
    expected = Path(__file__).with_name("field_numbers.txt").read_text().splitlines()
    assert sorted(numbers(descriptor) for descriptor in messages().values()) == sorted(expected)


def test_three_files_are_proto3_and_all_others_proto2() -> None:
    proto3 = set()
    for name in PROTO_FILES:
        file = FileDescriptorProto()
        _pb.POOL.FindFileByName(name).CopyToProto(file)
        assert file.package == "mediapipe"
        if file.syntax == "proto3":
            proto3.add(name)
    assert proto3 == {
        "mediapipe/framework/calculator.proto",
        "mediapipe/framework/graph_runtime_info.proto",
        "mediapipe/calculators/core/immediate_mux_calculator.proto",
    }


def test_options_start_with_the_defaults_of_the_reference() -> None:
    options = image_gen.ImageGenCalculatorOptions()
    assert (options.device, options.plugin_config, options.default_resolution) == ("", "", "")
    assert options.max_resolution == "4096x4096"
    assert options.max_num_images_per_prompt == 10
    assert options.default_num_inference_steps == 50
    assert options.max_num_inference_steps == 100
    assert image_gen.LoraAdapterEntry().alpha == image_gen.CompositeLoraComponent().alpha == 1.0
    assert GateCalculatorOptions().initial_gate_state == GateCalculatorOptions.GATE_UNINITIALIZED == 1
    assert PacketThinnerCalculatorOptions().thinner_type == PacketThinnerCalculatorOptions.ASYNC == 1
    assert InputStreamHandlerConfig().input_stream_handler == "DefaultInputStreamHandler"


def test_committed_descriptors_are_what_the_sources_say() -> None:
    pytest.importorskip("grpc_tools")
    script = CHECKOUT / "proto" / "build.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_file_has_a_module_with_its_messages() -> None:
    for name in PROTO_FILES:
        module = importlib.import_module("graph_runtime._pb." + name.removesuffix(".proto").replace("/", ".") + "_pb2")
        for message in module.DESCRIPTOR.message_types_by_name:
            assert getattr(module, message).DESCRIPTOR.name == message


def test_modules_hold_enums_and_what_they_import_publicly() -> None:
    assert image_gen.LoraLoadMode.Name(image_gen.STATIC) == "STATIC"
    assert calculator_pb2.CalculatorOptions is CalculatorOptions
    assert CalculatorGraphConfig.Node(name="n").name == "n"


def test_any_packs_and_unpacks_messages_of_the_private_pool() -> None:
    node = CalculatorGraphConfig.Node()
    node.node_options.add().Pack(GateCalculatorOptions(allow=True))
    assert isinstance(node.node_options[0], Any)
    unpacked = GateCalculatorOptions()
    assert node.node_options[0].Unpack(unpacked)
    assert unpacked.allow


@pytest.mark.parametrize(
    "message",
    [
        CalculatorGraphConfig(node=[CalculatorGraphConfig.Node(name="a")]),
        CalculatorGraphConfig.Node(name="a"),
        image_gen.ImageGenCalculatorOptions(device="CPU"),  # lacks a required field
    ],
)
def test_messages_pickle_and_copy_as_themselves(message: CalculatorGraphConfig) -> None:
    for twin in (pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)):
        assert type(twin) is type(message)
        assert twin == message
        assert twin is not message


def test_the_pool_without_required_fields_is_the_same_but_for_them() -> None:
    pool = _pb.pool_without_required()
    relaxed = _pb.message_class("mediapipe.ImageGenCalculatorOptions", pool)
    assert numbers(pool.FindMessageTypeByName("mediapipe.ImageGenCalculatorOptions")) == numbers(
        image_gen.ImageGenCalculatorOptions.DESCRIPTOR
    )
    assert relaxed().IsInitialized()
    assert not image_gen.ImageGenCalculatorOptions().IsInitialized()
    assert _pb.pool_without_required() is pool


def test_a_file_that_does_not_fit_is_refused() -> None:
    clash = FileDescriptorProto(name="thief.proto", package="mediapipe")
    clash.message_type.add(name="CalculatorGraphConfig")
    with pytest.raises(TypeError):
        _pb.add_files(FileDescriptorSet(file=[clash]))


def test_proto_path_holds_the_sources() -> None:
    assert (proto_path() / "mediapipe/calculators/image_gen/image_gen_calculator.proto").is_file()
    assert len(PROTO_FILES) == 49


def test_the_default_pool_stays_empty() -> None:
    code = (
        "from google.protobuf import descriptor_pool\n"
        "from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions\n"
        "try:\n"
        "    descriptor_pool.Default().FindMessageTypeByName(GateCalculatorOptions.DESCRIPTOR.full_name)\n"
        "except KeyError:\n"
        "    print('empty')"
    )
    assert python(code) == "empty"


def test_it_works_with_protobuf_in_pure_python() -> None:
    code = (
        "from graph_runtime.config import read_graph, to_text, find_options\n"
        "from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions as G\n"
        "from google.protobuf.internal import api_implementation\n"
        "text = 'node { calculator: \"C\" node_options { [type.googleapis.com/mediapipe.GateCalculatorOptions] '\n"
        "text += '{ allow: true } } options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 1 } } }'\n"
        "source = read_graph(text, keep_problems=True)\n"
        "print(api_implementation.Type(), len(source.problems), find_options(source.config.node[0], G).allow)"
    )
    assert python(code, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python") == "python 1 True"


@needs_wheel
@pytest.mark.parametrize("order", ["wheel first", "wheel last"])
def test_it_shares_a_process_with_the_mediapipe_wheel(order: str) -> None:
    imports = [
        "from mediapipe.framework import calculator_pb2 as wheel",
        "from graph_runtime.config import read_graph, to_text",
    ]
    code = "\n".join([
        *(imports if order == "wheel first" else reversed(imports)),
        "from mediapipe.calculators.core import gate_calculator_pb2",
        "from mediapipe.python._framework_bindings import calculator_graph",
        "from google.protobuf import text_format",
        "text = 'input_stream: \"i\" node { calculator: \"GateCalculator\" input_stream: \"i\" output_stream: \"o\" '",
        "text += 'options { [mediapipe.GateCalculatorOptions.ext] { allow: true } } }'",
        "theirs = text_format.Parse(text, wheel.CalculatorGraphConfig())",
        "ours = read_graph(theirs)",
        "assert type(ours.config) is not type(theirs)",
        "assert to_text(ours.config) == to_text(read_graph(text).config)",
        "calculator_graph.CalculatorGraph(graph_config=to_text(ours.config))",
        "back = wheel.CalculatorGraphConfig.FromString(ours.config.SerializeToString())",
        "assert back == theirs",
        "print('both')",
    ])  # fmt: skip
    assert python(code) == "both"


@needs_wheel
def test_fields_are_those_of_the_wheel() -> None:
    modules = [name.removesuffix(".proto").replace("/", ".") + "_pb2" for name in PROTO_FILES]
    code = (
        "import importlib.util\n"
        f"for name in {modules!r}:\n"
        "    try:\n"
        "        module = importlib.import_module(name)\n"
        "    except ModuleNotFoundError:\n"
        "        continue\n"
        "    print(module.DESCRIPTOR.serialized_pb.hex())"
    )
    compared = 0
    for line in python(code).splitlines():
        wheel = FileDescriptorProto.FromString(bytes.fromhex(line))
        own = FileDescriptorProto()
        _pb.POOL.FindFileByName(wheel.name).CopyToProto(own)
        mine = {message.name: message for message in own.message_type}
        assert own.syntax == wheel.syntax
        for message in wheel.message_type:
            if message.name in NEWER_THAN_THE_WHEEL:
                continue
            assert facts(mine[message.name]) == facts(message)
            compared += 1
    assert compared > 60


def facts(message: DescriptorProto) -> tuple[object, ...]:
    """What reading and writing a message depends on, in an order of its own."""
    return (
        sorted(
            (f.number, f.name, f.label, f.type, f.type_name, f.extendee, f.oneof_index, f.options.packed, default(f))
            for f in [*message.field, *message.extension]
        ),
        sorted((enum.name, [(v.name, v.number) for v in enum.value]) for enum in message.enum_type),
        sorted((nested.name, facts(nested)) for nested in message.nested_type),
        [(span.start, span.end) for span in message.extension_range],
    )


def default(field: FieldDescriptorProto) -> str:
    """The default value, with -1 and -1.0 alike."""
    return field.default_value.removesuffix(".0")
