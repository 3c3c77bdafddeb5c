"""Sessions that several graphs share: each model is loaded once, and given back when the last of them lets go."""

from __future__ import annotations

import threading
from collections.abc import Callable

from calculators.inference.model_load import ModelLoad
from calculators.inference.session import Session


class SessionPool:
    """Equal loads share a session. Any thread may call it; who asks for a model that another thread loads waits for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[ModelLoad, _Place] = {}

    def open(self, load: ModelLoad, make: Callable[[ModelLoad], Session]) -> Session:
        """The session of a model, made now if nobody uses it yet; ``release`` it as often as it was opened.

        Raises:
            LoadError: the model cannot be loaded.
        """
        with self._lock:
            place = self._places.setdefault(load, _Place())
            place.users += 1
        try:
            with place.loading:
                if place.session is None:
                    place.session = make(load)
                return place.session
        except BaseException:
            self.release(load)
            raise

    def release(self, load: ModelLoad) -> None:
        """Let go; the last one closes the session."""
        with self._lock:
            place = self._places[load]
            place.users -= 1
            if place.users:
                return
            del self._places[load]
        if place.session is not None:
            place.session.close()


class _Place:
    def __init__(self) -> None:
        self.users = 0
        self.loading = threading.Lock()
        self.session: Session | None = None
