"""PreviousLoopbackCalculator: gives a node the result that it had for the packet before."""

from __future__ import annotations

from collections import deque

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import Packet
from graph_runtime.timestamp import MAX, UNSET, UNSTARTED


class PreviousLoopbackCalculator(Calculator):
    """Sends to ``PREV_LOOP``, for each packet of ``MAIN``, the packet that ``LOOP`` had for the MAIN packet before it.

    The packet gets the timestamp of the newer MAIN packet. Where there is none (the first MAIN packet, or LOOP was empty then), and
    for timestamp bounds of MAIN, PREV_LOOP gets a bound. LOOP is marked as a back edge. PREV_LOOP closes when MAIN is done.

    Source: MediaPipe ``calculators/core/previous_loopback_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["MAIN"].set_any()
        cc.inputs["LOOP"].set_any()
        cc.outputs["PREV_LOOP"].set_same_as(cc.inputs["LOOP"])
        cc.set_input_stream_handler("ImmediateInputStreamHandler")
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        # Of each MAIN packet or bound: its timestamp, and the timestamp that its LOOP packet has (UNSET: it needs none).
        self.mains: deque[tuple[int, int]] = deque()
        self.last_main: int = UNSTARTED
        self.last_main_packet: int = UNSTARTED
        # LOOP packets and bounds. The empty packet of a LOOP that has not begun counts too: it settles the first MAIN packet.
        self.loops: deque[Packet] = deque()
        self.last_loop: int = UNSET

    def process(self, cc: CalculatorContext) -> None:
        main = cc.inputs["MAIN"].packet
        if main.timestamp > self.last_main:
            self.last_main = main.timestamp
            if main.is_empty():
                self.mains.append((main.timestamp, UNSET))
            else:
                self.mains.append((main.timestamp, self.last_main_packet))
                self.last_main_packet = main.timestamp
        loop = cc.inputs["LOOP"].packet
        if loop.timestamp > self.last_loop:
            self.last_loop = loop.timestamp
            self.loops.append(loop)
        while self.mains and self.loops:
            self._match(cc)

    def _match(self, cc: CalculatorContext) -> None:
        """Compare the oldest MAIN with the oldest LOOP, and drop what is dealt with."""
        timestamp, wanted = self.mains[0]
        loop = self.loops[0]
        if wanted > loop.timestamp:
            self.loops.popleft()
            return
        output = cc.outputs["PREV_LOOP"]
        self.mains.popleft()
        if wanted == loop.timestamp:
            self.loops.popleft()
        if wanted == loop.timestamp and not loop.is_empty():
            output.add_packet(loop.at(timestamp))
        elif timestamp < MAX:
            output.set_next_timestamp_bound(timestamp + 1)
        if timestamp == MAX:  # a packet there is the last one; a bound there says that MAIN is done
            output.close()
