"""The engine that runs a Plan; private.

``workers.py`` has the threads, ``scheduler.py`` decides which of them works on a run, and ``run.py`` what happens next.
``stream.py`` has the streams, ``node.py`` the nodes, ``throttle.py`` the full queues. ``steps.py`` chooses the
function that runs a node, from ``inline_steps.py`` and ``detached_steps.py``; ``calls.py`` is what they share.

Only ``workers.py``, ``scheduler.py`` and ``run.py`` know threads and locks, and adding a packet never waits for a thread that runs
user code.
"""
