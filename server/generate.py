"""``graph-runtime generate``: one request through a model's real graph, in this process, into files."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from calculators import load_resources
from calculators.http_payload import HttpPayload, Part, RequestError, refusal_in
from calculators.image_gen.request import EDITS, GENERATIONS
from graph_runtime import GraphError, run
from graph_runtime.folder_code import FolderCode
from server.discovery import GRAPH_FILE, ServableSpec, graph_servable, models_dir, servable_in
from server.graph_source import calculators_beside, loadable, plan_servable, read_servable
from server.interface import http_ports, interface_of
from server.repository import scan_folder
from server.settings import Settings, SettingsError
from server.terminal import complain, say

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""How a file's name ends -> the format that it is written in."""

_FLAGS = {
    "guidance_scale": "--guidance",
    "image": "--image",
    "mask": "--mask",
    "n": "-n",
    "negative_prompt": "--negative-prompt",
    "num_inference_steps": "--steps",
    "prompt": "PROMPT",
    "rng_seed": "--seed",
    "size": "--size",
    "strength": "--strength",
}
"""Field of a request -> what gives it on the command line."""


class UsageError(Exception):
    """The command line asks for something that cannot be done; nothing was started."""


def generate(arguments: argparse.Namespace) -> int:
    """Make the pictures that the command line asks for; returns the exit code."""
    try:
        files = _files(arguments.output, arguments.count, arguments.overwrite)
        settings = Settings.resolve(vars(arguments), os.environ)
        spec = _choose(arguments.model, settings.models)
        with calculators_beside(spec, allowed=settings.allow_python_nodes) or nullcontext() as own:
            answer = _run(spec, _request(spec.name, arguments), own, settings.allow_python_nodes)
        pictures = answer["data"]
        if len(pictures) != len(files):
            return _fail(f"the model made {len(pictures)} pictures, not {len(files)}", 1)
        for file, picture in zip(files, pictures, strict=True):
            _write(file, base64.b64decode(picture["b64_json"]), arguments.overwrite)
            say(f"{file}: {answer['size']}, seed {picture['seed']}")
    except (UsageError, SettingsError) as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (GraphError, RequestError, OSError) as error:
        refusal = refusal_in(error)
        if refusal is None:
            return _fail(str(error), 1)
        return _fail(_in_flags(refusal), 2 if refusal.status < 500 else 1)
    return 0


def _in_flags(refusal: RequestError) -> str:
    """What a graph refused, in the words of the command line instead of those of requests."""
    flag = _FLAGS.get(refusal.param or "")
    if flag is None:
        return refusal.message
    for name in (f"{refusal.param} field", f"num_images_per_prompt/{refusal.param}", refusal.param or ""):
        if refusal.message.startswith(f"{name} "):
            return flag + refusal.message.removeprefix(name)
    return f"{flag}: {refusal.message}"


def _fail(message: str, code: int) -> int:
    complain("generate", message)
    return code


def _files(output: Path, count: int, overwrite: bool) -> list[Path]:
    """The files to write, checked before the work begins: minutes of work must not end in a missing folder."""
    if count < 1:
        raise UsageError(f"-n {count}: give 1 or more")
    if output.suffix.lower() not in FORMATS:
        raise UsageError(f"{output}: give a name that ends with one of {', '.join(FORMATS)}")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: the folder {output.parent} does not exist")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"{output}: the folder {output.parent} may not be written to")
    files = [output] if count == 1 else [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)]
    for file in files:
        if file.is_dir():
            raise UsageError(f"{file} is a folder")
        if file.exists() and not overwrite:
            raise UsageError(f"{file} exists already; choose another name, or replace it with --overwrite")
    return files


def _choose(model: str | None, models: Path | None) -> ServableSpec:
    """The model to use: a folder with a graph or a graph file, a name in the model folder, or the only one there."""
    if model is not None:
        path = Path(model)
        if path.is_file():
            return graph_servable(path.absolute().parent.name, path)
        if path.is_dir():
            with suppress(OSError, ValueError):
                return servable_in(path, path.resolve().name)
    try:
        folder = models_dir(models)
    except OSError as error:
        raise UsageError(str(error)) from None
    specs = {spec.name: spec for spec in scan_folder(folder).specs}
    names = ", ".join(specs) or "none"
    if model is None and len(specs) == 1:
        return next(iter(specs.values()))
    if model is None:
        raise UsageError(f"choose a model with --model; {folder} has: {names}")
    if model not in specs:
        raise UsageError(
            f"{model!r} is neither a folder with a {GRAPH_FILE} nor a model in {folder}, which has: {names}"
        )
    return specs[model]


def _request(model: str, arguments: argparse.Namespace) -> HttpPayload:
    """The request, as a client would send it; what is not given is left to the graph."""
    fields = {
        "model": arguments.lora or model,
        "prompt": arguments.prompt,
        "n": arguments.count,
        "size": arguments.size,
        "num_inference_steps": arguments.steps,
        "rng_seed": arguments.seed,
        "guidance_scale": arguments.guidance,
        "negative_prompt": arguments.negative_prompt,
        "strength": arguments.strength,
        "output_format": FORMATS[arguments.output.suffix.lower()],
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if arguments.image is None and arguments.mask is None:
        return HttpPayload.json(GENERATIONS, fields)
    uploads = {"image": arguments.image, "mask": arguments.mask}
    try:
        files = [Part(name, file.read_bytes(), file.name) for name, file in uploads.items() if file is not None]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    return HttpPayload.multipart(EDITS, fields, files)


def _run(spec: ServableSpec, request: HttpPayload, own: FolderCode | None, allow_python_nodes: bool) -> dict[str, Any]:
    plan = plan_servable(spec, own=own)
    interface = interface_of(plan)
    if not interface.makes_images:
        raise UsageError(
            f"the graph {spec.shown_file} makes no pictures; it has {', '.join(sorted(interface.calculators))}"
        )
    source, sink = http_ports(spec.name, interface)
    with tqdm(desc=f"loading {spec.name}", unit="step", leave=False, disable=not sys.stderr.isatty()) as bar:

        def on_step(node: str, step: int, total: int) -> None:
            bar.total = total
            bar.update(step - bar.n)

        graph = loadable(plan, read_servable(spec))
        with load_resources(graph, spec.base_dir, on_step=on_step, allow_python_nodes=allow_python_nodes) as resources:
            bar.set_description_str("steps", refresh=False)
            bar.reset()  # its clock too: loading is no step
            answers = run(resources.graph(plan), {source.name: request}, resources.side_packets, outputs=[sink.name])[
                sink.name
            ]
    if len(answers) != 1:
        raise GraphError(f"the graph answered with {len(answers)} packets; it should be one")
    answer: dict[str, Any] = json.loads(answers[0].value)
    return answer


def _write(file: Path, picture: bytes, overwrite: bool) -> None:
    """Write a picture whole or not at all; replace a file only where that was asked for."""
    target = file.with_name(f".{file.name}.{os.getpid()}") if overwrite else file
    with target.open("xb") as out:
        try:
            out.write(picture)
            out.flush()
        except OSError:
            target.unlink()
            raise
    if overwrite:
        target.replace(file)
