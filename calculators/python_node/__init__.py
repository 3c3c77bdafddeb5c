"""OpenVINO Model Server's Python nodes: handlers that a model folder brings along, and the tensors that they take and give.

``tensor``: ``pyovms.Tensor``. ``calculator``, ``converter``: the nodes. ``loading``: handlers, made once for each node.
"""
