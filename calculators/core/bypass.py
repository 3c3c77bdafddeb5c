"""BypassCalculator: stands in for a part of a graph that is switched off."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime._pb.mediapipe.calculators.core.bypass_calculator_pb2 import BypassCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract, PortSpecs
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.tags import parse_tag_index

Port = tuple[str, int]


class BypassCalculator(Calculator):
    """Takes any ports. Listed inputs go to listed outputs; other inputs are dropped, other outputs only get timestamp bounds.

    The options ``pass_input_stream`` and ``pass_output_stream`` list the pairs, each port as ``TAG``, ``TAG:index`` or ``:index``.

    Source: MediaPipe ``calculators/core/bypass_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        options = cc.options(BypassCalculatorOptions)
        require(
            len(options.pass_input_stream) == len(options.pass_output_stream),
            f"pass_input_stream has {len(options.pass_input_stream)} entries and pass_output_stream "
            f"{len(options.pass_output_stream)}; they are pairs, so both have to have the same number.",
        )
        for ports in (cc.inputs, cc.outputs, cc.input_side_packets):
            for port in ports:
                port.set_any()
        for source, target in _pairs(options):
            _check_port("pass_input_stream", cc.inputs, source)
            _check_port("pass_output_stream", cc.outputs, target)
            cc.outputs[target].set_same_as(cc.inputs[source])
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.pairs = _pairs(cc.options(BypassCalculatorOptions))

    def process(self, cc: CalculatorContext) -> None:
        # The offset of 0 moves the bounds of all outputs.
        for source, target in self.pairs:
            if not cc.inputs[source].is_empty():
                cc.outputs[target].add_packet(cc.inputs[source].packet)


def _pairs(options: BypassCalculatorOptions) -> list[tuple[Port, Port]]:
    """The (input, output) pairs; an input that is listed twice goes to the last of its outputs."""
    sources = [parse_tag_index(text) for text in options.pass_input_stream]
    targets = [parse_tag_index(text) for text in options.pass_output_stream]
    return list(dict(zip(sources, targets, strict=True)).items())


def _check_port(field: str, ports: PortSpecs, port: Port) -> None:
    if ports.tag_map.id_of(*port) is None:
        have = ", ".join(f'"{tag}:{index}"' for tag, index in ports.tag_map) or "none"
        raise GraphError(
            f'{field} names "{port[0]}:{port[1]}", which is no port of the node; it has: {have}',
            code=StatusCode.INVALID_ARGUMENT,
        )
