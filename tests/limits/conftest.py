"""An open Atlas on an empty home, and a client on its server, as the server's own suite has them."""

from __future__ import annotations

from tests.server.conftest import atlas as atlas
from tests.server.conftest import client as client
