"""The models that a service announces: during an upgrade two versions answer side by side."""

import threading
import time
from collections.abc import Callable

from serve_app.client import ServiceError
from serve_app.model.card import ModelCard

TRIES = 30
"""Behind one address, one of few new workers is met by one of so many new connections."""
AGAIN_SECONDS = 1.0
"""An unknown version is asked for no more often: each answer may have one."""


class AnnouncedModels:
    """Cards of the versions that a service announces; safe for threads.

    Args:
        card: the one at the start, against whose answers predictions are compared.
        fetch: asks the service for its card, over a new connection.
    """

    def __init__(self, card: ModelCard, fetch: Callable[[], ModelCard]) -> None:
        self.first = card
        self._cards = {card.version: card}
        self._fetch = fetch
        self._lock = threading.Lock()
        self._asked_at = -AGAIN_SECONDS

    def card(self, version: str) -> ModelCard | None:
        """Card of a version; None if the service does not announce it."""
        found = self._cards.get(version)
        if found is not None:
            return found
        # All users meet the new version at once: one asks, the others wait for its answer.
        with self._lock:
            if version not in self._cards and time.monotonic() - self._asked_at >= AGAIN_SECONDS:
                self._ask_for(version)
                self._asked_at = time.monotonic()
            return self._cards.get(version)

    def _ask_for(self, version: str) -> None:
        for _ in range(TRIES):
            try:
                card = self._fetch()
            except ServiceError:
                continue
            self._cards[card.version] = card
            if version in self._cards:
                return
