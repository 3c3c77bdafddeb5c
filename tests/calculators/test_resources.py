"""load_resources and check_resources: models for the nodes of a graph, problems with their places, and what is not imported."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from calculators import HttpPayload, check_resources, load_resources
from graph_runtime import (
    CalculatorGraph,
    CalculatorGraphConfig,
    GraphError,
    Packet,
    Plan,
    StatusCode,
    parse_graph_config,
)
from graph_runtime.config import read_graph

REPOSITORY = Path(__file__).parents[2]
SHAPES = REPOSITORY / "examples" / "models" / "shapes"
WAIT_S = 60.0

NODE = """
node: {{
  name: "{name}"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:in_{name}"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:out_{name}"
  node_options: {{
    [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {{ {options} }}
  }}
}}
"""


def graph(*nodes: tuple[str, str]) -> str:
    streams = "".join(
        f'input_stream: "HTTP_REQUEST_PAYLOAD:{k}:in_{name}" output_stream: "HTTP_RESPONSE_PAYLOAD:{k}:out_{name}"\n'
        for k, (name, _) in enumerate(nodes)
    )
    return streams + "".join(NODE.format(name=name, options=options) for name, options in nodes)


def ask(plan: Plan, side_packets: dict[str, Any], node: str, **fields: Any) -> Any:
    run = CalculatorGraph(plan)
    texts: list[str] = []
    run.observe_output_stream(f"out_{node}", lambda name, packet: texts.append(packet.value))
    run.start_run(side_packets)
    payload = HttpPayload.json("/v3/images/generations", {"prompt": "a red circle on a blue background", **fields})
    run.add_packet_to_input_stream(f"in_{node}", Packet(payload).at(0))
    run.close_all_packet_sources()
    run.wait_until_done()
    return json.loads(texts[0])


@pytest.mark.model
@pytest.mark.parametrize("lane", ["thread", "process"])
def test_a_graph_draws_with_what_was_loaded(lane: Literal["thread", "process"]) -> None:
    pil_image = pytest.importorskip("PIL.Image")
    text = graph(("one", 'models_path: "./"'), ("two", 'models_path: "." max_num_inference_steps: 4'))
    plan = Plan(text)
    steps: list[tuple[str, int, int]] = []
    with load_resources(
        plan.config, SHAPES, lane=lane, on_step=lambda name, done, total: steps.append((name, done, total))
    ) as resources:
        assert set(resources.side_packets) == {"pipes"}
        assert set(resources.side_packets["pipes"]) == {"one", "two"}
        answer = ask(plan, resources.side_packets, "one", rng_seed=7, num_inference_steps=20)
        image = pil_image.open(io.BytesIO(b64decode(answer["data"][0]["b64_json"]))).convert("RGB")
        assert image.size == (64, 64)
        red, green, blue = image.getpixel((32, 32))
        assert red > green + 50
        assert red > blue + 50
        corner = image.getpixel((2, 2))
        assert corner[2] > corner[0] + 50
        assert ask(plan, resources.side_packets, "two")["num_inference_steps"] == 4
        assert ("one", 20, 20) in steps
        assert ("two", 4, 4) in steps
        about = resources.describe()
        assert about["one"]["family"] == "Stable Diffusion"
        assert about["two"]["max_num_inference_steps"] == 4
        assert about["one"]["lane"]["kind"] == lane
        # Equal settings share one model, so that both nodes see the same lane.
        assert about["one"]["lane"]["served"] == about["two"]["lane"]["served"] == 2
    assert resources.describe()["one"]["lane"]["state"] == "closed"
    resources.close()
    with pytest.raises(GraphError, match="unloaded"):
        ask(plan, resources.side_packets, "one")


@pytest.mark.model
def test_copies_of_a_model_and_one_that_was_unloaded_draw_the_same_picture() -> None:
    plan = Plan(graph(("gen", 'models_path: "./"')))
    with load_resources(plan.config, SHAPES, lane="process", lanes=2, idle_unload_s=0.001) as resources:
        with ThreadPoolExecutor(2) as pool:
            asked = [
                pool.submit(ask, plan, resources.side_packets, "gen", rng_seed=7, num_inference_steps=3) for _ in "ab"
            ]
            pictures = {answer.result(WAIT_S)["data"][0]["b64_json"] for answer in asked}
        pictures.add(ask(plan, resources.side_packets, "gen", rng_seed=7, num_inference_steps=3)["data"][0]["b64_json"])
        assert len(pictures) == 1
        lane = resources.describe()["gen"]["lane"]
        assert lane["served"] == 3
        assert [each["restarts"] for each in lane["lanes"]] == [0, 0]
        assert resources.trouble() == {}


@pytest.mark.model
def test_seeds_are_the_same_in_both_kinds_of_lane() -> None:
    plan = Plan(graph(("gen", 'models_path: "./"')))
    pictures = []
    for lane in ("thread", "process"):
        with load_resources(plan.config, SHAPES, lane=lane) as resources:
            answer = ask(plan, resources.side_packets, "gen", rng_seed=11, num_inference_steps=3, n=2)
            pictures.append([item["b64_json"] for item in answer["data"]])
    assert pictures[0] == pictures[1]


@pytest.mark.model
@pytest.mark.parametrize("lane", ["thread", "process"])
def test_a_device_that_is_not_there_is_told_at_load(lane: Literal["thread", "process"]) -> None:
    source = read_graph(graph(("gen", 'models_path: "./" device: "GPU.7"')), file="graph.pbtxt")
    assert check_resources(source, SHAPES) == []
    with pytest.raises(GraphError, match="there is no GPU.7 on this machine; it has: .*CPU") as caught:
        load_resources(source, SHAPES, lane=lane)
    assert caught.value.code is StatusCode.FAILED_PRECONDITION
    assert caught.value.node == "gen"
    assert caught.value.place is not None
    assert caught.value.place.startswith("graph.pbtxt:10:")


def test_a_graph_that_needs_nothing_gets_nothing() -> None:
    config = parse_graph_config(
        'input_stream: "a" node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }'
    )
    assert check_resources(config, "/") == []
    with load_resources(config, "/") as resources:
        assert resources.side_packets == {}
        assert resources.describe() == {}
    with load_resources(Plan(config)) as resources:
        assert resources.side_packets == {}


def test_the_folder_of_a_plan_is_that_of_its_file(tmp_path: Path) -> None:
    text = graph(("one", 'models_path: "./missing"'))
    (tmp_path / "graph.pbtxt").write_text(text)
    with pytest.raises(GraphError, match=re.escape(str(tmp_path / "missing"))):
        load_resources(Plan(tmp_path / "graph.pbtxt"))
    with pytest.raises(ValueError, match="this graph is no file, .* give load_resources\\(\\) a folder"):
        load_resources(Plan(text))


def test_all_problems_of_all_nodes_come_at_once_with_their_places() -> None:
    text = graph(
        ("one", f'models_path: "{SHAPES}" max_resolution: "x" default_num_inference_steps: 0'),
        ("two", 'models_path: "nowhere"\n device: "CPU GPU"'),
        ("three", f'models_path: "{SHAPES}"'),
    )
    source = read_graph(text, file="models/cat/graph.pbtxt")
    problems = check_resources(source, "/tmp")
    lines = text.splitlines()

    def place(word: str) -> str:
        line = next(number for number, content in enumerate(lines) if word in content)
        value = lines[line].index(word) + len(word.split(":")[0]) + 2
        return f"models/cat/graph.pbtxt:{line + 1}:{value + 1}"

    assert [(problem.node, problem.place) for problem in problems] == [
        ("one", place('max_resolution: "x"')),
        ("one", place("default_num_inference_steps: 0")),
        ("two", place('models_path: "nowhere"')),
        ("two", place('device: "CPU GPU"')),
    ]
    with pytest.raises(GraphError) as caught:
        load_resources(source, "/tmp")
    assert list(caught.value.problems) == problems
    assert all(str(problem) in str(caught.value) for problem in problems)


def test_without_a_source_there_are_no_places() -> None:
    (problem,) = check_resources(parse_graph_config(graph(("gen", 'models_path: "nowhere"'))), "/tmp")
    assert (problem.node, problem.place) == ("gen", None)


def test_options_in_the_other_form_have_their_places_too() -> None:
    text = NODE.format(name="gen", options="x").partition("node_options")[0] + (
        'options { [mediapipe.ImageGenCalculatorOptions.ext] {\nmodels_path: "nowhere" } } }'
    )
    (problem,) = check_resources(read_graph(text, file="g"), "/tmp")
    assert "there is none at /tmp/nowhere" in problem.message
    assert problem.place == f"g:{text.count(chr(10)) + 1}:14"


def test_nodes_need_names_of_their_own_and_options() -> None:
    node = NODE.format(name="gen", options=f'models_path: "{SHAPES}"')
    config = CalculatorGraphConfig()
    config.MergeFrom(parse_graph_config(node + node + node.replace('name: "gen"', "")))
    del config.node[1].node_options[:]
    problems = [problem.message for problem in check_resources(config, "/")]
    assert problems == [
        "node_options is missing",
        "the node needs a name: its model is loaded under that name",
        "another node of this graph has the same name",
    ]


@pytest.mark.parametrize("path", ["graph.pbtxt", Path("graph.pbtxt")])
def test_a_path_in_the_place_of_a_graph_is_refused_with_what_to_write(path: Any) -> None:
    with pytest.raises(TypeError, match=r"load_resources\(\) takes a Plan \(of a file: Plan\(Path\(...\)\)\), not "):
        load_resources(path)


def test_the_kind_of_lane_is_checked() -> None:
    with pytest.raises(ValueError, match='lane is "process" or "thread"'):
        load_resources(CalculatorGraphConfig(), "/", lane="procces")  # type: ignore[arg-type]  # that is the point


@pytest.mark.model
def test_nothing_stays_loaded_when_one_model_fails(tmp_path: Path) -> None:
    code = f"""
        import os
        from calculators import load_resources
        from graph_runtime import GraphError, parse_graph_config
        text = open({str(tmp_path / "graph.pbtxt")!r}).read()
        try:
            load_resources(parse_graph_config(text), {str(SHAPES)!r}, lane="process")
        except GraphError as error:
            print(len(error.problems), error.problems[0].node)
        print(repr(open(f"/proc/self/task/{{os.getpid()}}/children").read()))
    """
    (tmp_path / "graph.pbtxt").write_text(
        graph(("good", 'models_path: "./"'), ("bad", 'models_path: "./" device: "GPU.7"'))
    )
    assert python(code).splitlines() == ["1 bad", "''"]


def test_importing_calculators_loads_neither_numpy_nor_openvino() -> None:
    code = """
        import sys
        import calculators
        import calculators.image_gen.calculator, calculators.image_gen.loading
        print(sorted({name.partition(".")[0] for name in sys.modules} & {"numpy", "openvino", "openvino_genai", "PIL", "aiohttp"}))
    """
    assert python(code).strip() == "[]"


@pytest.mark.model
def test_a_process_lane_keeps_openvino_out_of_the_caller() -> None:
    code = f"""
        import sys
        from calculators import load_resources
        from calculators import HttpPayload
        from calculators.image_gen.request import parse_request
        from graph_runtime import parse_graph_config
        from pathlib import Path
        config = parse_graph_config(Path({str(SHAPES / "graph.pbtxt")!r}))
        with load_resources(config, {str(SHAPES)!r}, lane="process") as resources:
            pipelines = resources.side_packets["pipes"]["ImageGenExecutor"]
            payload = HttpPayload.json("/v3/images/generations", {{"prompt": "a", "num_inference_steps": 1}})
            pipelines.generate(parse_request(payload, pipelines.rules).generation)
        print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"numpy", "openvino", "openvino_genai", "PIL"}}))
    """
    assert python(code).strip() == "[]"


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
