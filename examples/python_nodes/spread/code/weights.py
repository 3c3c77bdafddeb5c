"""How much each number counts."""

from typing import Any

import numpy as np


def weights_of(numbers: Any) -> Any:
    """All the same."""
    return np.ones_like(numbers)
