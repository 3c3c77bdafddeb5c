"""The messages and services of the gRPC side, in a descriptor pool of their own.

All but this file is made from ``proto/`` by ``python proto/build.py``. The reasons for a private pool are those of
:mod:`graph_runtime._pb`: tritonclient and the packages of gRPC register files and messages of the same names in protobuf's
process-wide pool, and one process may hold both. It is not the pool of graphs either, where a user's options may use these names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from graph_runtime._pb import export as _export
from graph_runtime._pb import make_class, message_class

POOL: Final = DescriptorPool()
"""Holds every file below ``proto/inference`` and ``proto/grpc``."""

FILES: Final = tuple(FileDescriptorSet.FromString(Path(__file__).with_name("descriptors.binpb").read_bytes()).file)
"""The same files, as reflection hands them out."""


def export(file_name: str, namespace: dict[str, Any]) -> FileDescriptor:
    """Put the messages and enums of a file into a module's namespace."""
    return _export(file_name, namespace, POOL)


def _reduce(message: Message) -> tuple[Any, ...]:
    return _rebuild, (message.DESCRIPTOR.full_name, message.SerializeToString())


def _rebuild(full_name: str, data: bytes) -> Message:
    message = message_class(full_name, POOL)()
    message.ParseFromString(data)
    return message


for _file in FILES:
    POOL.AddSerializedFile(_file.SerializeToString())
    for _message in POOL.FindFileByName(_file.name).message_types_by_name.values():
        make_class(_message, _reduce)
