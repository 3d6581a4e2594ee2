"""Measures of a text: pure, needs nothing outside, registered with Letta as it stands."""

KIND = "pure"
POOLS = ("outputs", "rating", "analysis")


def text_statistics(text: str) -> str:
    """Measure a text: characters, words, sentences, paragraphs, how long its sentences are, and the longest one.

    Args:
        text (str): The text to measure.

    Returns:
        str: One measure a line, and the longest sentence.
    """
    import re

    words = re.findall(r"\w+(?:['’-]\w+)*", text)
    sentences = [s.strip() for s in re.split(r"(?<=[.!?…。！？])\s+|\n\s*\n", text) if re.search(r"\w", s)]
    paragraphs = [p for p in re.split(r"\n\s*\n", text) if p.strip()]
    if not words:
        raise ValueError("text: it has no words")
    longest = max(sentences, key=lambda s: len(s.split()))
    shown = longest if len(longest) <= 300 else longest[:300] + " …"
    measures = {
        "characters": f"{len(text):,}",
        "words": f"{len(words):,}",
        "different words": f"{len({w.casefold() for w in words}):,}",
        "sentences": f"{len(sentences):,}",
        "paragraphs": f"{len(paragraphs):,}",
        "words a sentence": f"{len(words) / len(sentences):.1f}",
        "longest sentence, words": f"{len(longest.split()):,}",
        "reading time at 230 words a minute": f"{len(words) / 230:.1f} min",
    }
    return "\n".join([*(f"{name}: {value}" for name, value in measures.items()), f"longest sentence: {shown}"])
