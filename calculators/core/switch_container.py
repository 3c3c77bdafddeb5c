"""SwitchContainer: several nodes in the place of one, of which the selected one works."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from calculators.core.switch_channels import ENABLE, SELECT, channel_tag
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime._pb.mediapipe.framework.tool.switch_container_pb2 import SwitchContainerOptions
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.subgraph import Subgraph, SubgraphContext
from graph_runtime.tags import parse_tag_index, parse_tag_index_name

Node: TypeAlias = CalculatorGraphConfig.Node
Streams: TypeAlias = dict[tuple[str, int], str]  # (tag, index) -> name

_OPTIONS: Final = "mediapipe.SwitchContainerOptions"


class SwitchContainer(Subgraph):
    """Becomes SwitchDemuxCalculator -> the nodes of ``contained_node`` -> SwitchMuxCalculator.

    The node's ports, but for ``SELECT`` and ``ENABLE``, are those that each contained node gets. ``SELECT`` (an int: the number
    of the contained node) or ``ENABLE`` (a bool: node 1 or node 0) say which one works: as a stream, as a side packet, or in the
    options as ``select`` or ``enable``. A stream counts from the timestamp of its packet on; before, what the side packet or the
    options say, or node 0.

    Options (SwitchContainerOptions):
        async_selection: a packet of the SELECT or ENABLE stream counts from the moment when it comes, whatever its timestamp.
        tick_input_stream: the inputs (``TAG`` or ``TAG:index``) that say how far time has come for the selection; by default all.
        synchronize_io: inputs are taken together, by timestamp, not each as it comes.

    Source: MediaPipe ``framework/tool/switch_container.cc``.

    Raises:
        InvalidArgumentError: both of ``select`` and ``enable``, or of SELECT and ENABLE, are given.
    """

    def get_config(self, sc: SubgraphContext) -> CalculatorGraphConfig:
        """The graph for one SwitchContainer node."""
        options = sc.options(SwitchContainerOptions)
        _check(options, sc.node)
        inputs, outputs = _streams(sc.node.input_stream), _streams(sc.node.output_stream)
        side_inputs, side_outputs = _streams(sc.node.input_side_packet), _streams(sc.node.output_side_packet)
        config = CalculatorGraphConfig()
        selections = []
        for tag, name in ((SELECT, "gate_select"), (ENABLE, "gate_enable")):
            config.input_stream.append(f"{tag}:{name}")
            config.input_side_packet.append(f"{tag}:{name}")
            if (tag, 0) in map(_port, sc.node.input_stream):
                _add_sequencer(config, name, inputs, options)
                name += "_timed"
            selections.append(f"{tag}:{name}")
        ends = [config.node.add(calculator=name) for name in ("SwitchDemuxCalculator", "SwitchMuxCalculator")]
        for end in ends:
            _copy_options(sc.node, end)
            end.input_stream.extend(selections)
            end.input_side_packet.extend(config.input_side_packet)
        demux, mux = ends
        for streams, ports, port in (
            (inputs, config.input_stream, demux.input_stream),
            (outputs, config.output_stream, mux.output_stream),
            (side_inputs, config.input_side_packet, demux.input_side_packet),
            (side_outputs, config.output_side_packet, mux.output_side_packet),
        ):
            entries = [_entry(*key, name) for key, name in streams.items()]
            ports.extend(entries)
            port.extend(entries)
        for channel, contained in enumerate(options.contained_node):
            node = config.node.add()
            node.CopyFrom(contained)
            for streams, inside, outside in (
                (inputs, node.input_stream, demux.output_stream),
                (outputs, node.output_stream, mux.input_stream),
                (side_inputs, node.input_side_packet, demux.output_side_packet),
                (side_outputs, node.output_side_packet, mux.input_side_packet),
            ):
                for (tag, index), name in streams.items():
                    inside.append(_entry(tag, index, f"c{channel}__{name}"))
                    outside.append(_entry(channel_tag(tag, channel), index, f"c{channel}__{name}"))
        return config


def _check(options: SwitchContainerOptions, node: Node) -> None:
    if options.HasField("select") and options.HasField("enable"):
        raise GraphError(
            "Only one of SwitchContainer options 'enable' and 'select' can be specified",
            code=StatusCode.INVALID_ARGUMENT,
        )
    for entries in (node.input_stream, node.input_side_packet):
        if {(SELECT, 0), (ENABLE, 0)} <= {_port(entry) for entry in entries}:
            raise GraphError(
                "Only one of SwitchContainer inputs 'ENABLE' and 'SELECT' can be specified",
                code=StatusCode.INVALID_ARGUMENT,
            )


def _port(entry: str) -> tuple[str, int]:
    parsed = parse_tag_index_name(entry)
    return parsed.tag, parsed.index


def _streams(entries: Iterable[str]) -> Streams:
    """The names of a list by tag and index, in port order, without the selection; no name twice."""
    found: Streams = {}
    names: set[str] = set()
    untagged = 0
    for entry in entries:
        parsed = parse_tag_index_name(entry)
        tag, index = parsed.tag, parsed.index
        if (tag, index) in ((SELECT, 0), (ENABLE, 0)):
            continue
        if index < 0:
            index, untagged = untagged, untagged + 1
        name, number = parsed.name, 2
        while name in names:
            name, number = f"{parsed.name}_{number}", number + 1
        names.add(name)
        found[tag, index] = name
    return dict(sorted(found.items()))


def _entry(tag: str, index: int, name: str) -> str:
    if not tag:
        return name
    return f"{tag}:{name}" if index == 0 else f"{tag}:{index}:{name}"


def _add_sequencer(config: CalculatorGraphConfig, name: str, inputs: Streams, options: SwitchContainerOptions) -> None:
    """A node that gives the packets of a selection stream their place in the time of the inputs."""
    node = config.node.add(calculator="PacketSequencerCalculator")
    if not options.async_selection:
        node.input_stream_handler.input_stream_handler = "DefaultInputStreamHandler"
    ticks = {parse_tag_index(text) for text in options.tick_input_stream}
    node.input_stream.append(f"INPUT:{name}")
    names = [stream for port, stream in inputs.items() if not ticks or port in ticks]
    node.input_stream.extend(_entry("TICK", index, stream) for index, stream in enumerate(names))
    node.output_stream.append(f"OUTPUT:{name}_timed")


def _copy_options(source: Node, target: Node) -> None:
    """All options of the container but for the contained nodes."""
    if source.HasField("options"):
        target.options.CopyFrom(source.options)
        if target.options.HasExtension(SwitchContainerOptions.ext):
            target.options.Extensions[SwitchContainerOptions.ext].ClearField("contained_node")
    for packed in source.node_options:
        copy = target.node_options.add(type_url=packed.type_url, value=packed.value)
        if packed.type_url.rpartition("/")[2] == _OPTIONS:
            options = SwitchContainerOptions.FromString(packed.value)
            options.ClearField("contained_node")
            copy.value = options.SerializeToString()
