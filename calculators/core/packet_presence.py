"""PacketPresenceCalculator: tells at which timestamps a stream has a packet."""

from __future__ import annotations

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, Packet


class PacketPresenceCalculator(Calculator):
    """Sends to ``PRESENCE`` true for each packet of ``PACKET``, and false for a settled timestamp without a packet.

    Several steps of the input's timestamp bound may be seen as one: then there is one false, at the newest settled timestamp.

    Source: MediaPipe ``calculators/core/packet_presence_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["PACKET"].set_any()
        cc.outputs["PRESENCE"].set(BOOL)
        cc.set_process_timestamp_bounds()
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        present = not cc.inputs["PACKET"].is_empty()
        cc.outputs["PRESENCE"].add_packet(Packet(present, cc.input_timestamp, packet_type=BOOL))
