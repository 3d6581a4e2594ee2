"""A script read from its file, TOML or JSON."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.script import Script

if TYPE_CHECKING:
    from pathlib import Path


def read_script(path: Path) -> Script:
    """The script in that file. ConfigurationError for one that cannot be read, with what is wrong in it, and where."""
    try:
        text = path.read_text(encoding="utf-8")
        return Script.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(
        f"the script {path} of the scripted model cannot be used: {problem}.",
        argument="ATLAS_MODEL",
        next_step="Name a file with [[rules]], as scripted:FILE, or another model.",
    )
