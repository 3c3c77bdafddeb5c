"""The calculators of these graphs. A frame is a row of pixels, a list of numbers, so that each result can be told by looking."""

from __future__ import annotations

from graph_runtime import Calculator, CalculatorContext, CalculatorContract, Timestamp, register_calculator

Frame = list[int]
BRIGHT = 100


@register_calculator
class BrightSpots(Calculator):
    """The positions of all pixels that are bright: at least THRESHOLD, or 100 without that side packet."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FRAME"].set(list)
        cc.input_side_packets["THRESHOLD"].set(int).optional()
        cc.outputs["SPOTS"].set(list)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        """Take the threshold."""
        given = cc.input_side_packets.has_tag("THRESHOLD")
        self.threshold = cc.input_side_packets["THRESHOLD"].value if given else BRIGHT

    def process(self, cc: CalculatorContext) -> None:
        """Send a list, which may be empty."""
        frame: Frame = cc.inputs["FRAME"].value
        cc.outputs["SPOTS"].add([position for position, pixel in enumerate(frame) if pixel >= self.threshold])


@register_calculator
class Brightest(Calculator):
    """The position of the brightest pixel; nothing for a frame that is dark all over."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FRAME"].set(list)
        cc.outputs["SPOT"].set(int)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send a position, if there is one."""
        frame: Frame = cc.inputs["FRAME"].value
        if max(frame) >= BRIGHT:
            cc.outputs["SPOT"].add(frame.index(max(frame)))


@register_calculator
class RegionAround(Calculator):
    """The region of a spot: from one pixel before it to one behind it, as (begin, end)."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["SPOT"].set(int)
        cc.outputs["REGION"].set(tuple)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send a region."""
        spot: int = cc.inputs["SPOT"].value
        cc.outputs["REGION"].add((max(spot - 1, 0), spot + 2))


@register_calculator
class Crop(Calculator):
    """The pixels of a frame in a region; nothing without a region."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FRAME"].set(list)
        cc.inputs["REGION"].set(tuple)
        cc.outputs["FRAME"].set(list)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the part."""
        if not cc.inputs["REGION"].is_empty():
            begin, end = cc.inputs["REGION"].value
            cc.outputs["FRAME"].add(cc.inputs["FRAME"].value[begin:end])


@register_calculator
class SpotInFrame(Calculator):
    """A spot of a crop, counted from the frame's first pixel."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["SPOT"].set(int)
        cc.inputs["REGION"].set(tuple)
        cc.outputs["SPOT"].set(int)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the spot."""
        if not cc.inputs["SPOT"].is_empty():
            cc.outputs["SPOT"].add(cc.inputs["SPOT"].value + cc.inputs["REGION"].value[0])


@register_calculator
class Mark(Calculator):
    """The frame with its spots in full white, 255."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FRAME"].set(list)
        cc.inputs["SPOTS"].set(list)
        cc.outputs["FRAME"].set(list)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the marked frame."""
        spots = cc.inputs["SPOTS"].value
        cc.outputs["FRAME"].add([255 if at in spots else pixel for at, pixel in enumerate(cc.inputs["FRAME"].value)])


@register_calculator
class Sum(Calculator):
    """The sum of all numbers of a frame or block."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs[0].set(list)
        cc.outputs[0].set(int)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the sum."""
        cc.outputs[0].add(sum(cc.inputs[0].value))


@register_calculator
class Divide(Calculator):
    """NUMBER / BY."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["NUMBER"].set(int)
        cc.inputs["BY"].set(int)
        cc.outputs[0].set(float)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the quotient."""
        cc.outputs[0].add(cc.inputs["NUMBER"].value / cc.inputs["BY"].value)


@register_calculator
class Smooth(Calculator):
    """The mean of each number and the mean before it."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs[0].set(float)
        cc.outputs[0].set(float)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        """Begin without a mean."""
        self.mean: float | None = None

    def process(self, cc: CalculatorContext) -> None:
        """Send the mean."""
        value: float = cc.inputs[0].value
        self.mean = value if self.mean is None else (value + self.mean) / 2
        cc.outputs[0].add(self.mean)


@register_calculator
class FadingMask(Calculator):
    """Of each pixel the brighter one: that of the frame, or half of the mask before."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FRAME"].set(list)
        cc.inputs["PREVIOUS"].set(list)
        cc.outputs["MASK"].set(list)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the mask; the first one is the frame."""
        mask: Frame = cc.inputs["FRAME"].value
        if not cc.inputs["PREVIOUS"].is_empty():
            mask = [max(pixel, before // 2) for pixel, before in zip(mask, cc.inputs["PREVIOUS"].value, strict=True)]
        cc.outputs["MASK"].add(mask)


@register_calculator
class Difference(Calculator):
    """SECOND - FIRST, pixel by pixel."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports."""
        cc.inputs["FIRST"].set(list)
        cc.inputs["SECOND"].set(list)
        cc.outputs[0].set(list)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        """Send the difference."""
        pairs = zip(cc.inputs["FIRST"].value, cc.inputs["SECOND"].value, strict=True)
        cc.outputs[0].add([second - first for first, second in pairs])


@register_calculator
class WhatCame(Calculator):
    """For each call the tags of the inputs that have a packet, at timestamps 0, 1, 2 ..."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare the ports: any tags."""
        for port in cc.inputs:
            port.set_any()
        cc.outputs[0].set(list)

    def open(self, cc: CalculatorContext) -> None:
        """Begin to count."""
        self.calls = 0

    def process(self, cc: CalculatorContext) -> None:
        """Send the tags."""
        tags = [tag for tag in ("FRAME", "SOUND", "CLICK") if not cc.inputs[tag].is_empty()]
        cc.outputs[0].add(tags, Timestamp(self.calls))
        self.calls += 1
