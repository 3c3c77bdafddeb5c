"""Real exports: a tiny pipeline of each family is made, exported by optimum-intel, served, and asked for a picture.

::

    nox -s export                                                    # needs the extra ``export``
    python -m tests.export --families sd flux --formats fp16 --keep pictures
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageChops, ImageStat

from server.export_flags import WEIGHT_FORMATS
from tests.export.pipelines import PIPELINES, write

# Layers as small as these have no groups of the usual 128 weights.
_EXTRA: Final = {"int4": ["--extra_quantization_params", "--group-size 16 --group-size-fallback adjust"]}
_SIZE: Final = (64, 64)
_PROMPT: Final = "a red circle on a blue background"


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.export", description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=PIPELINES, default=list(PIPELINES))
    parser.add_argument("--formats", nargs="+", choices=WEIGHT_FORMATS, default=list(WEIGHT_FORMATS))
    parser.add_argument("--keep", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names = [
            _export(work, family, weight_format) for family in arguments.families for weight_format in arguments.formats
        ]
        pictures = _draw(work / "models", names)
    _compare(pictures)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            picture.save(arguments.keep / f"{name}.png")
    return 0


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "server.cli", *arguments]


def _export(work: Path, family: str, weight_format: str) -> str:
    source = work / family
    if not source.exists():
        write(family, source)
    name = f"{family}-{weight_format}"
    subprocess.run(
        _command(
            "export", str(source), "--weight-format", weight_format, "--models", str(work / "models"), "--model_name", name,
            *_EXTRA.get(weight_format, ()),
        ),
        check=True,
    )  # fmt: skip
    left = [path.name for path in (work / "models").iterdir() if path.name.startswith(".")]
    assert not left, left
    return name


def _draw(models: Path, names: list[str]) -> dict[str, Image.Image]:
    """A picture of each model, by a real server; each is of the size that was asked for, and not of one colour."""
    server = subprocess.Popen(
        _command("serve", "--rest_port", "0", "--models", str(models)), stdout=subprocess.PIPE, text=True
    )
    pictures = {}
    with server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[3]
            for name in names:
                size = "x".join(map(str, _SIZE))
                body = {"model": name, "prompt": _PROMPT, "size": size, "num_inference_steps": 4, "rng_seed": 7}
                answer = _ask(f"{url}/v3/images/generations", body)
                picture = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB")
                colours = picture.getcolors(_SIZE[0] * _SIZE[1]) or []
                assert picture.size == _SIZE, (name, picture.size)
                assert len(colours) > 100, (name, len(colours))
                sys.stdout.write(f"{name}: {size}, {len(colours)} colours\n")
                pictures[name] = picture
        finally:
            server.terminate()
    return pictures


def _compare(pictures: dict[str, Image.Image]) -> None:
    """Compressed weights draw nearly what those of 16 bits draw."""
    for name, picture in pictures.items():
        whole = pictures.get(f"{name.partition('-')[0]}-fp16", picture)
        distance = sum(ImageStat.Stat(ImageChops.difference(picture, whole)).mean) / 3
        assert distance < 10, (name, distance)
        sys.stdout.write(f"{name}: {distance:.1f} of 255 from fp16\n")


def _ask(url: str, body: dict[str, Any]) -> Any:
    done = subprocess.run(
        [
            "curl", "-sS", "--fail-with-body", "--max-time", "120", url,
            "-H", "Content-Type: application/json", "-d", json.dumps(body),
        ],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
