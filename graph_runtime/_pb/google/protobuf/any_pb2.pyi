
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import well_known_types as _well_known_types
import builtins as _builtins
import sys
import typing as _typing

if sys.version_info >= (3, 11):
    from typing import TypeAlias as _TypeAlias, Never as _Never
else:
    from typing_extensions import TypeAlias as _TypeAlias, Never as _Never

DESCRIPTOR: _descriptor.FileDescriptor

@_typing.final
class Any(_message.Message, _well_known_types.Any):

    DESCRIPTOR: _descriptor.Descriptor

    TYPE_URL_FIELD_NUMBER: _builtins.int
    VALUE_FIELD_NUMBER: _builtins.int
    type_url: _builtins.str
    value: _builtins.bytes
    def __init__(
        self,
        *,
        type_url: _builtins.str = ...,
        value: _builtins.bytes = ...,
    ) -> None: ...
    _HasFieldArgType: _TypeAlias = _Never  # noqa: Y015
    def HasField(self, field_name: _HasFieldArgType) -> _builtins.bool: ...
    _ClearFieldArgType: _TypeAlias = _typing.Literal["type_url", b"type_url", "value", b"value"]  # noqa: Y015
    def ClearField(self, field_name: _ClearFieldArgType) -> None: ...
    def WhichOneof(self, oneof_group: _Never) -> None: ...

Global___Any: _TypeAlias = Any  # noqa: Y015
