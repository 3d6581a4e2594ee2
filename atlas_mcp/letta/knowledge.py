"""What one Letta has to read beyond blocks: archives that are searched, and folders of files that agents open.

Promise: a file put again under its name takes the old one's place; what is not there is no error to remove.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.faults import LettaRefused, exchange, translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_client import AsyncLetta

_READ_SECONDS = 120.0
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A text of an agent's archive that a search found; `at` as Letta writes it."""

    id: str
    text: str
    at: str | None


class LettaKnowledge:
    """The archives and folders of one Letta; `embedding` is the handle for folders."""

    def __init__(self, client: AsyncLetta, embedding: str | None = None) -> None:
        self._client = client
        self._embedding = embedding

    async def search_archive(self, agent_id: str, query: str, limit: int) -> list[FoundPassage]:
        """The passages of the agent's archive that Letta finds best; LettaLost if there is no such agent."""
        with exchange():
            found = await self._client.agents.passages.search(agent_id, query=query, top_k=limit)
            return [FoundPassage(one.id, one.content, one.timestamp) for one in found.results[:limit]]

    async def folder(self, name: str, description: str) -> str:
        """The id of the folder of that name, which is made unless it is there."""
        more: dict[str, Any] = {"embedding": self._embedding} if self._embedding else {}
        with exchange():
            page = await self._client.folders.list(name=name)
            for known in page.items:
                if known.name == name:
                    return known.id
            return (await self._client.folders.create(name=name, description=description, **more)).id

    async def delete_folder(self, folder_id: str) -> None:
        """Delete the folder and its files, if it is there."""
        try:
            with exchange():
                await self._client.folders.delete(folder_id)
        except LettaLost:
            return

    async def attach_folder(self, agent_id: str, folder_id: str) -> None:
        """Let the agent read the folder; twice is harmless. LettaLost if there is no such agent or folder.

        Letta opens files into the context of the agents that get them, where every turn pays for them: they are closed.
        """
        with exchange():
            await self._client.agents.folders.attach(folder_id, agent_id=agent_id)
            await self._client.agents.files.close_all(agent_id)

    async def put_file(self, folder_id: str, name: str, text: str, agents: Sequence[str] = ()) -> str:
        """Put a text into the folder and wait until Letta has read it; the file's id. It is open for none of `agents`.

        LettaLost if there is no such folder, LettaRefused if Letta cannot take it, LettaUnavailable if that takes long.
        """
        with exchange():
            made = await self._client.folders.files.upload(
                folder_id, file=(name, text.encode(), "text/plain"), duplicate_handling="replace", name=name
            )
        file_id = made.id or ""
        await self._read(folder_id, file_id)
        for agent_id in agents:
            try:
                with exchange():
                    await self._client.agents.files.close(file_id, agent_id=agent_id)
            except LettaLost:
                continue  # the agent is gone, or never had it open
        return file_id

    async def remove_file(self, folder_id: str, file_id: str) -> None:
        """Delete the file, if it is there."""
        try:
            with exchange():
                await self._client.folders.files.delete(file_id, folder_id=folder_id)
        except LettaLost:
            return

    async def _read(self, folder_id: str, file_id: str) -> None:
        """Wait until Letta has read the file."""
        with translated(), anyio.fail_after(_READ_SECONDS):
            while True:
                now = await self._client.folders.files.retrieve(file_id, folder_id=folder_id)
                if now.processing_status == "completed":
                    return
                if now.processing_status == "error":
                    raise LettaRefused(f"Letta could not read the file: {now.error_message or 'no reason given'}", 422)
                await anyio.sleep(_PAUSE)
