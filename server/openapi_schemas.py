"""JSON Schemas of what the routes take and give, but for images (``calculators.image_gen.request_schema``)."""

from __future__ import annotations

from typing import Any, Final

from calculators.image_gen.request_schema import edits_schema, generations_schema, images_schema
from server.servables import State

Schema = dict[str, Any]

DATATYPES: Final = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
)  # fmt: skip
_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
_PARAMETERS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
}
_SHAPE: Final[Schema] = {"type": "array", "items": {"type": "integer", "minimum": 0}}


def ref(name: str) -> Schema:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: str, more: bool = True) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "required": required.split()}
    return schema if more else schema | {"additionalProperties": False}


def schemas() -> dict[str, Schema]:
    """Name -> schema."""
    state = {"enum": [each.value for each in State]}
    nothing = {"type": ["string", "null"]}
    number, time = {"type": "number"}, {"type": ["number", "null"]}
    tensor = {"name": _TEXT, "datatype": {"enum": list(DATATYPES)}, "shape": _SHAPE, "parameters": _PARAMETERS}
    sizes = {"type": "array", "items": {"type": "integer"}}
    described = _object({"name": _TEXT, "datatype": _TEXT, "shape": sizes}, "name datatype shape")
    model_state = _object(
        {"name": _TEXT, "state": state, "reason": _TEXT, "reload_problem": _TEXT}, "name state", False
    )
    code = _object({"error_code": _TEXT, "error_message": _TEXT}, "error_code error_message")
    status = _object({"version": _TEXT, "state": state, "status": code}, "version state status")
    return {
        "Error": {
            "description": "OpenAI's form",
            **_object(
                {"error": _object({"message": _TEXT, "type": _TEXT, "param": nothing, "code": nothing}, "message type param code")},
                "error",
            ),
        },
        "KServeError": {"description": "KServe's form", **_object({"error": _TEXT}, "error")},
        "GenerationsRequest": generations_schema(),
        "EditsRequest": edits_schema(),
        "ImagesResponse": images_schema(),
        "GraphRequest": {
            "description": "what the graph takes, and the model that names it",
            **_object({"model": _TEXT, "stream": {"type": "boolean"}}, "model"),
        },
        "Model": _object(
            {
                "id": _TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _TEXT, "state": state,
                "parent": _TEXT, "reason": _TEXT, "reload_problem": _TEXT, "note": _TEXT, "graph_runtime": ref("ModelDetails"),
            },
            "id object created owned_by state graph_runtime",
        ),
        "ModelDetails": {
            "description": "for whoever makes a form of it; what follows adapters, and that, of models that make images alone",
            **_object(
                {
                    "state": state, "graph": {"type": "string", "description": "the page of the graph, relative to the root"},
                    "makes_images": {"type": ["boolean", "null"], "description": "null before it is loaded"},
                    "adapters": {**_TEXTS, "description": "names of LoRA adapters, to be given in the place of the model's"},
                    "tasks": {"type": "array", "items": {"enum": ["text_to_image", "image_to_image", "inpainting"]}},
                    "default_size": {**nothing, "description": "null where a request has to give one"},
                    "sizes": {"type": ["array", "null"], "items": _TEXT, "description": "the only ones; null for all that fit"},
                    "max_size": _TEXT, "size_multiple": _COUNT, "min_side": _COUNT,
                    "default_steps": _COUNT, "max_steps": _COUNT, "max_n": _COUNT,
                },
                "state graph makes_images", False,
            ),
        },
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}, "object data"),
        "Progress": _object(
            {
                "id": _TEXT, "object": {"const": "request"}, "state": {"enum": ["arriving", "waiting", "running"]}, "model": _TEXT,
                "position": {**_COUNT, "description": "of one that waits, in the line of its model"},
                "step": {"type": "integer", "minimum": 0, "description": "of one that runs: steps done"},
                "steps": {"type": ["integer", "null"], "description": "steps in all; null as long as that is not known"},
            },
            "id object state", False,
        ),
        "Cancelled": _object({"id": _TEXT, "object": {"const": "request"}, "status": {"const": "cancelled"}}, "id object status"),
        "Live": _object({"live": {"const": True}}, "live"),
        "Ready": _object(
            {"ready": {"type": "boolean"}, "error": _TEXT, "models": {"type": "array", "items": model_state}}, "ready"
        ),
        "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _TEXTS}, "name version extensions"),
        "ModelMetadata": _object(
            {
                "name": _TEXT, "versions": _TEXTS, "platform": _TEXT,
                "inputs": {"type": "array", "items": described}, "outputs": {"type": "array", "items": described},
            },
            "name versions platform inputs outputs",
        ),
        "ModelReady": _object({"name": _TEXT, "ready": {"type": "boolean"}, "error": _TEXT}, "name ready"),
        "InferRequest": _object(
            {
                "id": _TEXT,
                "parameters": _PARAMETERS,
                "inputs": {"type": "array", "items": _object({**tensor, "data": {"type": "array"}}, "name datatype shape")},
                "outputs": {"type": "array", "items": _object({"name": _TEXT, "parameters": _PARAMETERS}, "name")},
            },
            "inputs",
        ),
        "InferResponse": _object(
            {
                "model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "parameters": _PARAMETERS,
                "outputs": {"type": "array", "items": _object({**tensor, "data": {"type": "array"}}, "name datatype shape")},
            },
            "model_name outputs",
        ),
        "RepositoryIndex": {
            "type": "array",
            "items": _object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}, "name version state reason"),
        },
        "Config": {
            "type": "object",
            "additionalProperties": _object({"model_version_status": {"type": "array", "items": status}}, "model_version_status"),
        },
        "GraphStructure": _object(
            {
                "name": _TEXT, "state": state, "problem": nothing, "summary": nothing,
                "version": {"type": "integer", "description": "another one for each load; 0 while nothing is loaded"},
                "nodes": {"type": "array", "items": _object(
                    {
                        "id": _TEXT, "name": _TEXT, "calculator": _TEXT, "place": nothing, "problems": _TEXTS, "executor": _TEXT,
                        "handler": _TEXT, "max_in_flight": {"type": "integer"},
                        "options": {"type": "string", "description": "as pbtxt"},
                        "ports": {"type": "array", "items": _object(
                            {
                                "of": {"enum": ["input_stream", "output_stream", "input_side_packet", "output_side_packet"]},
                                "tag": _TEXT, "name": _TEXT, "type": _TEXT, "optional": {"type": "boolean"},
                            },
                            "of tag name type optional",
                        )},
                    },
                    "id name calculator place",
                )},
            },
            "name state problem version summary nodes",
        ),
        "GraphSnapshot": _object(
            {
                "name": _TEXT, "state": state, "problem": nothing, "version": {"type": "integer"},
                "requests": _object({"running": {"type": "integer"}, "waiting": {"type": "integer"}}, "running waiting"),
                "ages_s": {"type": "array", "items": number, "description": "how long the runs that go on have been going on"},
                "limits": _object(
                    {"at_once": {"type": "integer"}, "queue_size": {"type": "integer"}, "timeout_s": number},
                    "at_once queue_size timeout_s",
                ),
                "max_queue_size": {
                    "type": ["integer", "null"], "description": "packets that an input may hold before the graph takes no more",
                },
                "recorded": {"type": "integer", "description": "how many runs were recorded"},
                "always_recorded": {"type": "boolean", "description": "false where runs are recorded while somebody looks"},
                "nodes": {"type": "array", "items": _object(
                    {
                        "name": _TEXT, "calls": {"type": "integer"}, "running": {"type": "integer"}, "progress": nothing,
                        "mean_ms": time, "last_ms": time, "longest_ms": time, "waits_for": _TEXTS,
                        "queues": {"type": "array", "items": _object(
                            {"stream": _TEXT, "packets": {"type": "integer"}, "most": {"type": "integer"}}, "stream packets most"
                        )},
                    },
                    "name calls running progress mean_ms last_ms longest_ms waits_for queues",
                )},
                "runs": {"type": "array", "items": _object(
                    {
                        "number": {"type": "integer"}, "api": _TEXT, "began": _TEXT, "duration_ms": number,
                        "outcome": {"enum": ["done", "refused", "failed", "cancelled"]}, "left_out": {"type": "integer"},
                        "calls": {"type": "array", "items": _object(
                            {
                                "node": _TEXT, "phase": _TEXT, "start_ms": number, "duration_ms": number,
                                "is_moment": {"type": "boolean"},
                            },
                            "node phase start_ms duration_ms is_moment",
                        )},
                    },
                    "number api began duration_ms outcome left_out calls",
                )},
            },
            "name state problem version requests ages_s recorded nodes runs",
        ),
        "Trace": {
            "description": "the Trace Event Format",
            **_object({"traceEvents": {"type": "array", "items": {"type": "object"}}, "displayTimeUnit": _TEXT}, "traceEvents"),
        },
        "ReloadFailure": _object({"error": _TEXT, "reason": _TEXT}, "error reason", False),
    }  # fmt: skip
