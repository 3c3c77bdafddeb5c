"""The references of the site have everything that there is: names, commands, flags, settings, addresses, calculators."""

from __future__ import annotations

import re
from dataclasses import fields
from html import unescape
from pathlib import Path

import pytest

from docs.extensions import calculators, commands, http
from docs.extensions.generated import fill
from docs.extensions.python import PACKAGES, public_names
from graph_runtime import GraphError, find_calculator
from server.openapi import OPERATIONS, openapi_document
from server.settings import Settings


def shown(site: Path, page: str) -> str:
    """The text of a page of the reference, without its marks."""
    html = (
        (site / "reference" / f"{page}.html")
        .read_text(encoding="utf-8")
        .partition("<article")[2]
        .partition("</article>")[0]
    )
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_every_public_name_and_every_error_is_described(site: Path) -> None:
    described = {
        name
        for page in (site / "reference").glob("*.html")
        for name in re.findall(r'<dt class="sig[^>]* id="([\w.]+)"', page.read_text(encoding="utf-8"))
    }
    modules = {"graph_runtime.packet_creator", "graph_runtime.packet_getter"}  # their functions are described
    wanted = {name for package in PACKAGES for name in public_names(package)} - modules
    wanted |= {f"{each.__module__}.{each.__name__}" for each in GraphError.__subclasses__()}
    assert wanted - described == set(), "the pages of docs/reference have to name these"
    assert len(described) > 250


def test_every_command_and_flag_of_help_is_there(site: Path) -> None:
    text = shown(site, "commands")
    for name, _, parser in commands.commands():
        part = text.partition(f"\n{name}\N{PILCROW SIGN}\n")[2] or text.partition(f"{name}#")[2]
        assert part, name
        for action in commands.shown(parser._actions):
            for flag in action.option_strings:
                assert flag in part, f"{name} {flag}"


def test_every_setting_is_there_with_its_other_names(site: Path) -> None:
    words = set(shown(site, "settings").replace(",", " ").split())
    for setting in fields(Settings):
        about = setting.metadata
        assert {
            setting.name,
            *about["aliases"],
            *about["variables"],
            *(f"--{name}" for name in about["flags"]),
        } <= words


def test_every_address_parameter_schema_and_status_is_there(site: Path) -> None:
    text = shown(site, "http")
    document = openapi_document(key_needed=True)
    for path, methods in document["paths"].items():
        assert path in text
        for method in methods:
            assert any(
                f"{method.upper()} {each}" in text for row in OPERATIONS if path in row.paths for each in row.paths
            )
    for name, schema in document["components"]["schemas"].items():
        assert all(field in text.partition(f"\n{name}")[2] for field in schema.get("properties", ())), name
    for answer in document["components"]["responses"].values():
        assert answer["description"] in text
    assert all(name in text for name in document["components"]["parameters"])


def test_every_calculator_is_there_with_its_options(site: Path) -> None:
    text = shown(site, "calculators")
    for name in calculators.names():
        assert find_calculator(name).__doc__
        assert name in text
    assert "mediapipe.GateCalculatorOptions" in text
    assert "What holds when there is neither a control stream nor a control side packet." in text
    assert "max_num_images_per_prompt" in text


def test_a_schema_is_told_in_words() -> None:
    assert (
        http.type_of({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 10}, {"type": "null"}]})
        == "integer (from 1, to 10) or null"
    )
    assert http.type_of({"type": "array", "items": {"$ref": "#/components/schemas/Model"}}) == "list of [Model](#model)"


def test_a_page_that_asks_for_an_unknown_reference_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        fill("<!-- made of the code: nothing -->")
