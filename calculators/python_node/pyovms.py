"""The module that handlers of Python nodes import as ``pyovms``: a class, :class:`Tensor`."""

from calculators.python_node.tensor import Tensor

__all__ = ["Tensor"]
