"""How long prompts are for a model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import openvino_genai

from calculators.image_gen.generation import GenerationRequest
from calculators.openvino_errors import readable

_log = logging.getLogger(__name__)
_PROMPTS = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")


class TokenCounter:
    """Counts tokens with the model's first tokenizer, which is loaded a second time for it: 0.15 s and some megabytes.

    Args:
        folder: the model's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer: Any = None
        try:
            self._tokenizer = openvino_genai.Tokenizer(folder / "tokenizer")
        except Exception as error:
            _log.warning("%s: tokens of prompts are not counted: %s", folder, readable(error))

    def count(self, request: GenerationRequest) -> int | None:
        """The tokens of all prompts that were given, also of those that the model cuts off; None where it does not tell."""
        texts = [text for name in _PROMPTS if (text := getattr(request, name)) is not None]
        try:
            return sum(int(self._tokenizer.encode(text, add_special_tokens=False).input_ids.shape[1]) for text in texts)
        except Exception:
            return None
