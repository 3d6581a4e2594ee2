"""The offline model."""

from __future__ import annotations

from langchain_core.language_models.fake_chat_models import FakeListChatModel


class OfflineModel(FakeListChatModel):
    """A first version."""

    delay: float = 0
