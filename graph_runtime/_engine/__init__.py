"""The engine that runs a Plan; private.

``workers.py`` has the threads, ``stream.py`` the streams, ``node.py`` the nodes. ``steps.py`` compiles each node into a closure
(with ``inline_steps.py``, ``detached_steps.py`` and ``calls.py``). ``throttle.py`` knows full queues, and ``run.py`` decides what
happens next and on which thread. Only ``workers.py`` and ``run.py`` know threads and locks, and adding a packet never waits for a
thread that runs user code.
"""
