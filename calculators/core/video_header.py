"""VideoHeader: what is known of a video stream before its first frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """The header of a stream of frames (MediaPipe ``formats/video_stream_header.h``).

    Attributes:
        format: number of the image format, 0 where it is not known.
        width, height: pixels.
        duration: seconds.
        frame_rate: frames per second.
    """

    format: int = 0
    width: int = 0
    height: int = 0
    duration: float = 0.0
    frame_rate: float = 0.0
