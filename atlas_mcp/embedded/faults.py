"""How the embedded Letta says no, in the shapes of Letta's own errors.

Fault
├── Refused        a request that cannot be done: `{"detail": ...}` with a 4xx status
├── Unusable       the database cannot be used: `{"detail": ...}` with 503
└── ModelFault     the language model failed: `{"error": {"type": "llm_...", "message", "detail"}}`
"""

from __future__ import annotations

from typing import Any

_BY_STATUS = {
    400: (400, "llm_bad_request", "The model's provider refused the request."),
    401: (401, "llm_authentication", "The model's provider refused the key."),
    403: (401, "llm_authentication", "The model's provider refused the key."),
    404: (400, "llm_bad_request", "The model's provider does not know the model."),
    408: (504, "llm_timeout", "The model did not answer in time."),
    413: (400, "llm_bad_request", "The request is too long for the model."),
    422: (400, "llm_bad_request", "The model's provider refused the request."),
    429: (429, "llm_rate_limit", "The model's provider limits the rate of requests. Wait before trying again."),
    504: (504, "llm_timeout", "The model did not answer in time."),
    529: (502, "llm_error", "The model's provider is overloaded."),
}
_OTHER = (502, "llm_error", "The model failed.")
_SAYS = ("transient", "retry_after")
_DETAIL_CHARS = 4_000


class Fault(Exception):
    """Raised for everything that ends a request with an error; never raised itself."""

    status: int = 500

    def body(self) -> dict[str, Any]:
        """The JSON body of the error response."""
        return {"detail": str(self)}


class Refused(Fault):
    """Raised when a request asks for what does not exist, is not allowed or does not fit."""

    def __init__(self, status: int, detail: str | dict[str, Any]) -> None:
        super().__init__(detail if isinstance(detail, str) else str(detail.get("message", detail)))
        self.status = status
        self.detail = detail

    def body(self) -> dict[str, Any]:
        return {"detail": self.detail}


class Unusable(Fault):
    """Raised when the database file cannot be opened, read or written; whatever was being written is undone."""

    status = 503


class ModelFault(Fault):
    """Raised when the language model of a turn failed; nothing of that turn is kept."""

    def __init__(self, status: int, kind: str, message: str, detail: str, told: dict[str, Any]) -> None:
        super().__init__(f"{message} {detail}")
        self.status, self.kind, self.message, self.detail, self.told = status, kind, message, detail, told

    def body(self) -> dict[str, Any]:
        return {"error": {"type": self.kind, "message": self.message, "detail": self.detail, **self.told}}


class CallerGone(Exception):
    """Raised in place of what sending to the caller raised, so that it is not taken for the model's failure."""


def model_fault(error: Exception) -> ModelFault:
    """The Letta-shaped form of whatever a model raised, by its HTTP status where it has one.

    What the error itself says of trying again, as its `transient` and its `retry_after` in seconds, is told beside it.
    """
    status, kind, message = _BY_STATUS.get(_status_of(error), _OTHER)
    if status == 502 and _timed_out(error):
        status, kind, message = _BY_STATUS[504]
    detail = str(error) or type(error).__name__
    told = {name: value for name in _SAYS if (value := getattr(error, name, None)) is not None}
    return ModelFault(status, kind, message, detail[:_DETAIL_CHARS], told)


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(links) < 8:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _status_of(error: BaseException) -> int:
    for link in _chain(error):
        status = getattr(link, "status_code", None)
        if isinstance(status, int):
            return status
    return 0


def _timed_out(error: BaseException) -> bool:
    return any(isinstance(link, TimeoutError) or "timeout" in type(link).__name__.lower() for link in _chain(error))


def not_found(what: str, id: str) -> Refused:
    """The 404 of an id that does not exist."""
    return Refused(404, f"{what} with ID {id} not found")
