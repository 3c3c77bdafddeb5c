"""CountingSourceCalculator: a source of numbers, for tests of graphs."""

from __future__ import annotations

import math
from typing import Any, Final

from calculators.core.checks import require
from graph_runtime.calculator import STOP, Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import BOOL, INT, Packet
from graph_runtime.timestamp import Timestamp

NEVER: Final = math.inf


class CountingSourceCalculator(Calculator):
    """Sends ints that are their own timestamps: ``INITIAL_VALUE`` (0) + k * ``INCREMENT`` (1), ``BATCH_SIZE`` (1) in each call.

    It stops after ``MAX_COUNT`` batches, or fails after ``ERROR_COUNT`` of them; one of the two is required. All are side
    packets of type int. ``ERROR_ON_OPEN`` (bool) makes ``open`` fail.

    Source: MediaPipe ``calculators/core/counting_source_calculator.cc``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.outputs[0].set(INT)
        for tag in ("ERROR_ON_OPEN", "MAX_COUNT", "ERROR_COUNT", "BATCH_SIZE", "INITIAL_VALUE", "INCREMENT"):
            if cc.input_side_packets.has_tag(tag):
                cc.input_side_packets[tag].set(BOOL if tag == "ERROR_ON_OPEN" else INT)
        require(
            cc.input_side_packets.has_tag("MAX_COUNT") or cc.input_side_packets.has_tag("ERROR_COUNT"),
            "One of the input side packets MAX_COUNT and ERROR_COUNT is required.",
        )

    def open(self, cc: CalculatorContext) -> None:
        if cc.input_side_packets.has_tag("ERROR_ON_OPEN") and cc.input_side_packets["ERROR_ON_OPEN"].value:
            raise GraphError("expected error", code=StatusCode.NOT_FOUND)
        self.error_count = _number(cc, "ERROR_COUNT", NEVER, smallest=0)
        self.max_count = _number(cc, "MAX_COUNT", NEVER, smallest=0)
        self.batch_size = _number(cc, "BATCH_SIZE", 1, smallest=1)
        self.counter = _number(cc, "INITIAL_VALUE", 0)
        self.increment = _number(cc, "INCREMENT", 1, smallest=1)
        self.batches = 0

    def process(self, cc: CalculatorContext) -> Any:
        if self.batches >= self.error_count:
            raise GraphError("expected error", code=StatusCode.INTERNAL)
        if self.batches >= self.max_count:
            return STOP
        for _ in range(self.batch_size):
            cc.outputs[0].add_packet(Packet(self.counter, Timestamp(self.counter), packet_type=INT))
            self.counter += self.increment
        self.batches += 1
        return None


def _number(cc: CalculatorContext, tag: str, default: float, smallest: float = -math.inf) -> Any:
    if not cc.input_side_packets.has_tag(tag):
        return default
    value = cc.input_side_packets[tag].value
    require(value >= smallest, f"{tag} is {value}; it has to be at least {smallest}.")
    return value
