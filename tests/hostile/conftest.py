"""An open Atlas with all its tools, held open for a whole file: thousands of calls come to the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from atlas_mcp.atlas import open_atlas
from atlas_mcp.settings import load_settings
from tests.hostile.house import House

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all of a file's cases."""
    home = tmp_path_factory.mktemp("hostile") / "home"
    with start_blocking_portal("asyncio") as portal:
        atlas = portal.wrap_async_context_manager(open_atlas(load_settings(home=home)))
        with atlas as opened, House.on(portal, opened, home) as house:
            yield house
