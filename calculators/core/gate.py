"""GateCalculator: lets packets through or holds them back, as a stream, a side packet or an option says."""

from __future__ import annotations

from calculators.core.checks import copy_headers, require
from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, Packet


class GateCalculator(Calculator):
    """Forwards untagged inputs to the untagged outputs of the same index while the gate is open.

    The gate is open when ``ALLOW`` is true, or ``DISALLOW`` false: a bool as input stream, or as (optional) side packet. Without
    either the option ``allow`` decides. At a timestamp without a control packet the option ``empty_packets_as_allow`` decides.
    While the gate is shut by a stream or an option, the outputs go on with timestamp bounds; shut by a side packet it never opens
    again, so the outputs are closed at the first timestamp. ``STATE_CHANGE`` (optional) gets the new state, a bool, whenever it
    differs from the one before; the first state counts as a change only when the option ``initial_gate_state`` names another.

    Source: MediaPipe ``calculators/core/gate_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        by_side_packet = [tag for tag in ("ALLOW", "DISALLOW") if cc.input_side_packets.has_tag(tag)]
        by_stream = [tag for tag in ("ALLOW", "DISALLOW") if cc.inputs.has_tag(tag)]
        require(
            len(by_side_packet) + len(by_stream) <= 1,
            "At most one of ALLOW and DISALLOW may be given, as input stream or as input side packet.",
        )
        for tag in by_side_packet:
            cc.input_side_packets[tag].set(BOOL).optional()
        for tag in by_stream:
            cc.inputs[tag].set(BOOL)
        count = cc.inputs.num_entries("")
        require(
            cc.outputs.num_entries("") == count,
            "Number of data output streams must match with data input streams.",
        )
        for index in range(count):
            cc.inputs[index].set_any()
            cc.outputs[index].set_same_as(cc.inputs[index])
        if cc.outputs.has_tag("STATE_CHANGE"):
            cc.outputs["STATE_CHANGE"].set(BOOL)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(GateCalculatorOptions)
        self.count = cc.inputs.num_entries("")
        self.state = options.initial_gate_state
        self.allow_empty = options.empty_packets_as_allow
        self.control = next((tag for tag in ("ALLOW", "DISALLOW") if cc.inputs.has_tag(tag)), None)
        self.is_final = False
        self.constant = options.allow
        for tag in ("ALLOW", "DISALLOW"):
            if cc.input_side_packets.has_tag(tag):
                self.is_final = True
                self.constant = cc.input_side_packets[tag].value == (tag == "ALLOW")
        copy_headers(cc)

    def process(self, cc: CalculatorContext) -> None:
        allow = self._is_allowed(cc)
        state = GateCalculatorOptions.GATE_ALLOW if allow else GateCalculatorOptions.GATE_DISALLOW
        if self.state not in (GateCalculatorOptions.GATE_UNINITIALIZED, state) and cc.outputs.has_tag("STATE_CHANGE"):
            cc.outputs["STATE_CHANGE"].add_packet(Packet(allow, cc.input_timestamp, packet_type=BOOL))
        self.state = state
        if allow:
            for index in range(self.count):
                if not cc.inputs[index].is_empty():
                    cc.outputs[index].add_packet(cc.inputs[index].packet)
        elif self.is_final:
            for index in range(self.count):
                cc.outputs[index].close()

    def _is_allowed(self, cc: CalculatorContext) -> bool:
        if self.control is None:
            return self.constant
        port = cc.inputs[self.control]
        if port.is_empty():
            return self.allow_empty
        return bool(port.value) == (self.control == "ALLOW")
