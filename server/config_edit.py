"""Entries of config.json that are added and removed in its text: all else stays as it was written.

Source: OVMS's ``--add_to_config`` and ``--remove_from_config``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from graph_runtime.positions import FieldPath, Positions
from server.atomic_file import locked_folder, replace_file
from server.config_file import GRAPHS_LIST, MODELS_LIST, Entry, belongs_to_a_model, read_config_file
from server.json_file import JsonFile, read_json_file
from server.settings import SettingsError

_decode: Final = json.JSONDecoder().raw_decode


def add_to_config(path: Path, entry: Mapping[str, Any]) -> None:
    """Add ``{"config": entry}`` to ``model_config_list``; the file, and the list, are made if they are not there.

    Args:
        path: the config.json; its folder has to be there.
        entry: ``name`` at least.

    Raises:
        SettingsError: the file is broken, or has the name already (OVMS: MODEL_NAME_OCCUPIED). Nothing has changed.
        OSError: it cannot be written. Nothing has changed.
    """
    with locked_folder(path.parent):
        taken = _entry_named(path, entry["name"])
        if taken is not None:
            raise SettingsError(
                f"{taken.place}: the name {entry['name']!r} is taken; remove that entry first, or choose another --model_name"
            )
        item = {"config": dict(entry)}
        try:
            text, file = _read(path)
        except FileNotFoundError:
            text, file = "{}", JsonFile({}, Positions(str(path)))
        wanted = {**file.value, MODELS_LIST: [*file.value.get(MODELS_LIST, []), item]}
        _replace(path, _with_item(text, file, item), wanted)


def remove_from_config(path: Path, name: str) -> None:
    """Remove the entry of a name from the list that has it.

    Raises:
        SettingsError: there is no file, it is broken, or has no such name (OVMS: MODEL_NAME_MISSING). Nothing has changed.
        OSError: it cannot be written. Nothing has changed.
    """
    with locked_folder(path.parent):
        if not path.is_file():
            raise SettingsError(f"{path} does not exist, so that nothing can be removed from it")
        entry = _entry_named(path, name)
        if entry is None:
            names = ", ".join(repr(each.name) for each in read_config_file(path).entries) or "none"
            raise SettingsError(f"{path} has no entry with the name {name!r}; it has: {names}")
        text, file = _read(path)
        for key in (MODELS_LIST, GRAPHS_LIST):
            for at, item in enumerate(file.value.get(key, [])):
                if (item.get("config") or item).get("name") == name:
                    rest = [each for index, each in enumerate(file.value[key]) if index != at]
                    _replace(path, _without_item(text, file, key, at), {**file.value, key: rest})
                    return


def _entry_named(path: Path, name: str) -> Entry | None:
    return next((entry for entry in read_config_file(path).entries if entry.name == name), None)


def _read(path: Path) -> tuple[str, JsonFile]:
    """The text that the positions of the file belong to, and the file.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it is one that model folders have, and none of a server's.
    """
    file = read_json_file(path)
    if belongs_to_a_model(file.value):
        raise SettingsError(f"{path} is the config.json of a model, and none that lists models; choose another file")
    return path.read_bytes().decode("utf-8-sig"), file


def _replace(path: Path, text: str, wanted: Mapping[str, Any]) -> None:
    assert json.loads(text) == wanted
    replace_file(path, text)


def _with_item(text: str, file: JsonFile, item: Mapping[str, Any]) -> str:
    written = json.dumps(item, ensure_ascii=False)
    list_of_one = f"[\n    {written}\n  ]"
    items = file.value.get(MODELS_LIST)
    if items:
        start, end = _span(text, file, (MODELS_LIST, len(items) - 1))
        before = text[:start]
        return f"{text[:end]},{before[len(before.rstrip()) :] or ' '}{written}{text[end:]}"
    if items is not None:
        start, end = _span(text, file, (MODELS_LIST,))
        return text[:start] + list_of_one + text[end:]
    start = text.index("{") + 1
    rest = f",{text[start:]}" if file.value else "\n}\n"
    return f'{text[:start]}\n  "{MODELS_LIST}": {list_of_one}{rest}'


def _without_item(text: str, file: JsonFile, key: str, at: int) -> str:
    start, end = _span(text, file, (key, at))
    if at + 1 < len(file.value[key]):
        return text[:start] + text[_span(text, file, (key, at + 1))[0] :]
    if at:
        return text[: _span(text, file, (key, at - 1))[1]] + text[end:]
    start, end = _span(text, file, (key,))
    return f"{text[:start]}[]{text[end:]}"


def _span(text: str, file: JsonFile, path: FieldPath) -> tuple[int, int]:
    """Where a value begins and ends; the position of a key's value is that of the key."""
    start = file.positions.offsets[path]
    if isinstance(path[-1], str):
        start = text.index(":", _decode(text, start)[1]) + 1
        start = len(text) - len(text[start:].lstrip())
    return start, _decode(text, start)[1]
