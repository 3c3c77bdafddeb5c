"""The messages of the gRPC side: their pool is nobody else's."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import pytest

from graph_runtime import _pb as graph_pb
from server import _pb
from server._pb.grpc.health.v1.health_pb2 import HealthCheckResponse
from server._pb.inference.grpc_predict_v2_pb2 import InferParameter, ModelInferRequest

FILES = [file.name for file in _pb.FILES]


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_a_module_with_its_messages(name: str) -> None:
    module = importlib.import_module("server._pb." + name.removesuffix(".proto").replace("/", ".") + "_pb2")
    assert module.DESCRIPTOR.message_types_by_name
    for message in module.DESCRIPTOR.message_types_by_name:
        assert getattr(module, message).DESCRIPTOR.name == message


def test_messages_pickle_as_themselves() -> None:
    request = ModelInferRequest(
        model_name="add",
        parameters={"OVMS_MP_TIMESTAMP": InferParameter(int64_param=3)},
        inputs=[ModelInferRequest.InferInputTensor(name="in", shape=[2])],
    )
    twin = pickle.loads(pickle.dumps(request))
    assert type(twin) is ModelInferRequest
    assert twin == request
    assert pickle.loads(pickle.dumps(request.inputs[0])) == request.inputs[0]


def test_enums_have_the_names_of_the_protocol() -> None:
    assert HealthCheckResponse.ServingStatus.Name(HealthCheckResponse.SERVICE_UNKNOWN) == "SERVICE_UNKNOWN"


def test_graphs_know_nothing_of_these_files() -> None:
    for name in FILES:
        with pytest.raises(KeyError):
            graph_pb.POOL.FindFileByName(name)


def test_the_process_wide_pool_stays_free_for_the_packages_of_others() -> None:
    code = (
        "import server._pb.inference.grpc_predict_v2_pb2\n"
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "file = descriptor_pb2.FileDescriptorProto(name='theirs.proto', package='inference')\n"
        "file.message_type.add(name='ModelInferRequest')\n"
        "descriptor_pool.Default().AddSerializedFile(file.SerializeToString())\n"
        "print(descriptor_pool.Default().FindMessageTypeByName('inference.ModelInferRequest').file.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("theirs.proto", "")
