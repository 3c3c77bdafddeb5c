"""Options that are changed in the text of a graph that somebody has written."""

from __future__ import annotations

import re

import pytest

from calculators.image_gen.graph_edit import EditError, edit_graph_text, image_options
from calculators.image_gen.graph_text import graph_text
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.config import read_graph

WRITTEN = """\
# Ours. Ask the platform team before a change.
# OVMS_GRAPH_QUEUE_MAX_SIZE: 3
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node: {
  name: "Painter"   # shown in metrics
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {
    [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
      models_path: "./"
      # the second card
      device: "GPU.1"  # not GPU.0
      lora_adapters { alias: "a" path: "a.safetensors" }
      lora_adapters {
        alias: "b"
        path: "b.safetensors"
      }
      max_num_inference_steps: 0x20
    }
  }
}
"""


def edited(text: str, clear: str = "", **options: object) -> str:
    source = read_graph(text)
    wanted = image_options(source)
    if clear:
        wanted.ClearField(clear)  # type: ignore[arg-type] # the name of one
    wanted.MergeFrom(ImageGenCalculatorOptions(**options))  # type: ignore[arg-type] # of its fields
    found, changed = edit_graph_text(source, wanted)
    assert image_options(read_graph(found)) == wanted
    assert set(changed) <= {*options, clear}
    return found


def test_a_value_is_changed_at_its_place_and_nothing_else() -> None:
    assert edited(WRITTEN, device="NPU") == WRITTEN.replace('"GPU.1"', '"NPU"')


def test_a_new_option_gets_a_line_behind_those_that_come_before_it_in_the_usual_order() -> None:
    found = edited(WRITTEN, plugin_config='{"A": "1"}', default_num_inference_steps=4)
    lines = [line.strip() for line in found.splitlines() if line not in WRITTEN.splitlines()]
    assert lines == ['plugin_config: \'{"A": "1"}\'', "default_num_inference_steps: 4"]
    assert "# not GPU.0\n      plugin_config: '" in found
    assert "'\n      default_num_inference_steps: 4\n      lora_adapters" in found


def test_adapters_are_replaced_by_others() -> None:
    wanted = ImageGenCalculatorOptions()
    wanted.lora_adapters.add(alias="c", path="c.safetensors", mode="STATIC")
    found = edited(WRITTEN, clear="lora_adapters", lora_adapters=wanted.lora_adapters)
    assert re.findall("alias.*", found) == ['alias: "c" path: "c.safetensors" mode: STATIC }']
    assert '# not GPU.0\n      lora_adapters: { alias: "c"' in found
    assert "}\n      max_num_inference_steps: 0x20\n" in found


def test_adapters_that_go_take_their_lines_with_them() -> None:
    found = edited(WRITTEN, clear="lora_adapters")
    assert "# not GPU.0\n      max_num_inference_steps: 0x20\n" in found


def test_the_same_options_change_nothing() -> None:
    assert edited(WRITTEN) == WRITTEN


def test_an_option_that_is_written_out_with_its_default_counts_as_a_change() -> None:
    assert 'max_resolution: "4096x4096"\n' in edited(WRITTEN, max_resolution="4096x4096")


ANGLES = (
    WRITTEN.replace("    [type", "    # by hand\n    [type")
    .replace("{\n      models", "<\n      models")
    .replace("0x20\n    }", "0x20\n    >")
)
A_LIST = WRITTEN.replace(
    'lora_adapters { alias: "a" path: "a.safetensors" }',
    'lora_adapters: [{ alias: "a" path: "a" }, { alias: "z" path: "z" }]',
)
EXTENSION = WRITTEN.replace(
    "node_options: {\n    [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {",
    "options {\n    [mediapipe.ImageGenCalculatorOptions.ext] {",
)


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN.replace("\n", "\r\n"),
        re.sub("#.*", "", WRITTEN).replace("\n", " "),
        ANGLES,
        WRITTEN.replace('"./"', '"." "/",').replace('"GPU.1"', "'GPU' \".1\";"),
        A_LIST,
        EXTENSION,
        "\ufeff" + WRITTEN,
    ],
    ids=["Windows", "one line", "angle brackets", "strings in parts", "a list", "an extension", "byte order mark"],
)
def test_every_form_of_writing_options_can_be_changed(text: str) -> None:
    wanted = ImageGenCalculatorOptions()
    wanted.lora_adapters.add(alias="c", path="c")
    wanted.composite_lora_adapters.add(alias="m").components.add(adapter_alias="c", alpha=0.5)
    found = edited(
        text, clear="lora_adapters", models_path="m", device="CPU", resolution="64x64", max_num_inference_steps=9,
        lora_adapters=wanted.lora_adapters, composite_lora_adapters=wanted.composite_lora_adapters,
    )  # fmt: skip
    assert found.count("\r") == text.count("\r") + ("\r" in text) * (found.count("\n") - text.count("\n"))
    for comment in re.findall("#.*", text):
        assert comment in found


def test_a_made_graph_that_is_changed_is_the_graph_that_would_be_made() -> None:
    all_at_once = graph_text(ImageGenCalculatorOptions(models_path=".", device="GPU", max_resolution="64x64"))
    assert (
        edited(graph_text(ImageGenCalculatorOptions(models_path=".")), device="GPU", max_resolution="64x64")
        == all_at_once
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no nodes with an ImageGenCalculator, and not one"),
        (WRITTEN + WRITTEN[WRITTEN.index("node:") :], "it has 2 nodes with an ImageGenCalculator, and not one"),
        ('node { calculator: "ImageGenCalculator" }', "its node with an ImageGenCalculator has no options"),
    ],
)
def test_a_graph_without_one_image_node_is_not_changed(text: str, message: str) -> None:
    with pytest.raises(EditError, match=message):
        image_options(read_graph(text))
