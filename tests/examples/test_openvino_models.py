"""examples/openvino_models: its models are made, a real server serves them and its graphs, over HTTP and gRPC."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from examples.openvino_models import client
from server._pb.inference import grpc_predict_v2_pb2 as pb

EXAMPLE = Path(__file__).parents[2] / "examples" / "openvino_models"
ROW = [float(number) for number in range(10)]

pytestmark = pytest.mark.model


class Served(NamedTuple):
    folder: Path
    http: str
    grpc: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("openvino") / "served"
    shutil.copytree(EXAMPLE / "served", folder)
    subprocess.run([sys.executable, EXAMPLE / "make_models.py", folder], check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    flags = [
        "--config_path",
        str(folder / "config.json"),
        "--rest_port",
        "0",
        "--port",
        str(port),
        "--load_wait_s",
        "60",
    ]
    process = subprocess.Popen([sys.executable, "-m", "server.cli", "serve", *flags], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        for line in process.stdout:
            if line.startswith("Ready"):
                break
        yield Served(folder, url, f"127.0.0.1:{port}", process)
        process.terminate()


def test_the_client_gets_the_answers_of_all_models_and_graphs(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    client.main(served.http)
    one_more = [number + 1 for number in ROW]
    assert capsys.readouterr().out.splitlines() == [
        f"dummy {{'a': {one_more}}}",
        f"add {{'sum': {[2 * number for number in ROW]}}}",
        f"sum_of_two {{'sum': {[2 * number + 1 for number in ROW]}}}",
        "both_sides {'below': [-1.5, 0.0, 0.0], 'above': [0.0, 0.0, 2.5]}",
    ]


def test_grpc_tells_and_takes_the_same(served: Served) -> None:
    with grpc.insecure_channel(served.grpc) as channel:
        service = "/inference.GRPCInferenceService"
        metadata = channel.unary_unary(
            f"{service}/ModelMetadata", pb.ModelMetadataRequest.SerializeToString, pb.ModelMetadataResponse.FromString
        )(pb.ModelMetadataRequest(name="sum_of_two"), timeout=60)
        assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
            ("first", "FP32", [1, 10]),
            ("second", "FP32", [1, 10]),
        ]
        tensors = [
            pb.ModelInferRequest.InferInputTensor(name=name, datatype="FP32", shape=[1, 10])
            for name in ("first", "second")
        ]
        raw = np.array(ROW, dtype=np.float32).tobytes()
        infer = channel.unary_unary(
            f"{service}/ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )
        request = pb.ModelInferRequest(model_name="sum_of_two", inputs=tensors, raw_input_contents=[raw, raw])
        answer = infer(request, timeout=60)
        assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2 * x + 1 for x in ROW]
        request.inputs[0].shape[:] = [10]
        with pytest.raises(grpc.RpcError) as caught:
            infer(request, timeout=60)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert 'input "b" of the model "dummy" takes FP32 [1,10], and got FP32 [10]' in str(caught.value.details())


def test_the_server_itself_never_loads_openvino_and_shares_the_models_of_its_graphs(served: Served) -> None:
    maps = Path(f"/proc/{served.process.pid}/maps")
    if not maps.exists():
        pytest.skip("there is no /proc")
    client.main(served.http)
    assert "libopenvino" not in maps.read_text()
    assert len(workers(served.process.pid)) == 3  # dummy, add, sides


def workers(parent: int) -> list[int]:
    """The processes of models that a server has started, on any of its threads."""
    threads = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for each in threads for pid in each.read_text().split()]
    return [pid for pid in pids if "calculators.inference.worker" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_a_new_version_is_taken_up_while_the_server_runs(served: Served) -> None:
    """Version 2 of ``both_sides``'s model has the same tensors, and numbers of another kind."""
    models = served.folder / "both_sides" / "sides"
    shutil.copytree(models / "1", models / "2.part")
    xml = models / "2.part" / "sides.xml"
    text = xml.read_text()
    swapped = text.replace('type="Minimum"', "swap").replace('type="Maximum"', 'type="Minimum"')
    xml.write_text(swapped.replace("swap", 'type="Maximum"'))
    (models / "2.part").rename(models / "2")
    urllib.request.urlopen(urllib.request.Request(f"{served.http}/v1/config/reload", b""), timeout=120).close()
    answer = client.infer(served.http, "both_sides", {"numbers": ([2], [-1.0, 1.0])})
    assert answer == {"below": [0.0, 1.0], "above": [-1.0, 0.0]}
