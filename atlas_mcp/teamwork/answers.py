"""Reading typed answers out of what agents write.

Models wrap JSON in prose, in fences and in thoughts, and correct themselves downwards: so the last object in the text
that fits is the answer. What does not fit gives a ValueError whose text tells the agent what to mend. Reading takes
time in proportion to the text, whatever stands in it, and a text of more than MAX_ANSWER characters is not read at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound=BaseModel)
Check = Callable[[T], str | None]

MAX_ANSWER = 500_000
MAX_TRIES = 400
MAX_PROBLEMS = 8
MAX_SAID = 2_000
_THOUGHT = re.compile(r"<(?P<ends>/?)think(?:ing)?>")
_DECODER = json.JSONDecoder(strict=False)


class Endless(ValueError):
    """Raised for an answer that is too long to be one. It must not be read again: not by us, not by the agent."""

    def __init__(self, length: int) -> None:
        super().__init__(f"it has {length:,} characters; at most {MAX_ANSWER:,} are read")


def parse(text: str, model: type[T], check: Check[T] | None = None) -> T:
    """The last JSON object in the text that is a valid `model`; ValueError says what is wrong with the last one.

    `check` looks at the valid one and gives the reason for refusing it, or None. Endless for a text that is too long.
    """
    if len(text) > MAX_ANSWER:
        raise Endless(len(text))
    problem = "it contains no JSON object"
    for value in reversed(list(objects(text))):
        try:
            answer = model.model_validate(value)
        except ValidationError as error:
            problem = problem if problem != "it contains no JSON object" else describe(error)
            continue
        if check and (refusal := check(answer)):
            raise ValueError(refusal[:MAX_SAID])
        return answer
    raise ValueError(problem[:MAX_SAID])


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in the text, in order. At most MAX_TRIES opening braces are tried."""
    text, position = _without_thoughts(text), 0
    for _ in range(MAX_TRIES):
        start = text.find("{", position)
        if start < 0:
            return
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            position = start + 1
            continue
        yield cast("dict[str, Any]", value)


@cache
def schema(model: type[BaseModel]) -> str:
    """The model's JSON Schema as an agent reads it: compact, without titles. It takes milliseconds to make."""
    return json.dumps(_plain(model.model_json_schema()), separators=(",", ":"), ensure_ascii=False)


def describe(error: ValidationError) -> str:
    """What is wrong, one place after the other, in words."""
    problems = [f"{'.'.join(map(str, e['loc'])) or 'the answer'}: {e['msg']}" for e in error.errors()[:MAX_PROBLEMS]]
    return "; ".join(problems)


def _without_thoughts(text: str) -> str:
    """The text without what stands between the marks of a thought; one that never ends is none."""
    kept: list[str] = []
    position, begun = 0, -1
    for mark in _THOUGHT.finditer(text):
        if not mark["ends"] and begun < 0:
            begun = mark.start()
        elif mark["ends"] and begun >= 0:
            kept.append(text[position:begun])
            position, begun = mark.end(), -1
    return "".join([*kept, text[position:]])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {k: _plain(v) for k, v in items if not (k == "title" and isinstance(v, str))}
    if isinstance(value, list):
        return [_plain(v) for v in cast("list[Any]", value)]
    return value
