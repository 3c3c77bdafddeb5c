"""Says a text word by word."""

from collections.abc import Iterator

from pyovms import Tensor


class OvmsPythonModel:
    """One object for all requests: what belongs to a request stays in ``execute``."""

    def execute(self, inputs: list[Tensor]) -> Iterator[list[Tensor]]:
        """Yield each word as soon as it is known; a text model would do its work between two of them."""
        for word in bytes(inputs[0]).decode().split():
            yield [Tensor("word", word.encode())]
