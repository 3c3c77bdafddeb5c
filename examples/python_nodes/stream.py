"""Sends a text to the graph ``words`` and prints what comes back, word by word.

python examples/python_nodes/stream.py "one word after the other" [localhost:9000]
"""

import queue
import sys
from collections.abc import Iterator

import tritonclient.grpc as triton


def words(text: str, address: str) -> Iterator[str]:
    """The answers to one request of a stream; it ends with the node's generator."""
    answers: queue.Queue[tuple[triton.InferResult | None, Exception | None]] = queue.Queue()
    message = triton.InferInput("text", [1], "BYTES")
    message._raw_content = text.encode()  # as it is: set_data_from_numpy would put its length before it
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("words", [message])
        for _ in text.split():
            result, error = answers.get(timeout=60)
            if error is not None or result is None:
                raise RuntimeError(f"the server says: {error}")
            yield result.get_response().raw_output_contents[0].decode()
        client.stop_stream()


if __name__ == "__main__":
    for word in words(sys.argv[1], *(sys.argv[2:] or ["localhost:9000"])):
        print(word, flush=True)
