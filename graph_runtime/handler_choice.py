"""Which stream handlers a node has, and whether it can have them.

Source: MediaPipe ``CalculatorNode::Initialize``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import find_options
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.near_names import did_you_mean
from graph_runtime.stream_handlers import HANDLERS, InputStreamHandler
from graph_runtime.tags import TagMap

DEFAULT_INPUT_STREAM_HANDLER: Final = "DefaultInputStreamHandler"
OUTPUT_STREAM_HANDLER: Final = "InOrderOutputStreamHandler"

Report = Callable[..., None]
"""``report(message, code, *path, hint=None)``: note a problem of the node."""


def copy_to_nodes(config: CalculatorGraphConfig) -> set[int]:
    """Give the graph's input stream handler to all nodes without one of their own; the positions of these nodes."""
    if not config.HasField("input_stream_handler"):
        return set()
    without = {at for at, node in enumerate(config.node) if not node.HasField("input_stream_handler")}
    for at in without:
        config.node[at].input_stream_handler.CopyFrom(config.input_stream_handler)
    return without


def check_output_stream_handler(node: CalculatorGraphConfig.Node, report: Report) -> None:
    """Refuse all but the one output stream handler that there is."""
    if node.HasField("output_stream_handler"):
        name = node.output_stream_handler.output_stream_handler
        if name != OUTPUT_STREAM_HANDLER:
            _refuse(name, "output", f"there is: {OUTPUT_STREAM_HANDLER}", report, "output_stream_handler")


def choose_input_stream_handler(
    node: CalculatorGraphConfig.Node,
    contract: CalculatorContract | None,
    inputs: TagMap,
    place: str,
    report: Report,
) -> tuple[type[InputStreamHandler], Any] | None:
    """The node's input stream handler and its options: the one that it names, else the contract's, else the default one.

    Args:
        node: the node, with the graph's handler where it has none of its own.
        contract: its contract, where that is known.
        inputs: its input streams.
        place: the field that problems with a named handler point at.
        report: called for each problem; then there is no handler.
    """
    given = node.input_stream_handler
    name, options = DEFAULT_INPUT_STREAM_HANDLER, _no_options
    if given.HasField("input_stream_handler"):
        name, options = given.input_stream_handler, partial(find_options, given)
    else:
        place = "calculator"
        if contract is not None and contract.input_stream_handler is not None:
            name = contract.input_stream_handler
            options = partial(_same_message, contract.input_stream_handler_options)
    handler = HANDLERS.get(name)
    if handler is None:
        hint = did_you_mean(name, HANDLERS, "there are") or ""
        _refuse(name, "input", hint, report, place)
        return None
    handler_options, text = handler.check(options, inputs)
    if text is None and node.max_in_flight > 1 and handler_options not in (1, None):
        text = "batches cannot be combined with max_in_flight" if isinstance(handler_options, int) else None
    if text is not None:
        report(f"{name}: {text}", StatusCode.INVALID_ARGUMENT, place)
        return None
    return handler, handler_options


def _refuse(name: str, kind: str, hint: str, report: Report, place: str) -> None:
    if not name:
        report(f"The name of the {kind} stream handler is empty.", StatusCode.INTERNAL, place, hint=hint)
        return
    shown = name.replace(".", "::")
    report(
        f'No registered object with name: {shown}; "{name}" is not a registered {kind} stream handler.',
        StatusCode.NOT_FOUND,
        place,
        hint=hint,
    )


def _no_options(message_class: type[Any]) -> None:
    return None


def _same_message(message: Any, message_class: type[Any]) -> Any:
    return message if message is not None and message.DESCRIPTOR is message_class.DESCRIPTOR else None
