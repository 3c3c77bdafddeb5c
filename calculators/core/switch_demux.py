"""SwitchDemuxCalculator: the entrance of a SwitchContainer; sends what comes in to the active channel."""

from __future__ import annotations

from collections import deque

from calculators.core.switch_channels import Selection, declare_channels, declare_selection, routes
from graph_runtime._pb.mediapipe.framework.tool.switch_container_pb2 import SwitchContainerOptions
from graph_runtime.calculator import Calculator, CalculatorContext, InputStream
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import Packet


class SwitchDemuxCalculator(Calculator):
    """Sends each packet and timestamp bound of its inputs to the channel that is active at that time.

    Ports: any inputs ``TAG:i``; outputs ``C0__TAG:i``, ``C1__TAG:i``, ... one set for each channel, and side packets alike, which
    go to all channels. ``SELECT`` (int) or ``ENABLE`` (bool: channel 1 or 0), as a stream, a side packet or in
    SwitchContainerOptions, name the channel. Packets wait until the channel at their time is known. The other channels get nothing,
    no bounds either. Headers go to all channels.

    Inputs are taken as they come; with ``synchronize_io`` in the options, together by timestamp.

    Source: MediaPipe ``framework/tool/switch_demux_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        declare_selection(cc)
        declare_channels(cc.inputs, cc.outputs)
        declare_channels(cc.input_side_packets, cc.output_side_packets)
        if not cc.options(SwitchContainerOptions).synchronize_io:
            cc.set_input_stream_handler("ImmediateInputStreamHandler")
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        self.selection = Selection(cc)
        self.routes = routes(cc.inputs, cc.outputs)
        self.queues: dict[InputStream, deque[Packet]] = {
            source: deque() for pairs in self.routes.values() for source, _ in pairs
        }
        for pairs in self.routes.values():
            for source, target in pairs:
                if not source.header.is_empty():
                    target.set_header(source.header)
        for side_pairs in routes(cc.input_side_packets, cc.output_side_packets).values():
            for side_source, side_target in side_pairs:
                side_target.set(side_source.packet)

    def process(self, cc: CalculatorContext) -> None:
        for source, queue in self.queues.items():
            if source.packet.timestamp == cc.input_timestamp:
                queue.append(source.packet)  # an empty one too: it carries a bound
        settled = self.selection.record(cc)
        for source, queue in self.queues.items():
            while queue and queue[0].timestamp <= settled:
                packet = queue.popleft()
                for come_from, target in self.routes.get(self.selection.channel_at(packet.timestamp), ()):
                    if come_from is source:
                        target.add_packet(packet)
        # Only the newest selection is kept: what comes later for an earlier time is dropped, as in MediaPipe.
        del self.selection.history[:-1]
