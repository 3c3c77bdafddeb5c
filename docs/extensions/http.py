"""The reference of the HTTP API, made from what the server gives at ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docs.extensions.markdown import code, join, table
from server.openapi import ERRORS, OPERATIONS, openapi_document

Value = dict[str, Any]


def markdown(words: list[str]) -> str:
    """A section for each tag, with its operations; then the schemas and the errors."""
    document = openapi_document(key_needed=True)
    tags = dict.fromkeys(operation.tag for operation in OPERATIONS)
    return join([
        *(
            join([f"## {tag}", *(_operation(each, document) for each in OPERATIONS if each.tag == tag)])
            for tag in tags
        ),
        "## Errors",
        table(("status", "meaning"), ([str(status), meaning] for status, meaning in ERRORS.items())),
        "## Schemas",
        "What the bodies above hold. A field that is not required may be left out.",
        *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    ])  # fmt: skip


def _operation(operation: Any, document: Value) -> str:
    told = document["paths"][operation.paths[0]][operation.method]
    method = operation.method.upper()
    components = document["components"]
    parameters = [components["parameters"][each["$ref"].rpartition("/")[2]] for each in told["parameters"]]
    taken = told.get("requestBody", {"content": {}})["content"]
    return join([
        f"### {method} {operation.paths[0]}",
        f"{operation.summary}." if operation.summary[-1] not in ".?" else operation.summary,
        "Other addresses of it: " + ", ".join(map(code, operation.paths[1:])) + "." if operation.paths[1:] else "",
        "Answered without an API key." if operation.open else "",
        table(("parameter", "where", "type", "what it is"), map(_parameter, parameters)),
        table(("body", "holds"), ([code(kind), type_of(each["schema"])] for kind, each in taken.items())),
        table(("status", "meaning", "body"), _answers(told["responses"])),
        _errors(told["responses"]),
    ])  # fmt: skip


def _parameter(told: Value) -> list[str]:
    name = code(told["name"]) + ("" if told["required"] else " (optional)")
    return [name, told["in"], type_of(told["schema"]), told["description"]]


def _answers(answers: Value) -> Iterator[list[str]]:
    for status, answer in answers.items():
        if "$ref" not in answer:
            bodies = ", ".join(f"{code(kind)}: {type_of(each['schema'])}" for kind, each in answer["content"].items())
            yield [status, answer["description"], bodies]


def _errors(answers: Value) -> str:
    """The statuses that mean the same everywhere."""
    forms: dict[str, list[str]] = {}
    for status, answer in answers.items():
        if "$ref" in answer:
            forms.setdefault(answer["$ref"].rpartition("/")[2].removesuffix(status), []).append(status)
    return " ".join(
        f"[Errors](#errors), each with an [{form}](#{form.lower()}): {', '.join(found)}."
        for form, found in forms.items()
    )


def _schema(name: str, schema: Value) -> str:
    about = schema.get("description", "")
    properties = schema.get("properties")
    if properties is None:
        return join([f"### {name}", about, type_of(schema)])
    required = schema.get("required", ())
    rows = (
        [code(field) + (" (required)" if field in required else ""), type_of(each), each.get("description", "")]
        for field, each in properties.items()
    )
    return join(
        [
            f"### {name}",
            f"{about[:1].upper()}{about[1:]}." if about else "",
            table(("field", "type", "what it is"), rows),
        ]
    )


def type_of(schema: Value) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(dict.fromkeys(type_of(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(code(each) for each in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]).lower() if isinstance(schema["const"], bool) else schema["const"])
    kind = schema.get("type", "any")
    kinds = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return f"list of {type_of(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        return _object(schema)
    return kinds + _limits(schema)


def _object(schema: Value) -> str:
    if schema.get("properties"):
        return "object of " + ", ".join(
            f"{code(name)} ({type_of(each)})" for name, each in schema["properties"].items()
        )
    more = schema.get("additionalProperties")
    return f"object of {type_of(more)}" if isinstance(more, dict) and more else "object"


def _limits(schema: Value) -> str:
    words = {
        "minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}",
        "minLength": "{} characters at least", "maxLength": "{} characters at most", "pattern": "like `{}`",
        "contentMediaType": "{}", "contentEncoding": "{}",
    }  # fmt: skip
    told = [text.format(schema[name]) for name, text in words.items() if name in schema]
    return f" ({', '.join(told)})" if told else ""
