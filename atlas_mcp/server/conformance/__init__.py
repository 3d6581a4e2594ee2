"""What the protocol's official conformance suite calls: `serve --conformance`, for tests of ATLAS itself.

The suite needs tools of given names that do given things. They stand on the same server, behind the same middleware and
the same extension as the tools of ATLAS; without the option none of this is there.
"""

from __future__ import annotations
