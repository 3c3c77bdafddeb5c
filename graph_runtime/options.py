"""The options messages that nodes carry: how one is found, and how a new kind becomes known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Error as ProtobufError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from graph_runtime import _pb
from graph_runtime.errors import GraphError, GraphFileNotFoundError, StatusCode
from graph_runtime.proto_files import compile_proto

M = TypeVar("M", bound=Message)


def find_options(carrier: Message, message_class: type[M]) -> M | None:
    """The options of one type that a node carries, or None.

    An extension in ``options`` comes first, then an Any of that type in ``node_options`` (``graph_options`` of a
    graph). What comes back is a new instance of the caller's class, whatever descriptor pool that belongs to.

    Args:
        carrier: a node, or any other message with such fields: a graph, an executor, a stream handler.
        message_class: the options message.

    Raises:
        GraphRuntimeError: the type stands in two Any fields (INTERNAL).
        InvalidArgumentError: the bytes stored for that type are no such message.
    """
    wanted = getattr(message_class, "DESCRIPTOR", None)
    if wanted is None:
        raise TypeError(f"options are asked for by their message class, not {message_class!r}")
    fields = carrier.DESCRIPTOR.fields_by_name
    packed = [
        packed
        for name in ("node_options", "graph_options")
        if name in fields
        for packed in getattr(carrier, name)
        if packed.type_url.rpartition("/")[2] == wanted.full_name
    ]
    if len(packed) > 1:
        raise GraphError(
            f"Options type: '{packed[0].type_url}' specified more than once for a single calculator node config.",
            code=StatusCode.INTERNAL,
        )
    try:
        data = _extension_data(carrier, message_class) if "options" in fields else None
        if data is None and packed:
            data = packed[0].value
        if data is None:
            return None
        found = message_class()
        found.ParseFromString(data)
    except ProtobufError as error:
        raise GraphError(
            f"the options of type {wanted.full_name} cannot be read: {error}", code=StatusCode.INVALID_ARGUMENT
        ) from error
    return found


def register_options(
    source: type[Message] | FileDescriptorSet | bytes | str | os.PathLike[str],
    *,
    proto_paths: Iterable[str | os.PathLike[str]] = (),
) -> list[type[Message]]:
    """Make options messages known, so that graphs can use them by name.

    Args:
        source: a message class of any pool; the path of a ``.proto`` file; or a descriptor set (``protoc --include_imports
            --descriptor_set_out``) as a message, in serialized form or as the path of a file. The project's own files
            (``mediapipe/framework/calculator.proto``) stay as they are, whatever the source says of them.
        proto_paths: where imports of a ``.proto`` file are looked up, beside its own folder and ``proto_path()``.

    Returns: the message classes of the files in their order, to read options with; of the class's or ``.proto`` file alone, where
    the source is one.

    Raises:
        GraphFileNotFoundError: there is no such file.
        InvalidArgumentError: a ``.proto`` file cannot be compiled, or the descriptors are broken, incomplete, or clash with
            messages that are known already.
        GraphRuntimeError: a ``.proto`` file needs a compiler, and there is none (FAILED_PRECONDITION).
    """
    label = "" if isinstance(source, (bytes, FileDescriptorSet, type)) else f"{os.fspath(source)}: "
    only: str | None = None
    try:
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            if path.suffix == ".proto":
                source = compile_proto(path, map(Path, proto_paths))
                only = source.file[-1].name
            else:
                source = _read(path)
        if isinstance(source, bytes):
            source = FileDescriptorSet.FromString(source)
        if not isinstance(source, FileDescriptorSet):
            file, source = source.DESCRIPTOR.file, FileDescriptorSet()
            only = file.name
            for needed in _with_imports(file, set()):
                needed.CopyToProto(source.file.add())
        files = _pb.add_files(source)
    except (TypeError, ProtobufError) as error:
        raise GraphError(
            f"{label}these options cannot be registered: {' '.join(str(error).split())}",
            code=StatusCode.INVALID_ARGUMENT,
        ) from error
    return [
        GetMessageClass(message)
        for file in files
        if only in (None, file.name)
        for message in file.message_types_by_name.values()
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GraphFileNotFoundError(
            f"The path does not exist: {path}", code=StatusCode.NOT_FOUND, place=str(path)
        ) from error
    except OSError as error:
        raise GraphError(f"{path}: it cannot be read: {error}", code=StatusCode.UNKNOWN, place=str(path)) from error


def _extension_data(carrier: Any, message_class: type[Message]) -> bytes | None:
    """The bytes of a message that is an extension in the carrier's ``options``, or None."""
    if not carrier.HasField("options"):
        return None
    wanted = message_class.DESCRIPTOR
    options: Message = carrier.options
    for extension in (*wanted.extensions, *wanted.file.extensions_by_name.values()):
        owner, kind = extension.containing_type, extension.message_type
        if owner is None or kind is None or kind.full_name != wanted.full_name or _pb.is_repeated(extension):
            continue
        if owner.full_name == options.DESCRIPTOR.full_name:
            # The carrier's pool need not know the extension, but the caller's does: read with the class of that pool.
            own: Any = GetMessageClass(owner)()
            own.ParseFromString(options.SerializePartialToString())
            if own.HasExtension(extension):
                data: bytes = own.Extensions[extension].SerializePartialToString()
                return data
    return None


def _with_imports(file: Any, seen: set[str]) -> Iterator[Any]:
    """A file after all files that it imports, directly or not."""
    if file.name not in seen:
        seen.add(file.name)
        for imported in file.dependencies:
            yield from _with_imports(imported, seen)
        yield file
