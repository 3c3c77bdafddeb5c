"""PythonExecutorCalculator: a node whose work is done by a class in a Python file of the model folder.

::

    node {
      name: "upper"
      calculator: "PythonExecutorCalculator"
      input_side_packet: "PYTHON_NODE_RESOURCES:py"
      input_stream: "INPUT:text"
      output_stream: "OUTPUT:answer"
      node_options: {
        [type.googleapis.com / mediapipe.PythonExecutorCalculatorOptions]: { handler_path: "model.py" }
      }
    }

The file has a class ``OvmsPythonModel``; ``calculators.load_resources`` makes one object of it for each node, which all runs share.
Its ``execute(inputs)`` takes the tensors that came, in the order of their tags, and returns a list of ``pyovms.Tensor``, each sent
to the output stream of its name, at the input timestamp. Or it is a generator of such lists: each is sent as soon as it is there,
the first at the input timestamp and each further one a microsecond later. For that the node has a stream of its own, from
``LOOPBACK`` to ``LOOPBACK``, that calls it again.

What a handler raises ends the run; a RequestError is told to the client.

Source: OpenVINO Model Server, PythonExecutorCalculator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from calculators.http_payload import RequestError
from calculators.python_node.handler import Handler
from calculators.python_node.tensor import Tensor
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, StatusCode
from graph_runtime._pb.mediapipe.framework.stream_handler.sync_set_input_stream_handler_pb2 import (
    SyncSetInputStreamHandlerOptions,
)

LOOPBACK: Final = "LOOPBACK"
RESOURCES: Final = "PYTHON_NODE_RESOURCES"
SIDE_PACKET: Final = "py"
_SIDE_PACKET_LINE: Final = f'input_side_packet: "{RESOURCES}:{SIDE_PACKET}"'
_LOOPBACK_ALONE: Final = SyncSetInputStreamHandlerOptions(
    sync_set=[SyncSetInputStreamHandlerOptions.SyncSet(tag_index=[f"{LOOPBACK}:0"])]
)
"""The call for the next list must not wait for the next input; with the default handler the node would never be called."""
_DONE: Final = object()
_BUSY: Final = "Node is already processing data. Create new stream for another request."


class PythonExecutorCalculator(Calculator):
    """Calls a handler; see the module."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for what, ports in (("input", cc.inputs), ("output", cc.outputs)):
            if all(port.tag == LOOPBACK for port in ports):
                raise ValueError(f"the node needs an {what}_stream beside {LOOPBACK}: one with tensors")
            for port in ports:
                port.set(bool if port.tag == LOOPBACK else Tensor)
        if cc.inputs.has_tag(LOOPBACK) != cc.outputs.has_tag(LOOPBACK):
            raise ValueError("If LOOPBACK is used, it must be defined on both input and output of the node")
        cc.input_side_packets[RESOURCES].set(dict)
        if cc.input_side_packets[RESOURCES].name != SIDE_PACKET:
            found = cc.input_side_packets[RESOURCES].name
            raise ValueError(
                f'this line must stand in the node: {_SIDE_PACKET_LINE}; it names "{found}". In a subgraph the file of the '
                f'subgraph, and the node that stands for it, need input_side_packet: "{SIDE_PACKET}" as well'
            )
        if cc.inputs.has_tag(LOOPBACK):  # a generator's packets come later than its input
            cc.set_input_stream_handler("SyncSetInputStreamHandler", _LOOPBACK_ALONE)
        else:
            cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        by_node: dict[str, Any] = cc.input_side_packets[RESOURCES].value
        found = by_node.get(cc.node_name)
        if not isinstance(found, Handler):
            raise GraphError(
                f"Could not find initialized Python node named: {cc.node_name}; there are: {', '.join(by_node) or 'none'}",
                code=StatusCode.INTERNAL,
            )
        self._handler = found
        self._can_generate = cc.inputs.has_tag(LOOPBACK)
        loopback = cc.inputs[LOOPBACK].name if self._can_generate else None
        self._inputs = [stream for stream in cc.inputs if stream.name != loopback]
        self._outputs = {stream.name: stream for stream in cc.outputs if stream.name != loopback}
        self._generator: Iterator[Any] | None = None
        self._timestamp = 0

    def process(self, cc: CalculatorContext) -> None:
        inputs = [stream.value for stream in self._inputs if not stream.is_empty()]
        if self._generator is not None:
            if inputs:
                raise GraphError(_BUSY, code=StatusCode.RESOURCE_EXHAUSTED) from RequestError(
                    _BUSY, status=429, code="node_busy"
                )
            self._go_on(cc)
        elif inputs:
            self._timestamp = int(cc.input_timestamp)
            with self._handler.guarded():
                result = self._handler.execute(inputs)
            if isinstance(result, Iterator):
                if not self._can_generate:
                    raise self._wrong(
                        "execute yields, and the node has no LOOPBACK streams: give it some, or return a list"
                    )
                self._generator = result
                self._go_on(cc)
            else:
                self._send(result)

    def close(self, cc: CalculatorContext) -> None:
        generator = getattr(self, "_generator", None)
        if generator is not None and hasattr(generator, "close"):
            with self._handler.guarded():
                generator.close()  # its finally, now rather than when somebody collects it

    def _go_on(self, cc: CalculatorContext) -> None:
        assert self._generator is not None
        with self._handler.guarded():
            result = next(self._generator, _DONE)
        if result is _DONE:
            self._generator = None
            return
        self._send(result)
        self._timestamp += 1
        cc.outputs[LOOPBACK].add(True, self._timestamp)

    def _send(self, result: object) -> None:
        if not isinstance(result, list):
            hint = "; give a list with it" if isinstance(result, Tensor) else ""
            raise self._wrong(
                f"execute gave a {type(result).__name__}, where a list of pyovms.Tensor, or a generator of such lists, "
                f"has to be{hint}"
            )
        for each in result:
            if not isinstance(each, Tensor) or each._fields is None:
                raise self._wrong(f"execute gave a {type(each).__name__} in its list; each has to be a pyovms.Tensor")
            stream = self._outputs.get(each.name)
            if stream is None:
                raise self._wrong(
                    f'execute gave a Tensor named "{each.name}"; the output streams of the node are: {", ".join(self._outputs)}'
                )
            stream.add(each, self._timestamp)

    def _wrong(self, text: str) -> GraphError:
        return GraphError(
            f"Error occurred during graph execution: {self._handler.file}: {text}", code=StatusCode.INTERNAL
        )
