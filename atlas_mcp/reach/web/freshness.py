"""For how long a page that was read may be given again without asking: as its server says, within bounds.

The least is so long that an agent that reads a long page in parts reads one state of it, whatever the server says.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST = timedelta(minutes=5)
MOST = timedelta(days=1)
UNSAID = timedelta(hours=1)


def fresh_until(headers: Mapping[str, str], now: datetime) -> datetime:
    """Until when. `headers` answer to names in small letters; `now` has a time zone."""
    said = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(?:cache|store)\b", said):
        return now + LEAST
    if age := re.search(r"\bmax-age\s*=\s*\"?([0-9]{1,9})", said):
        return now + _bounded(timedelta(seconds=int(age[1]) - _spent(headers)))
    if expires := headers.get("expires"):
        try:
            return now + _bounded(parsedate_to_datetime(expires) - now)
        except (ValueError, TypeError, OverflowError):  # no date, or one without a zone: it is over, says RFC 9111
            return now + LEAST
    return now + UNSAID


def _spent(headers: Mapping[str, str]) -> int:
    """How old it was when it came, in seconds."""
    age = headers.get("age", "")
    return int(age[:9]) if age.isascii() and age.isdigit() else 0


def _bounded(span: timedelta) -> timedelta:
    return max(LEAST, min(MOST, span))
