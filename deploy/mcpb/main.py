"""What the bundle starts: ATLAS, with what its user filled in as the settings that ATLAS reads."""

from __future__ import annotations

import os
import sys

KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "google": "GOOGLE_API_KEY"}


def filled_in(name: str) -> str:
    """The value that the user filled in; some hosts leave the place of an empty one as it stands in the manifest."""
    value = os.environ.pop(f"ATLAS_BUNDLE_{name}", "").strip()
    return "" if value.startswith("${user_config.") else value


def settings() -> dict[str, str]:
    """The settings that follow from it."""
    provider, model, key, home = (filled_in(name) for name in ("PROVIDER", "MODEL", "KEY", "HOME"))
    made = {"ATLAS_HOME": home, "ATLAS_MODEL": f"{provider or 'anthropic'}:{model}" if model else ""}
    made[KEYS.get(provider or "anthropic", "")] = key
    return {name: value for name, value in made.items() if name and value}


if __name__ == "__main__":
    os.environ.update(settings())
    sys.argv[1:] = ["serve"]
    from atlas_mcp.__main__ import main

    main()
