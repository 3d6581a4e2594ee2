"""What the server says about itself: one JSON object a line, on stderr, which hosts keep as the server's log.

Whatever a client calls itself or asks for, it can neither begin a line of its own nor steer the terminal of who reads:
signs that control, turn the direction of writing round or cannot be written stand in the line as escapes of JSON.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if data := getattr(record, "data", None):
            line["data"] = data
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _STEERING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(line, ensure_ascii=False, default=str))


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Send all logging there from now on; what had been set up before is replaced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
