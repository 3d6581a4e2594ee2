"""A goal taken apart: its aspects, and how pressing, how large and of what kind it is, by rules."""

from __future__ import annotations

import re

from atlas_mcp.model.plan import Complexity, Priority, TaskKind
from atlas_mcp.models.offline.passages import sentences
from atlas_mcp.models.offline.words import asked_terms, surface, words

MOST_ASPECTS = 5
_ASKS = r"what|why|how|when|where|which|who|whether|if"
_VERBS = (
    r"explain|describe|summari[sz]e|discuss|show|find|list|outline|report|compare|analy[sz]e|recommend|assess|evaluate"
)
_DIVIDE = re.compile(
    rf"\s*[;?]\s+|,\s+(?:and\s+|or\s+|then\s+)*(?=(?:{_ASKS}|{_VERBS})\b)|\s+and\s+(?:then\s+)?(?=(?:{_ASKS}|{_VERBS})\b)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:please\s+|then\s+|also\s+|and\s+)*(?:explain|describe|summari[sz]e|discuss|show|tell\s+\w+|find(?:\s+out)?|"
    r"list|outline|report|work\s+out|analy[sz]e|set\s+out|write\s+(?:about|on)|give\s+\w+)\s+(?:(?:in\s+detail|briefly)"
    r"\s+)?",
    re.IGNORECASE,
)
_URGENT = re.compile(r"\b(?:urgent(?:ly)?|asap|immediately|right now|today|emergency|at once)\b", re.IGNORECASE)
_HIGH = re.compile(r"\b(?:important|critical|soon|deadline|tomorrow|quickly|high priority)\b", re.IGNORECASE)
_LOW = re.compile(r"\b(?:whenever|no hurry|low priority|some ?time|when you can|not urgent|no rush)\b", re.IGNORECASE)
_KINDS: dict[TaskKind, re.Pattern[str]] = {
    "research": re.compile(
        r"\b(?:research|find|search|look up|who|when|where|gather|collect|sources?)\b", re.IGNORECASE
    ),
    "analysis": re.compile(
        r"\b(?:why|how|analy[sz]e|compare|evaluate|assess|explain|causes?|effects?|trends?|recommend|weigh)\b",
        re.IGNORECASE,
    ),
    "writing": re.compile(r"\b(?:write|draft|essay|article|letter|summari[sz]e|summary|brief|blog)\b", re.IGNORECASE),
    "review": re.compile(r"\b(?:review|proofread|check|rate|critique|fact-check|verify)\b", re.IGNORECASE),
}


def aspects(goal: str) -> list[str]:
    """What the goal asks, one thing each, at most MOST_ASPECTS; a goal that cannot be divided is its one aspect.

    What says nothing by itself stays with what stands before it.
    """
    found: list[str] = []
    for sentence in sentences(" ".join(goal.split())):
        divided = [part for part in _DIVIDE.split(sentence.rstrip(".!? ")) if part and part.strip()]
        for n, part in enumerate(divided):
            piece = _LEAD.sub("", part.strip(" .,;:?!"))
            if n and found and (len(asked_terms(piece)) < 2 or not _stands_alone(piece)):
                found[-1] = f"{found[-1]}, {piece}"
            elif asked_terms(piece):
                found.append(piece)
    return found[:MOST_ASPECTS] or [" ".join(goal.split()).strip(" .,;:?!") or "the goal"]


def shape_of(question: str) -> re.Pattern[str] | None:
    """How sentences look that answer such a question: definitions, reasons, ways; None where nothing tells."""
    if _DEFINITION.search(question):
        subject = rf"\b{re.escape(_subject(question))}\w*"
        return re.compile(rf"{subject}.{{0,25}}{_DEFINES}|{_DEFINES}.{{0,25}}{subject}", re.IGNORECASE)
    return next((looks for asks, looks, _ in _SHAPES if asks.search(question)), None)


def words_of_answers(question: str) -> tuple[str, ...]:
    """Words that sentences tend to have which answer such a question, to search for along with its own."""
    if _DEFINITION.search(question):
        return ("understand", "mean")
    return next((hints for asks, _, hints in _SHAPES if asks.search(question)), ())


_DEFINITION = re.compile(r"\bwhat\b.*\b(?:is|are|was|were|means?|meant)\b|\bdefin", re.IGNORECASE)
_DEFINES = (
    r"(?:\bI (?:mean|understand)\b|\bis (?:an?|the)\b|\bare (?:the|those)\b|\bmeans\b|\bis called\b|\bis defined\b)"
)
_SHAPES: tuple[tuple[re.Pattern[str], re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"\bwhy\b|\breasons?\b|\bcauses?\b", re.IGNORECASE),
        re.compile(
            r"\b(?:because|since|therefore|for the reason|(?:as|so) long as|owing to|source of|causes? of)\b",
            re.IGNORECASE,
        ),
        ("because", "reason"),
    ),
    (
        re.compile(r"\bhow\b", re.IGNORECASE),
        re.compile(
            r"\b(?:by \w+ing|by means|means of|enables?|renders?|makes? it|prevents?|controls?|so that|through|"
            r"more difficult|less (?:likely|probable))\b",
            re.IGNORECASE,
        ),
        ("means",),
    ),
)


def _subject(question: str) -> str:
    """The last telling word of a question for a definition: what it asks about."""
    kept = asked_terms(question)
    return surface(question).get(kept[-1], kept[-1])[:-1] if kept else "it"


def without_lead(goal: str) -> str:
    """The goal without the verb that asks for an explanation, a list or the like."""
    return _LEAD.sub("", " ".join(goal.split()).strip(" .,;:?!"))


def headline(aspect: str, most: int = 70) -> str:
    """The aspect as a heading."""
    text = " ".join(aspect.split()).strip(" .,;:?!")
    if len(text) > most:
        text = text[:most].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"
    return text[:1].upper() + text[1:]


def priority(goal: str) -> Priority:
    """How pressing the goal says it is."""
    if _LOW.search(goal):
        return "low"
    if _URGENT.search(goal):
        return "urgent"
    return "high" if _HIGH.search(goal) else "normal"


def kind(goal: str) -> TaskKind:
    """What kind of work the goal names; mixed when it names several, or none."""
    named: list[TaskKind] = [k for k, pattern in _KINDS.items() if pattern.search(goal)]
    return named[0] if len(named) == 1 else "mixed"


def complexity(goal: str, characters: int, materials: int) -> Complexity:
    """How large the work is: by the aspects of the goal and by how much there is to read."""
    count = len(aspects(goal))
    if count >= 3 or characters > 60_000 or materials >= 4:
        return "complex"
    return "simple" if count == 1 and characters < 3_000 and len(words(goal)) < 12 else "moderate"


def _stands_alone(piece: str) -> bool:
    """Whether the piece asks something of its own, rather than going on with a list."""
    return bool(re.match(rf"(?:{_ASKS})\b", piece, re.IGNORECASE)) or len(asked_terms(piece)) > 2
