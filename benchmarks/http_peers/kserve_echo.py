"""The KServe Python SDK with a model "echo" that gives its input back; usage: kserve_echo.py PATH PORT LOGS."""

import logging
import sys
from typing import Any

import kserve


class Echo(kserve.Model):  # type: ignore[misc]  # its environment is another one
    """Gives its input back."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Input to numpy, and back."""
        given = payload.inputs[0]
        out = kserve.InferOutput("out", given.shape, given.datatype)
        out.set_data_from_numpy(given.as_numpy(), binary_data=False)
        return kserve.InferResponse(payload.id, self.name, [out])


if __name__ == "__main__":
    if sys.argv[3] == "off":
        logging.disable(logging.INFO)  # its access log, and the times that it writes for each request
    kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([Echo()])
