"""StringToIntCalculator and its relatives: turn a string side packet into a number."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import INT, INT64, STRING, UINT32, UINT64, Packet, PacketType

_DECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")


class StringToIntCalculator(Calculator):
    """Makes untagged side packet 0, an int, from untagged side packet 0, a string with a decimal number.

    Subclasses have other types.

    Source: MediaPipe ``calculators/core/string_to_int_calculator.cc``.

    Raises:
        GraphError: the string is no decimal number, or it does not fit in the type (INVALID_ARGUMENT, in ``open``).
    """

    number_type: ClassVar[PacketType] = INT
    bits: ClassVar[int] = 32
    is_signed: ClassVar[bool] = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.input_side_packets[0].set(STRING)
        cc.output_side_packets[0].set(cls.number_type)

    def open(self, cc: CalculatorContext) -> None:
        text = cc.input_side_packets[0].value
        number = _DECIMAL.fullmatch(text.decode("latin-1") if isinstance(text, bytes) else text)
        if number is None or not self._fits(number[1]):
            raise GraphError(
                f"The string could not be parsed as an integer. It is {text!r}; a {self.number_type.name} is needed.",
                code=StatusCode.INVALID_ARGUMENT,
            )
        cc.output_side_packets[0].set(Packet(int(number[1]), packet_type=self.number_type))

    @classmethod
    def _fits(cls, number: str) -> bool:
        if not cls.is_signed:
            return number[0] != "-" and int(number).bit_length() <= cls.bits
        half = 1 << (cls.bits - 1)
        return -half <= int(number) < half


class StringToUintCalculator(StringToIntCalculator):
    """The same for an unsigned number of 32 bits."""

    number_type = UINT32
    is_signed = False


class StringToInt64Calculator(StringToIntCalculator):
    """The same for a number of 64 bits."""

    number_type = INT64
    bits = 64


class StringToUint64Calculator(StringToIntCalculator):
    """The same for an unsigned number of 64 bits."""

    number_type = UINT64
    bits = 64
    is_signed = False
