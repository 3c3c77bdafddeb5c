"""The project's protobuf messages, in a descriptor pool of their own.

The pool is filled from ``descriptors.binpb``; the modules below this package only give names to its message classes.
All but this file is made from ``proto/`` by ``python proto/build.py``.

Why not protoc's own Python modules: they register their files in protobuf's process-wide default pool. The mediapipe
wheel registers files of the same names there, and one process may hold both. They also demand the protobuf release that
they were made for, while a descriptor set is read by every release from 4.25 on.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

POOL: Final = DescriptorPool()
"""Holds every file below ``proto/``, ``google/protobuf/any.proto``, and what ``add_files`` added."""

_lock = threading.Lock()
_files: list[descriptor_pb2.FileDescriptorProto] = []  # all that POOL holds, in the order in which they were added
_own: set[str] = set()  # the names of the project's files
_without_required: tuple[int, DescriptorPool] = (0, DescriptorPool())  # made from that many of them


def message_class(full_name: str, pool: DescriptorPool = POOL) -> type[Message]:
    """The class of a message such as ``mediapipe.GateCalculatorOptions``.

    Raises:
        KeyError: the pool has no such message.
    """
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))


def add_files(files: descriptor_pb2.FileDescriptorSet) -> list[FileDescriptor]:
    """Add files, each after the files that it imports, and make their message classes.

    A file that the pool has already is left out. Of the project's own and of protobuf's files, other releases may be in the set:
    the pool's own stay in force.

    Returns: the descriptors of all files of the set, in its order.

    Raises:
        TypeError: a file does not fit the pool (an import is missing; its name, that of a message or an extension number is taken).
    """
    with _lock:
        found = []
        for file in files.file:
            if not _has_file(file.name):
                _add_file(file)
            elif file.name not in _own and not file.name.startswith("google/protobuf/"):
                _compare(file)
            found.append(POOL.FindFileByName(file.name))
            for descriptor in found[-1].message_types_by_name.values():
                make_class(descriptor, _reduce)
        return found


def is_repeated(field: Any) -> bool:
    """Whether a field may have several values. protobuf 4 has only ``label`` for this, protobuf 7 warns of it."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def is_required(field: Any) -> bool:
    """Whether a message without this field is incomplete (proto2)."""
    if hasattr(field, "is_required"):
        return bool(field.is_required)
    return bool(field.label == FieldDescriptor.LABEL_REQUIRED)


def pool_without_required() -> DescriptorPool:
    """A copy of the pool in which every required field is optional.

    Text that lacks one can be read with it, to see what else is wrong: protobuf refuses to put an incomplete message
    into an Any.
    """
    global _without_required
    with _lock:
        count, pool = _without_required
        if count != len(_files):
            pool = DescriptorPool()
            for file in _files:
                relaxed = descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString())
                _relax(relaxed.extension, relaxed.message_type)
                pool.AddSerializedFile(relaxed.SerializeToString())
            for file in _files:
                message_factory.GetMessageClassesForFiles([file.name], pool)
            _without_required = (len(_files), pool)
        return pool


def make_class(descriptor: Descriptor, reduce: Callable[[Message], tuple[Any, ...]]) -> None:
    """Make the class of a message and of those inside it; ``reduce`` says how they pickle.

    Messages would pickle by name in the default pool, which does not know the class, or has another one of its name.
    """
    # Making the class also registers the extensions inside the message: pure Python protobuf finds them no other way.
    cls = message_factory.GetMessageClass(descriptor)
    copyreg.pickle(cls, reduce)
    for nested in descriptor.nested_types:
        make_class(nested, reduce)
        if not hasattr(cls, nested.name):  # pure Python protobuf leaves this to generated code
            setattr(cls, nested.name, message_factory.GetMessageClass(nested))


def export(file_name: str, namespace: dict[str, Any], pool: DescriptorPool = POOL) -> FileDescriptor:
    """Put the top-level messages, enums, enum values and extensions of a file into a module's namespace."""
    file = pool.FindFileByName(file_name)
    for imported in file.public_dependencies:
        for name, message in imported.message_types_by_name.items():
            namespace[name] = message_factory.GetMessageClass(message)
    for name, message in file.message_types_by_name.items():
        cls = namespace[name] = message_factory.GetMessageClass(message)
        cls.__module__ = namespace["__name__"]
    for name, enum in file.enum_types_by_name.items():
        namespace[name] = EnumTypeWrapper(enum)
        namespace.update({value.name: value.number for value in enum.values})
    namespace.update(file.extensions_by_name)
    return file


def _has_file(name: str) -> bool:
    try:
        POOL.FindFileByName(name)
    except KeyError:
        return False
    return True


def _add_file(file: descriptor_pb2.FileDescriptorProto) -> None:
    # The checks are protobuf's own, but for its pure Python form, which makes them late or not at all.
    for imported in file.dependency:
        if not _has_file(imported):
            raise TypeError(f"{file.name} imports {imported}, which is not known")
    for message in file.message_type:
        name = f"{file.package}.{message.name}".removeprefix(".")
        try:
            owner = POOL.FindMessageTypeByName(name).file.name
        except KeyError:
            continue
        raise TypeError(f"{file.name} defines {name}, and so does {owner}")
    try:
        POOL.AddSerializedFile(file.SerializeToString())
    except AssertionError as error:
        raise TypeError(str(error)) from error
    _files.append(file)


def _compare(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Refuse a file that has the name of another one; how it was compiled makes no difference."""
    have = descriptor_pb2.FileDescriptorProto()
    POOL.FindFileByName(file.name).CopyToProto(have)
    if _fields(have.package, have) != _fields(file.package, file):
        raise TypeError(
            f"another file is registered under the name {file.name}, with other messages; a file is named by its path from the "
            "folder in which imports are looked up, so give a folder further out (proto_paths), or call it something else"
        )


def _fields(scope: str, message: Any) -> set[tuple[object, ...]]:
    """Names, numbers and types of all fields in a file or message, extensions and enum values too."""
    found: set[tuple[object, ...]] = set()
    for field in (*getattr(message, "field", ()), *message.extension):
        type_name = field.type_name.rpartition(".")[2]  # the package is spelt out or not
        found.add(
            (scope, field.name, field.number, field.label, field.type, type_name, field.extendee.rpartition(".")[2])
        )
    for enum in message.enum_type:
        found |= {(scope, enum.name, value.name, value.number) for value in enum.value}
    for nested in (*getattr(message, "message_type", ()), *getattr(message, "nested_type", ())):
        found |= {(scope, nested.name)} | _fields(f"{scope}.{nested.name}", nested)
    return found


def _relax(
    fields: Iterable[descriptor_pb2.FieldDescriptorProto], messages: Iterable[descriptor_pb2.DescriptorProto]
) -> None:
    for field in fields:
        if field.label == field.LABEL_REQUIRED:
            field.label = field.LABEL_OPTIONAL
    for message in messages:
        _relax([*message.field, *message.extension], message.nested_type)


def _reduce(message: Message) -> tuple[Any, ...]:
    return _rebuild, (message.DESCRIPTOR.full_name, message.SerializePartialToString())


def _rebuild(full_name: str, data: bytes) -> Message:
    message = message_class(full_name)()
    message.ParseFromString(data)
    return message


add_files(descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("descriptors.binpb").read_bytes()))
_own.update(file.name for file in _files)
