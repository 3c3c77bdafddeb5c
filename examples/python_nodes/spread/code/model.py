"""Mean and deviation of numbers of any type and shape."""

from typing import Any

import numpy as np
from pyovms import Tensor

from calculators import RequestError

from .weights import weights_of


class OvmsPythonModel:
    """Made once when the graph is loaded, and shared by all requests."""

    def initialize(self, kwargs: dict[str, Any]) -> None:
        """Get ready; a model would be loaded here, from below ``kwargs["base_path"]``."""
        self.least = 1

    def execute(self, inputs: list[Tensor]) -> list[Tensor]:
        """A tensor is a buffer, so that numpy reads it as it is."""
        numbers = np.array(inputs[0]).astype(np.float64).ravel()
        if numbers.size < self.least:
            raise RequestError("numbers is empty: give at least one", param="numbers")
        mean = np.average(numbers, weights=weights_of(numbers))
        deviation = np.sqrt(np.average((numbers - mean) ** 2, weights=weights_of(numbers)))
        return [Tensor("mean", np.array([mean])), Tensor("deviation", np.array([deviation]))]
