"""The picture of the input stream handlers shows the calls that they make."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    Packet,
    register_calculator,
)

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"
OPTIONS = {
    "SyncSet": '[mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: ":0" } }',
    "FixedSize": "[mediapipe.FixedSizeInputStreamHandlerOptions.ext] { trigger_queue_size: 2 target_queue_size: 1 }",
    "TimestampAlign": '[mediapipe.TimestampAlignInputStreamHandlerOptions.ext] { timestamp_base_tag_index: ":0" }',
}


@register_calculator
class TellCalls(Calculator):
    """Tells the list in side packet LIST of its calls and its end, as the picture writes them; busy until the event BUSY."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in cc.inputs:
            port.set_any()
        cc.input_side_packets["LIST"].set(list)
        cc.input_side_packets["BUSY"].set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.told = cc.input_side_packets["LIST"].value

    def process(self, cc: CalculatorContext) -> None:
        values = " ".join("–" if port.is_empty() else str(port.value) for port in cc.inputs)
        self.told.append(f"{int(cc.input_timestamp)}: {values}")
        assert cc.input_side_packets["BUSY"].value.wait(20)

    def close(self, cc: CalculatorContext) -> None:
        self.told.append("end")


def texts(element: ElementTree.Element) -> dict[int, str]:
    """What stands in the boxes of a row of the picture, from left to right, by their places."""
    boxes = element.findall(f"{SVG}text[@class='middle']")
    return dict(sorted((int(each.attrib["x"]), each.text or "") for each in boxes))


def calls(handler: str, feed: list[str], busy: threading.Event) -> list[list[str]]:
    """What a node tells after each thing that comes; of a busy one all at the end."""
    told: list[str] = []
    options = f"options {{ {OPTIONS[handler]} }}" if handler in OPTIONS else ""
    graph = CalculatorGraph(
        graph_config=f"""num_threads: 2 input_stream: "a" input_stream: "b" input_side_packet: "list" input_side_packet: "busy"
        node {{ calculator: "TellCalls" input_stream: "a" input_stream: "b"
            input_side_packet: "LIST:list" input_side_packet: "BUSY:busy"
            input_stream_handler {{ input_stream_handler: "{handler}InputStreamHandler" {options} }} }}"""
    )
    graph.start_run({"list": told, "busy": busy})
    seen = []
    for what in feed:
        if what.endswith("ends"):
            graph.close_input_stream(what[0])
        else:
            graph.add_packet_to_input_stream(what[0], Packet(what), int(what[1:]))
        if busy.is_set():
            graph.wait_until_idle()
        else:
            assert graph._run is not None
            while graph._run.inbox:
                threading.Event().wait(0.001)
        seen.append(told.copy() if busy.is_set() else [])
        if busy.is_set():
            told.clear()
    busy.set()
    graph.wait_until_done()
    seen[-1] += told
    return seen


def test_the_calls_of_the_handlers_are_those_of_the_picture() -> None:
    root = ElementTree.parse(PICTURES / "handlers.svg").getroot()
    rows = {group.attrib["id"]: texts(group) for group in root.findall(f"{SVG}g")}
    feed = texts(root)
    assert len(rows) == 7
    for handler, drawn in rows.items():
        busy = threading.Event()
        if handler != "FixedSize":  # drawn for a node whose first call lasts till the end
            busy.set()
        seen = calls(handler, list(feed.values()), busy)
        at_the_end = seen.pop()
        assert at_the_end[-1:] == ["end"] or "end" in drawn.values()
        if handler == "FixedSize":
            assert at_the_end[:-1] == list(drawn.values())
        else:
            assert {place: " ".join(told) for place, told in zip(feed, seen, strict=False) if told} == drawn


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_has_a_title_for_those_who_cannot_see_it(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    (title,) = re.findall("<title[^>]*>(.*?)</title>", text)
    pages = [page.read_text(encoding="utf-8") for page in (PICTURES.parent).glob("*.md")]
    assert any(f"![{title}](pictures/{picture.name})" in page for page in pages)
