"""tritonclient over HTTP against a running server."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.clients.conftest import SERVED

httpclient = pytest.importorskip("tritonclient.http", reason="nox -s clients installs it")
from tritonclient.utils import InferenceServerException  # noqa: E402  # only where tritonclient is installed

DATATYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with httpclient.InferenceServerClient(address, connection_timeout=60, network_timeout=120) as made:
        yield made


def tensor(name: str, array: Any, datatype: str, *, binary: bool = True) -> Any:
    made = httpclient.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def values(datatype: str) -> Any:
    if datatype == "BYTES":
        return np.array([["a", "\u00e4b"], ["", "c:d"]], dtype=np.object_)
    return np.array([[0, 1], [1, 1]]).astype(DATATYPES[datatype])


def test_the_server_and_its_models_say_how_they_are(client: Any) -> None:
    assert client.is_server_live()
    assert client.get_server_metadata()["name"] == "graph-runtime"
    for model in ("pass", "my/two", "shapes"):
        metadata = client.get_model_metadata(model)
        assert metadata["name"] == model
        assert client.is_model_ready(model)
    assert client.is_server_ready()
    assert not client.is_model_ready("nothing")
    assert {each["name"]: each["state"] for each in client.get_model_repository_index()} == dict.fromkeys(
        SERVED, "READY"
    )
    assert client.get_model_metadata("shapes", "1")["inputs"] == [{"name": "input", "datatype": "BYTES", "shape": [1]}]


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_of_every_datatype_come_back(client: Any, datatype: str, binary_in: bool, binary_out: bool) -> None:
    if datatype == "FP16" and not binary_in:
        pytest.skip("the client sends FP16 in binary form alone")
    sent = values(datatype)
    outputs = [httpclient.InferRequestedOutput("out", binary_data=binary_out)]
    result = client.infer("pass", [tensor("in", sent, datatype, binary=binary_in)], outputs=outputs, request_id="7")
    assert result.get_response()["id"] == "7"
    found = result.as_numpy("out")
    if datatype == "BYTES":
        found = np.vectorize(lambda text: text if isinstance(text, str) else text.decode())(found)
    assert found.shape == sent.shape
    assert found.tolist() == sent.tolist()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_and_answers(client: Any, algorithm: str) -> None:
    sent = np.arange(10_000, dtype=np.float32)
    result = client.infer(
        "pass",
        [tensor("in", sent, "FP32")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.array_equal(result.as_numpy("out"), sent)


def test_two_inputs_and_the_outputs_that_are_asked_for(client: Any) -> None:
    inputs = [tensor("a", np.ones((1, 10), np.float32), "FP32"), tensor("b", values("BYTES"), "BYTES", binary=False)]
    result = client.infer("my/two", inputs)
    assert result.as_numpy("c").shape == (1, 10)
    assert result.as_numpy("d").shape == (2, 2)
    only = client.infer("my/two", inputs, outputs=[httpclient.InferRequestedOutput("d")])
    assert only.as_numpy("c") is None


def test_parameters_are_side_packets(client: Any) -> None:
    inputs = [tensor("tick", np.zeros(1, np.float32), "FP32")]
    result = client.infer("side", inputs, parameters={"word": "hello", "number": 2**40, "OVMS_MP_TIMESTAMP": 2**40})
    assert result.as_numpy("said").tolist() == [b"hello"]
    assert result.as_numpy("counted").tolist() == [2**40]
    assert result.get_response()["parameters"]["OVMS_MP_TIMESTAMP"] == 2**40


def test_a_picture_comes_back(client: Any) -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(client.infer("picture", [tensor("picture", pixels, "UINT8")]).as_numpy("same"), pixels)


def test_a_picture_is_drawn(client: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    body = json.dumps({"prompt": "a red circle on a blue background", "rng_seed": 7, "num_inference_steps": 4})
    result = client.infer("shapes", [tensor("input", np.array([body], dtype=np.object_), "BYTES")])
    (answer,) = result.as_numpy("output")
    (data,) = json.loads(answer)["data"]
    assert image.open(io.BytesIO(base64.b64decode(data["b64_json"]))).size == (64, 64)


def test_many_requests_at_once(client: Any) -> None:
    arrays = [np.full((2, 2), number, np.int32) for number in range(20)]
    asked = [client.async_infer("pass", [tensor("in", array, "INT32")]) for array in arrays]
    for array, request in zip(arrays, asked, strict=True):
        assert np.array_equal(request.get_result().as_numpy("out"), array)


@pytest.mark.parametrize(
    ("model", "name", "parameters", "text"),
    [
        ("nothing", "in", {}, "The model 'nothing' does not exist"),
        ("pass", "other", {}, "Unexpected input 'other': the graph takes 'in'"),
        ("my/two", "a", {}, "Not all input packets created: 'b' is missing"),
        ("side", "tick", {"word": "x"}, "The graph needs the side packet 'number'"),
        ("pass", "in", {"OVMS_MP_TIMESTAMP": "soon"}, "Malformed packet timestamp"),
        ("pass", "in", {"py": "x"}, "The parameter 'py' cannot be set"),
    ],
)
def test_errors_say_what_is_wrong(client: Any, model: str, name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [tensor(name, np.zeros(1, np.float32), "FP32")], parameters=parameters)
    assert text in caught.value.message()
    assert caught.value.status() in ("400", "404")
