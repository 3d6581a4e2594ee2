"""What MLflow, or a collector, can say to what is sent to it, when it does not take it."""

from __future__ import annotations


class Refused(Exception):
    """Raised when something is not acceptable to the other side, whenever it is sent."""


class PartlyRefused(Refused):
    """Raised when so many of the spans were refused and the others taken: nothing is to be sent again."""

    def __init__(self, message: str, spans: int) -> None:
        super().__init__(message)
        self.spans = spans


class NotYet(Exception):
    """Raised when a note may be taken later: what it is about is not there yet."""


class Unreachable(Exception):
    """Raised when the other side cannot take anything now. `after_seconds`: how long it wants to be left alone."""

    def __init__(self, message: str, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds
