"""What is read out of a model's XML: inputs, whether a UNet follows its skip connections, the length of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from calculators.image_gen.model_ir import read_model_xml


def unet(sizes: str, edges: str, *, mode: str = "sizes") -> str:
    """A UNet's outline: layer 1 makes the small picture, layer 2 the skip connection, layer 9 enlarges the former."""
    return f"""<?xml version="1.0"?>
    <net name="m" version="11"><layers>
      <layer id="0" name="sample" type="Parameter" version="opset1"><data shape="?,4,?,?" element_type="f32"/>
        <output><port id="0" precision="FP32" names="sample,x"/></output></layer>
      <layer id="1" name="small" type="Convolution" version="opset1"/>
      <layer id="2" name="skip" type="Add" version="opset1"/>
      {sizes}
      <layer id="9" name="up" type="Interpolate" version="opset11"><data shape_calculation_mode="{mode}"/></layer>
    </layers><edges><edge from-layer="1" from-port="0" to-layer="9" to-port="0"/>{edges}</edges></net>"""


def edge(source: int, target: int, port: int = 0) -> str:
    return f'<edge from-layer="{source}" from-port="0" to-layer="{target}" to-port="{port}"/>'


def layer(number: int, kind: str) -> str:
    return f'<layer id="{number}" name="n{number}" type="{kind}" version="opset1"/>'


CONST = '<layer id="8" name="c" type="Const" version="opset1"><data element_type="i64" offset="64" size="16"/></layer>'

FOLLOWS = {
    "shape of the skip connection, picked and converted": unet(
        layer(3, "ShapeOf") + CONST + layer(4, "Gather") + layer(5, "Convert"),
        edge(2, 3) + edge(3, 4) + edge(8, 4, 1) + edge(4, 5) + edge(5, 9, 1),
    ),
    "each side picked on its own": unet(
        layer(3, "ShapeOf") + layer(4, "Gather") + layer(5, "Gather") + layer(6, "Concat"),
        edge(2, 3) + edge(3, 4) + edge(3, 5) + edge(4, 6) + edge(5, 6, 1) + edge(6, 9, 1),
    ),
}
DOUBLES = {
    "by a factor": unet(CONST, edge(8, 9, 1), mode="scales"),
    "to twice its own size": unet(
        layer(3, "ShapeOf") + CONST + layer(4, "Multiply"), edge(1, 3) + edge(3, 4) + edge(8, 4, 1) + edge(4, 9, 1)
    ),
    "to twice the size of another tensor": unet(
        layer(3, "ShapeOf") + CONST + layer(4, "Multiply"), edge(2, 3) + edge(3, 4) + edge(8, 4, 1) + edge(4, 9, 1)
    ),
    "to its own size": unet(layer(3, "ShapeOf"), edge(1, 3) + edge(3, 9, 1)),
    "to a fixed size": unet(CONST, edge(8, 9, 1)),
    "to a size that comes from nowhere": unet("", ""),
}


@pytest.mark.parametrize("text", FOLLOWS.values(), ids=FOLLOWS.keys())
def test_enlarging_to_the_skip_connection_is_recognised(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(text)
    xml = read_model_xml(tmp_path / "m.xml")
    assert xml.enlarges == 1
    assert xml.follows_skips


@pytest.mark.parametrize("text", DOUBLES.values(), ids=DOUBLES.keys())
def test_enlarging_by_anything_else_is_taken_to_double(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(text)
    assert not read_model_xml(tmp_path / "m.xml").follows_skips


def test_one_layer_that_doubles_decides_for_all(tmp_path: Path) -> None:
    text = FOLLOWS["shape of the skip connection, picked and converted"].replace(
        "</layers>",
        '<layer id="10" name="up2" type="Interpolate" version="opset11"><data shape_calculation_mode="scales"/></layer></layers>',
    )
    (tmp_path / "m.xml").write_text(text)
    xml = read_model_xml(tmp_path / "m.xml")
    assert (xml.enlarges, xml.follows_skips) == (2, False)


def test_layers_inside_a_loop_do_not_mix_with_those_around_it(tmp_path: Path) -> None:
    body = f"""<layer id="7" name="loop" type="Loop" version="opset5"><body><layers>
      {layer(3, "Multiply")}{layer(9, "Const").replace("/>", '><data offset="1000" size="24"/></layer>')}</layers>
      <edges>{edge(3, 9, 1)}</edges></body></layer>"""
    text = FOLLOWS["shape of the skip connection, picked and converted"].replace("</layers>", body + "</layers>", 1)
    (tmp_path / "m.xml").write_text(text)
    xml = read_model_xml(tmp_path / "m.xml")
    assert (xml.enlarges, xml.follows_skips, xml.weights_bytes) == (1, True, 1024)


def test_the_model_that_comes_with_the_project_follows_its_skip_connections(shapes: Path) -> None:
    xml = read_model_xml(shapes / "unet" / "openvino_model.xml")
    assert xml.enlarges >= 1
    assert xml.follows_skips
    assert xml.weights_bytes == (shapes / "unet" / "openvino_model.bin").stat().st_size
    sample = xml.input("sample")
    assert sample is not None
    assert sample.shape == (None, 4, None, None)
    assert xml.input("nonsense") is None


def test_a_fixed_shape_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(DOUBLES["by a factor"].replace("?,4,?,?", "2,4,64,1..96"))
    sample = read_model_xml(tmp_path / "m.xml").input("x")
    assert sample is not None
    assert sample.shape == (2, 4, 64, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<net>",
        "no xml",
        "<net/>",
        '<net><layers><layer name="a"/></layers></net>',
        "version https://git-lfs.github.com",
    ],
)
def test_what_is_no_model_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(text)
    with pytest.raises(ValueError, match=r"m\.xml is not an OpenVINO model"):
        read_model_xml(tmp_path / "m.xml")
