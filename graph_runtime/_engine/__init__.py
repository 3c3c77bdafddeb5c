"""The engine that runs a Plan; private.

``workers.py`` has the threads, ``stream.py`` the streams, ``node.py`` compiles each node into one closure, ``run.py`` decides
what happens next. Only ``workers.py`` and ``run.py`` know threads and locks, and user code is never called with a lock held
that an adding thread needs.
"""
