"""LitServe with a model that gives its request back; usage: litserve_echo.py PATH PORT LOGS."""

import sys
from typing import Any

import litserve


class Echo(litserve.LitAPI):  # type: ignore[misc]  # its environment is another one
    """Gives its request back."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def predict(self, request: Any) -> Any:
        """The request."""
        return request


if __name__ == "__main__":
    server = litserve.LitServer(Echo(api_path=sys.argv[1]), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning" if sys.argv[3] == "off" else "info",
    )
