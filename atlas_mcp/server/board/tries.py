"""The wrong keys that were tried at the board, so that nobody tries many: each address has TRIES in TRY_SECONDS."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

TRIES: Final = 5
TRY_SECONDS: Final = 60.0
MAX_ADDRESSES: Final = 10_000


@dataclass
class Tries:
    """The wrong keys of the last TRY_SECONDS, by the address they came from; of many addresses the latest."""

    now: Callable[[], float] = time.monotonic
    _wrong: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict[str, deque[float]])

    def wait(self, address: str) -> float:
        """How many seconds that address must wait before another try; 0 if it need not."""
        wrong = self._wrong.get(address, deque[float]())
        return max(0.0, wrong[0] + TRY_SECONDS - self.now()) if len(wrong) == TRIES else 0.0

    def count(self, address: str) -> None:
        """One more that was wrong."""
        self._wrong.setdefault(address, deque[float](maxlen=TRIES)).append(self.now())
        self._wrong.move_to_end(address)
        while len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)
