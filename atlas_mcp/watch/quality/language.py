"""In which language a text is, as far as its letters and its commonest words tell.

A language counts only when it is clear: three of its common words at least, and half as many again as of any other.
Short texts and those in other languages than these have none, and nothing is then said of them.
"""

from __future__ import annotations

import re
from typing import Final

_READ: Final = 6_000
_LEAST, _CLEARLY = 3, 1.5
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+")

_COMMON: Final = {
    "English": "the of and to is in that it for was on are with as be this have from by at not or an what which how "
    "you we they can would there their has will when who if do does about your please my me",
    "German": "der die das und ist nicht ein eine einen einem zu den von mit sich des auf für dem im es auch als wie "
    "wir ich sie er aus bei nach wird sind oder was welche kann gibt wurde zum zur über bitte mir",
    "French": "le les des et est une du dans qui que pour pas sur avec sont ce il elle au aux par plus nous vous je "
    "ne se ou cette ces quel quelle être leur mais comment pourquoi",
    "Spanish": "el los las y es una del que en por con para se no su al lo como más pero sus le ha este esta son "
    "qué cuál cómo porque muy entre ser yo nos hay",
    "Italian": "il gli di che è un una per non con del della sono si da come più anche ma nel alla dei delle lo ha "
    "questo questa quale perché cosa essere",
    "Portuguese": "o os um uma e é do da dos das em no na que não com para por mais como mas se ao foi são pelo pela "
    "qual você isso está ser",
    "Dutch": "het een van en is dat niet op te zijn met voor aan er ook als maar om wat hoe deze dit bij naar uit "
    "wordt kan welke geen worden",
    "Polish": "i w nie na się jest że to do z jak co po czy ale od za przez tak są dla który która jego",
}
_WORDS: Final = {name: frozenset(listed.split()) for name, listed in _COMMON.items()}

_SCRIPTS: Final = (
    ("Japanese", re.compile(r"[\u3040-\u30ff]")),  # before Han, which it also writes
    ("Korean", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("Chinese", re.compile(r"[\u3400-\u9fff]")),
    ("Arabic script", re.compile(r"[\u0600-\u06ff]")),
    ("Hebrew", re.compile(r"[\u0590-\u05ff]")),
    ("Greek", re.compile(r"[\u0370-\u03ff]")),
    ("Thai", re.compile(r"[\u0e00-\u0e7f]")),
    ("Cyrillic script", re.compile(r"[\u0400-\u04ff]")),
    ("Devanagari", re.compile(r"[\u0900-\u097f]")),
)
_A_FEW: Final = 4

_NAMED = re.compile(
    r"\b(?:translat\w*|übersetz\w*|tradui\w*|traduc\w*|traduz\w*|tradu[zç]\w*|vertaal\w*|"
    r"english|german|french|spanish|italian|portuguese|dutch|polish|russian|chinese|japanese|korean|arabic|hebrew|"
    r"greek|latin|hindi|turkish|swedish|danish|norwegian|finnish|czech|ukrainian|thai|language|"
    r"englisch\w*|deutsch\w*|französisch\w*|spanisch\w*|italienisch\w*|sprache|anglais\w*|allemand\w*|français\w*|"
    r"espagnol\w*|langue|inglés|alemán|francés|español|idioma)\b",
    re.IGNORECASE,
)


def language_of(text: str) -> str | None:
    """The language, or the script where that is all that is clear; None where nothing is."""
    own = _CODE.sub(" ", text[:_READ])
    letters = sum(map(len, _WORD.findall(own)))
    for name, script in _SCRIPTS:
        found = len(script.findall(own))
        if found >= _A_FEW and found > letters / (4 if name == "Japanese" else 2):
            return name
    words = [word.casefold() for word in _WORD.findall(own)]
    hits = sorted(((sum(word in common for word in words), name) for name, common in _WORDS.items()), reverse=True)
    (most, best), (second, _) = hits[:2]
    return best if most >= _LEAST and most >= _CLEARLY * second else None


def names_a_language(text: str) -> bool:
    """Whether the text speaks of languages or of translating: then an answer may well be in another one."""
    return bool(_NAMED.search(text))
