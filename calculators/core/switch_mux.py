"""SwitchMuxCalculator: the exit of a SwitchContainer; passes on what the active channel makes."""

from __future__ import annotations

from collections import deque

from calculators.core.checks import require
from calculators.core.switch_channels import Selection, declare_channels, declare_selection, routes
from graph_runtime.calculator import Calculator, CalculatorContext, InputStream
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.packet import Packet
from graph_runtime.timestamp import DONE, next_allowed


class SwitchMuxCalculator(Calculator):
    """Passes on each packet and timestamp bound of the channel that is active at that time; drops those of the others.

    Ports: inputs ``C0__TAG:i``, ``C1__TAG:i``, ... one set for each channel; outputs ``TAG:i``; side packets alike, taken from the
    channel that is active at first. ``SELECT`` and ``ENABLE`` as for SwitchDemuxCalculator. Packets wait until the channel at their
    time is known, and until the channel that was active before has passed the time of the change.

    Source: MediaPipe ``framework/tool/switch_mux_calculator.cc``.

    Raises:
        GraphError: side packets are to be passed on and the channel does not exist (INVALID_ARGUMENT, in ``open``).
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        declare_selection(cc)
        declare_channels(cc.outputs, cc.inputs)
        declare_channels(cc.output_side_packets, cc.input_side_packets)
        cc.set_input_stream_handler("ImmediateInputStreamHandler")
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        self.selection = Selection(cc)
        self.routes = routes(cc.outputs, cc.inputs)
        self.queues: dict[InputStream, deque[Packet]] = {
            source: deque() for pairs in self.routes.values() for _, source in pairs
        }
        channel = self.selection.history[0][1]
        pairs = routes(cc.output_side_packets, cc.input_side_packets).get(channel, [])
        require(
            len(pairs) == len(cc.output_side_packets),
            f"The selected channel is {channel}, and there is no such channel to take the side packets from.",
            StatusCode.INVALID_ARGUMENT,
        )
        for target, source in pairs:
            target.set(source.packet)

    def process(self, cc: CalculatorContext) -> None:
        known_until = next_allowed(self.selection.record(cc))
        for source, queue in self.queues.items():
            if source.packet.timestamp == cc.input_timestamp:
                queue.append(source.packet)  # an empty one too: it carries a bound
        history = self.selection.history
        starts = [start for start, _ in history]
        for number, (start, channel) in enumerate(history[:]):
            is_last = number == len(starts) - 1
            end = known_until if is_last else starts[number + 1]
            settled: int = DONE
            for target, source in self.routes.get(channel, ()):
                queue = self.queues[source]
                while queue and queue[0].timestamp < end:
                    packet = queue.popleft()
                    if packet.timestamp >= start:
                        target.add_packet(packet)
                settled = min(settled, source.packet.timestamp)
            if is_last or next_allowed(settled) < end:
                break
            # Nothing more can come from this channel while it is active: it is forgotten, with what the others sent meanwhile.
            del history[0]
            for queue in self.queues.values():
                while queue and queue[0].timestamp < end:
                    queue.popleft()
