"""``--source_loras``: where LoRA adapters come from, and the blends that are made of them.

::

    pokemon=org/pokemon-lora@weights.safetensors:0.8,mine=./mine.safetensors,mix=@pokemon:0.7+@mine:0.5

Grammar (source: OVMS's command line): ``alias=source[:alpha]``, separated by commas. A source is a URL (``http://``,
``https://``), a file (``/``, ``./``), a repository of the Hugging Face hub (``org/repo[@file]``), or a blend of other aliases
(``@alias[:alpha]+@alias...``). Beyond OVMS's: the port of a URL is no alpha, a backslash before ``,``, ``:`` or another backslash
makes it part of the source, and each alias may be there once.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:  # the flags are made for --help too, which has to be quick
    from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions

LoraKind = Literal["URL", "LOCAL", "HF_REPO", "COMPOSITE"]

SUFFIX: Final = ".safetensors"
FOLDER: Final = "loras"
"""Where downloaded adapters are kept, inside the model folder."""

_ALIAS: Final = re.compile(r"[A-Za-z0-9._-]+")
_ALPHA: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LOCAL: Final = re.compile(r"/|\.{1,2}[/\\]|~/|[A-Za-z]:[/\\]")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_EXAMPLE: Final = "an example: style=org/repo@file.safetensors:0.8,mine=./mine.safetensors,mix=@style:0.7+@mine:0.5"


@dataclass(frozen=True, slots=True)
class LoraSource:
    """One entry.

    Attributes:
        alias: the name of the adapter, or of the blend, in requests.
        kind: what ``source`` is.
        source: a URL, the absolute path of a file, or ``org/repo``; "" for a blend.
        file: the file's name; for a repository its path in there, None where it has to be looked up.
        components: of a blend, the alias of each adapter and its weight (None for the adapter's own).
        alpha: the adapter's weight where a request names none; None where it is not given.
    """

    alias: str
    kind: LoraKind
    source: str = ""
    file: str | None = None
    components: tuple[tuple[str, float | None], ...] = ()
    alpha: float | None = None

    @property
    def path(self) -> str:
        """Where the adapter's file is, absolute or relative to the model folder (source: OVMS, where its downloads go).

        Raises:
            ValueError: it is in a repository, and nobody has looked up which file; or it is a blend.
        """
        if self.kind == "LOCAL":
            return self.source
        if self.file is None:
            raise ValueError(
                f'the adapter "{self.alias}": it is not known which file of {self.source or "a blend"} it is'
            )
        return str(PurePosixPath(FOLDER, self.alias if self.kind == "URL" else self.source, self.file))


def parse_loras(text: str) -> tuple[LoraSource, ...]:
    """The entries of the flag, in their order; none for an empty text.

    Raises:
        ValueError: the text does not follow the grammar, or names a file that is not there; the message says where.
    """
    if not text.strip():
        return ()
    found: dict[str, LoraSource] = {}
    for part in _split(text, ","):
        lora = _entry(part.strip())
        if lora.alias in found:
            raise ValueError(f'the alias "{lora.alias}" is there twice; give each adapter one of its own')
        found[lora.alias] = lora
    adapters = [lora.alias for lora in found.values() if lora.kind != "COMPOSITE"]
    for lora in found.values():
        for alias, _ in lora.components:
            if alias not in adapters:
                near = difflib.get_close_matches(alias, adapters, n=1)
                hint = f"; did you mean @{near[0]}?" if near else f"; adapters: {', '.join(adapters) or 'none'}"
                raise ValueError(f'"{lora.alias}" blends @{alias}, and no adapter has this alias{hint}')
    return tuple(found.values())


def set_adapters(options: ImageGenCalculatorOptions, loras: Sequence[LoraSource]) -> None:
    """Write the adapters into a node's options, in place of those that it has; its device has to be set before.

    Raises:
        ValueError: it is not known which file an adapter is; or several adapters for an NPU, which takes one, or one blend.
    """
    from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import LoraLoadMode

    del options.lora_adapters[:]
    del options.composite_lora_adapters[:]
    on_npu = "NPU" in options.device  # it takes adapters that are compiled in alone
    adapters = [lora for lora in loras if lora.kind != "COMPOSITE"]
    if on_npu and len(adapters) > 1 and len(adapters) == len(loras):
        raise ValueError("an NPU takes one adapter, or one blend of several; add a blend, such as mix=@a:0.7+@b:0.5")
    for lora in adapters:
        mode = LoraLoadMode.STATIC if on_npu else LoraLoadMode.DYNAMIC
        options.lora_adapters.add(alias=lora.alias, path=lora.path, alpha=lora.alpha, mode=mode)
    for lora in loras:
        if lora.kind == "COMPOSITE":
            components = options.composite_lora_adapters.add(alias=lora.alias).components
            for alias, alpha in lora.components:
                components.add(adapter_alias=alias, alpha=alpha)


def _entry(text: str) -> LoraSource:
    alias, equals, rest = text.partition("=")
    alias = alias.strip()
    if not text:
        raise ValueError(f"there is a comma too many; {_EXAMPLE}")
    if not equals or "/" in alias:  # a URL or a path that has an equals sign
        raise ValueError(f'"{text}" has no alias; {_EXAMPLE}')
    if not _ALIAS.fullmatch(alias) or alias in (".", ".."):  # it becomes the name of a folder too
        raise ValueError(f'"{alias}" in "{text}" cannot be an alias: it takes letters, digits, ".", "_" and "-"')
    source = rest.strip()
    if not source:
        raise ValueError(f'"{text}" has no source; {_EXAMPLE}')
    if source.startswith("@"):
        return LoraSource(alias, "COMPOSITE", components=_components(alias, source))
    source, alpha = _split_alpha(alias, source)
    if re.match(r"https?://", source):
        return LoraSource(alias, "URL", source, _file_of_url(alias, source), alpha=alpha)
    if _LOCAL.match(source):
        path = _local_file(alias, source)
        return LoraSource(alias, "LOCAL", str(path), path.name, alpha=alpha)
    return LoraSource(alias, "HF_REPO", *_repository(alias, source), alpha=alpha)


def _components(alias: str, text: str) -> tuple[tuple[str, float | None], ...]:
    components: dict[str, float | None] = {}
    for part in text.split("+"):
        part = part.strip()
        name, colon, alpha = part.removeprefix("@").partition(":")
        if not part.startswith("@") or not _ALIAS.fullmatch(name):
            raise ValueError(f'"{part}" in the blend "{alias}" is no @alias; an example: mix=@a:0.7+@b:0.5')
        if name in components:
            raise ValueError(f'the blend "{alias}" has @{name} twice')
        components[name] = _alpha(alias, alpha) if colon else None
    return tuple(components.items())


def _split_alpha(alias: str, text: str) -> tuple[str, float | None]:
    """The source, and what follows its last colon, unless that goes on with a path: a port of a URL, or the letter of a drive."""
    *head, last = _split(text, ":")
    if not head or "/" in last or "\\" in last:
        return _plain(text), None
    return _plain(":".join(head).rstrip()), _alpha(alias, last)


def _alpha(alias: str, text: str) -> float:
    text = text.strip()
    number = float(text) if _ALPHA.fullmatch(text) else math.nan
    try:
        struct.pack("<f", number)  # the option is a float of 32 bits
    except OverflowError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(
            f'"{text}" is no alpha for "{alias}": give a number, such as 0.8; a colon in a source is written \\:'
        )
    return number


def _file_of_url(alias: str, url: str) -> str:
    try:
        address = urlsplit(url)
        host, _ = address.hostname, address.port  # the port raises if it is none
    except ValueError as error:
        raise ValueError(f'"{url}" of "{alias}" is no URL: {error}') from None
    name = PurePosixPath(unquote(address.path)).name
    if not host or not name.endswith(SUFFIX) or name == SUFFIX or not name.isprintable():
        raise ValueError(f'the URL "{url}" of "{alias}" has to name a host and a {SUFFIX} file')
    return name


def _local_file(alias: str, text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if path.suffix != SUFFIX:
        raise ValueError(f'the file "{text}" of "{alias}" is no {SUFFIX} file, and others are not read')
    if not path.is_file():
        raise ValueError(f'the file "{text}" of "{alias}" is not there (looked at {path})')
    return path


def _repository(alias: str, text: str) -> tuple[str, str | None]:
    repository, at, file = text.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(
            f'"{repository}" of "{alias}" is no source: give org/repo of the hub, a URL, or a file that begins with / or ./'
        )
    if not at:
        return repository, None
    if not file.endswith(SUFFIX) or file.startswith("/") or ".." in PurePosixPath(file).parts:
        raise ValueError(f'"{file}" of "{alias}" has to be a {SUFFIX} file in {repository}')
    return repository, file


def _split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that no backslash stands before; backslashes stay."""
    parts = [""]
    for piece in re.findall(r"\\[,:\\]|.", text, re.DOTALL):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _plain(text: str) -> str:
    return re.sub(r"\\([,:\\])", r"\1", text)
