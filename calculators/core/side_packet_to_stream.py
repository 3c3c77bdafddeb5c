"""SidePacketToStreamCalculator: sends side packets on streams."""

from __future__ import annotations

from typing import Any, Final

from calculators.core.checks import require
from graph_runtime.calculator import STOP, Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import INT64
from graph_runtime.timestamp import POST_STREAM, PRE_STREAM, Timestamp

_TIMES: Final = {"AT_PRESTREAM": PRE_STREAM, "AT_POSTSTREAM": POST_STREAM, "AT_ZERO": 0}
_TICK_TAGS: Final = ("AT_TICK", "AT_FIRST_TICK")


class SidePacketToStreamCalculator(Calculator):
    """Sends untagged side packet i to the output of index i; the one tag of all outputs says when.

    * ``AT_PRESTREAM``, ``AT_POSTSTREAM``, ``AT_ZERO``: once, at this timestamp.
    * ``AT_TIMESTAMP``: once, at the timestamp in the side packet ``TIMESTAMP`` (int64, microseconds).
    * ``AT_TICK``: at every packet of the input stream ``TICK``. ``AT_FIRST_TICK``: at the first one, then the outputs close.

    Without TICK the node is a source.

    Source: MediaPipe ``calculators/core/side_packet_to_stream_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        tags = cc.outputs.tags
        require(
            len(tags) == 1 and tags[0] in (*_TIMES, *_TICK_TAGS, "AT_TIMESTAMP"),
            "Only one of AT_PRESTREAM, AT_POSTSTREAM, AT_ZERO, AT_TICK, AT_FIRST_TICK and AT_TIMESTAMP tags is allowed and "
            "required to specify output stream(s).",
        )
        tag, count = tags[0], len(cc.outputs)
        require(
            (tag in _TICK_TAGS) == cc.inputs.has_tag("TICK"),
            "Either both TICK input and tick (AT_TICK/AT_FIRST_TICK) output should be used or none of them.",
        )
        at_timestamp = tag == "AT_TIMESTAMP"
        require(
            at_timestamp == cc.input_side_packets.has_tag("TIMESTAMP"),
            "Either both TIMESTAMP and AT_TIMESTAMP should be used or none of them.",
        )
        if at_timestamp:
            require(len(cc.input_side_packets) == count + 1, "For AT_TIMESTAMP tag, 2 input side packets are required.")
            cc.input_side_packets["TIMESTAMP"].set(INT64)
        else:
            require(
                len(cc.input_side_packets) == count,
                "Same number of input side packets and output streams is required.",
            )
        for index in range(count):
            cc.input_side_packets[index].set_any()
            cc.outputs[tag, index].set_same_as(cc.input_side_packets[index])
        if cc.inputs.has_tag("TICK"):
            cc.inputs["TICK"].set_any()
            cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.tag = cc.outputs.tags[0]

    def process(self, cc: CalculatorContext) -> Any:
        if not cc.inputs.has_tag("TICK"):
            return STOP
        if not cc.outputs[self.tag].is_closed:
            self._send(cc, cc.input_timestamp)
            if self.tag == "AT_FIRST_TICK":
                for output in cc.outputs:
                    output.close()
        return None

    def close(self, cc: CalculatorContext) -> None:
        if self.tag == "AT_TIMESTAMP":
            self._send(cc, Timestamp(cc.input_side_packets["TIMESTAMP"].value))
        elif self.tag in _TIMES:
            self._send(cc, _TIMES[self.tag])

    def _send(self, cc: CalculatorContext, timestamp: int) -> None:
        for index, output in enumerate(cc.outputs):
            output.add_packet(cc.input_side_packets[index].packet.at(timestamp))
