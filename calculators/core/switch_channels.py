"""What SwitchContainer and its two calculators share: how channels are named, and which one is active when."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from graph_runtime._pb.mediapipe.framework.tool.switch_container_pb2 import SwitchContainerOptions
from graph_runtime.calculator import CalculatorContext, Ports
from graph_runtime.contract import CalculatorContract, PortSpecs
from graph_runtime.packet import BOOL, INT
from graph_runtime.timestamp import DONE, UNSTARTED

P = TypeVar("P")
Q = TypeVar("Q")

SELECT: Final = "SELECT"
ENABLE: Final = "ENABLE"

_CHANNEL_TAG: Final = re.compile(r"C([0-9]+)__(.*)")


def channel_tag(tag: str, channel: int) -> str:
    """The tag of a channel's port: ``C1__IMAGE``."""
    return f"C{channel}__{tag}"


def declare_selection(cc: CalculatorContract) -> None:
    """In ``get_contract``: SELECT (int) and ENABLE (bool), both optional, as streams and as side packets."""
    for ports in (cc.inputs, cc.input_side_packets):
        ports[SELECT].set(INT).optional()
        ports[ENABLE].set(BOOL).optional()


def declare_channels(common: PortSpecs, channels: PortSpecs) -> None:
    """In ``get_contract``: a port of ``common`` takes any type, and those of all channels that belong to it the same.

    Further indexes of a tag that the channels have are no mistake: no channel gets or gives their packets.
    """
    for tag in channels.tags:
        match = _CHANNEL_TAG.fullmatch(tag)
        if match is None:
            continue
        for index in range(common.num_entries(match[2])):
            port = common[match[2], index].set_any()
            if index < channels.num_entries(tag):
                channels[tag, index].set_same_as(port)


def routes(common: Ports[P], channels: Ports[Q]) -> dict[int, list[tuple[P, Q]]]:
    """For each channel, the common ports with the channel's ports that belong to them."""
    found: dict[int, list[tuple[P, Q]]] = {}
    for tag in channels.tags:
        match = _CHANNEL_TAG.fullmatch(tag)
        if match is None:
            continue
        for index in range(min(channels.num_entries(tag), common.num_entries(match[2]))):
            pair = (common[match[2], index], channels[tag, index])
            found.setdefault(int(match[1]), []).append(pair)
    return found


def first_channel(cc: CalculatorContext) -> int:
    """In ``open``: the channel that side packets or options select; 0 where nothing does."""
    options = cc.options(SwitchContainerOptions)
    channel = options.select if options.HasField("select") else int(options.enable)
    for tag in (ENABLE, SELECT):
        if cc.input_side_packets.has_tag(tag):
            channel = int(cc.input_side_packets[tag].value)
    return channel


class Selection:
    """Which channel is active from when on, as the streams ENABLE and SELECT tell.

    Attributes:
        history: ``(timestamp, channel)``, in order; the first entry holds from the start on.
    """

    def __init__(self, cc: CalculatorContext) -> None:
        self.history: list[tuple[int, int]] = [(UNSTARTED, first_channel(cc))]
        self.tags = [tag for tag in (ENABLE, SELECT) if cc.inputs.has_tag(tag)]

    def record(self, cc: CalculatorContext) -> int:
        """In ``process``: note a new channel; up to when the active channel is known."""
        if not self.tags:
            return DONE
        packets = [cc.inputs[tag].packet for tag in self.tags]
        settled = packets[0].timestamp
        channel = self.history[-1][1]
        for packet in packets:
            if not packet.is_empty():
                channel = int(packet.value)
        if settled == cc.input_timestamp and channel != self.history[-1][1]:
            self.history.append((settled, channel))
        return settled

    def channel_at(self, timestamp: int) -> int:
        """The channel that is active at a time; -1 before the history begins."""
        return next((channel for start, channel in reversed(self.history) if start <= timestamp), -1)
