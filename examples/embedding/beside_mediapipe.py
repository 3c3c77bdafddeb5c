"""graph_runtime and the mediapipe wheel in one program: the packets of a graph there go into a graph here.

Both know the same messages, under the same names, from files of the same names. They do not get into each other's way, since
graph_runtime keeps its own apart.

Usage, with mediapipe 0.10.21, the last one that runs graphs in Python::

    python examples/embedding/beside_mediapipe.py
"""

from __future__ import annotations

import mediapipe

from graph_runtime import Calculator, CalculatorContext, CalculatorContract, Packet, Plan, register_calculator, running

GATE = """
input_stream: "number"
input_stream: "is_wanted"
output_stream: "wanted"
node {
  calculator: "GateCalculator"
  input_stream: "number"
  input_stream: "ALLOW:is_wanted"
  output_stream: "wanted"
}
"""

SQUARE = """
input_stream: "number"
output_stream: "square"
node { calculator: "Square" input_stream: "number" output_stream: "square" }
"""


@register_calculator
class Square(Calculator):
    """A node in Python, which mediapipe cannot have."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Number in, number out."""
        cc.inputs[0].set(int)
        cc.outputs[0].set(int)

    def process(self, cc: CalculatorContext) -> None:
        """Multiply."""
        cc.outputs[0].add(cc.inputs[0].value ** 2)


def main() -> None:
    """Let MediaPipe choose the even numbers, and square them here."""
    there = mediapipe.CalculatorGraph(graph_config=GATE)
    with running(Plan(SQUARE), outputs=["square"]) as here:
        # From callback to input: same timestamp, and the value as Python has it.
        there.observe_output_stream(
            "wanted",
            lambda _, packet: here.add(
                "number", Packet(mediapipe.packet_getter.get_int(packet)), packet.timestamp.microseconds()
            ),
        )
        there.start_run()
        for number in range(6):
            create = mediapipe.packet_creator
            there.add_packet_to_input_stream("number", create.create_int(number), number)
            there.add_packet_to_input_stream("is_wanted", create.create_bool(number % 2 == 0), number)
        there.close()
        here.close_inputs()
        for square in here.output("square"):
            print(f"at {int(square.timestamp)}: {square.value}")


if __name__ == "__main__":
    main()
