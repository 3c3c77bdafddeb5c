"""Seeds as OpenVINO GenAI takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import openvino
import openvino_genai

_SEED_MASK: Final = 2**32 - 1


class _SeededNoise(openvino_genai.Generator):  # type: ignore[misc]  # its module has no types
    """Noise for several pictures at once, of a generator each: every picture gets what it would get alone."""

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        self._generators = [openvino_genai.CppStdGenerator(seed & _SEED_MASK) for seed in seeds]

    def randn_tensor(self, shape: Any) -> openvino.Tensor:
        """Noise of a shape whose first dimension counts the pictures."""
        one = openvino.Shape([1, *list(shape)[1:]])
        return openvino.Tensor(np.concatenate([each.randn_tensor(one).data for each in self._generators]))


def noise_of(seeds: Sequence[int]) -> dict[str, Any]:
    """The argument of ``generate`` that gives picture k the noise of ``seeds[k]``."""
    return {"rng_seed": seeds[0] & _SEED_MASK} if len(seeds) == 1 else {"generator": _SeededNoise(seeds)}
