"""What a node allows its requests: its options, its model, and what a server adds to both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import NodeSettings

MIB: Final = 1024 * 1024


class ImageStore(Protocol):
    """Keeps pictures for a while, for answers with URLs in the place of pictures."""

    def put(self, image: bytes, output_format: str) -> str:
        """Keep an encoded file (``png``, ``jpeg`` or ``webp``); returns the name under which it can be fetched.

        Raises:
            OSError: it could not be written.
        """


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What graph.pbtxt has no field for.

    Attributes:
        quality: name of a preset, as the field ``quality`` gives it -> its number of steps.
        max_upload_bytes: the largest picture or mask that may be uploaded, as a file.
        max_upload_pixels: the largest one as width x height.
        store: for ``response_format: "url"``; None refuses it.
    """

    quality: Mapping[str, int] = field(default_factory=dict)
    max_upload_bytes: int = 50 * MIB
    max_upload_pixels: int = 64_000_000
    store: ImageStore | None = None


@dataclass(frozen=True, slots=True)
class RequestRules:
    """All that a request is checked against."""

    settings: NodeSettings
    model: ModelInfo
    requests: RequestSettings = field(default_factory=RequestSettings)

    @property
    def shape_title(self) -> str:
        """How texts about compiled shapes begin. OVMS's speak of NPUs whatever the device is."""
        on_npu = any("NPU" in device for device in self.settings.load.devices)
        return "NPU Image Generation" if on_npu else "Image Generation"
