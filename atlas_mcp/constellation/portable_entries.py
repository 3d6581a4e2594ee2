"""What a package of a constellation holds, entry by entry. Nothing here names an id of a Letta: they mean nothing
elsewhere. Keys and passwords have no place in it.

A field that is added later has a default, so that older packages are read; what changes the meaning of a field raises
FORMAT_VERSION.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from atlas_mcp.constellation.portable_remembered import Remembered
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.agent import AgentSpec, Roster
from atlas_mcp.model.group import GroupSpec

NAME = r"^[a-z][a-z0-9_]{0,99}$"
OWNER = r"^(\*|[a-z][a-z0-9_:.-]{0,199})$"
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"


class RevisionEntry(Frozen):
    """One value that a block had."""

    number: int = Field(ge=1)
    value: str
    operation: str
    author: str
    turn_id: str | None = None
    tool: str | None = None
    restores: int | None = None
    at: AwareDatetime


class BlockEntry(Frozen):
    """A block: `owner` is an agent, or `*` for one that all share. `value` is what it held when it was exported."""

    owner: str = Field(pattern=OWNER)
    label: str = Field(pattern=NAME)
    limit: int = Field(gt=0)
    description: str = ""
    value: str
    revisions: tuple[RevisionEntry, ...] = ()


class AgentEntry(Frozen):
    """An agent that had been created. `shared` are the labels of the blocks that it shares; more is in the roster."""

    name: str = Field(pattern=NAME)
    description: str
    system: str
    shared: tuple[str, ...] = ()
    created_at: AwareDatetime


class PassageEntry(Frozen):
    """One text of an agent's archive."""

    text: str = Field(min_length=1)
    tags: tuple[str, ...] = ()
    created_at: AwareDatetime


class TurnEntry(Frozen):
    """One message to an agent and what came of it; turns with the same `conversation` followed each other."""

    id: str = Field(min_length=1, max_length=200)
    key: str = Field(min_length=1, max_length=500)
    agent: str = Field(pattern=NAME)
    conversation: str
    run_id: str | None = None
    message: str
    status: str
    result: dict[str, Any] | None = None
    error: str | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class EventEntry(Frozen):
    """One entry of a run's journal."""

    seq: int = Field(ge=1)
    at: AwareDatetime
    actor: str
    type: str
    text: str
    turn_id: str | None = None
    data: dict[str, Any]
    key: str | None = None
    cause: int | None = None


class ArtifactEntry(Frozen):
    """A text that a run kept."""

    name: str
    text: str
    created_at: AwareDatetime


class RunEntry(Frozen):
    """A run that has ended, with its journal and its texts."""

    id: str = Field(pattern=RUN_ID)
    kind: str
    status: str = Field(pattern="^(completed|failed|cancelled)$")
    goal: str
    input: dict[str, Any]
    plan: dict[str, Any] | None = None
    progress: dict[str, Any]
    result: dict[str, Any] | None = None
    reply: str | None = None
    usage: dict[str, Any]
    budget: dict[str, Any] | None = None
    error: str | None = None
    note: str | None = None
    trace_id: str | None = None
    attempts: int = Field(ge=0)
    last_seq: int = Field(ge=0)
    created_at: AwareDatetime
    updated_at: AwareDatetime
    events: tuple[EventEntry, ...] = ()
    artifacts: tuple[ArtifactEntry, ...] = ()


class AdditionEntry(Frozen):
    """An agent or group that the caller added to the roster, as its spec says."""

    kind: Literal["agent", "group"]
    name: str = Field(pattern=NAME)
    spec: dict[str, Any]
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> AdditionEntry:
        spec = (AgentSpec if self.kind == "agent" else GroupSpec).model_validate(self.spec)
        if spec.name != self.name:
            raise ValueError(f"the spec is that of {spec.name!r}")
        return self


class SaidEntry(Frozen):
    """One message in a group's conversation."""

    number: int = Field(ge=1)
    source: str
    speaker: str
    to: tuple[str, ...] = ()
    text: str
    turn_id: str | None = None
    run_id: str
    key: str
    at: AwareDatetime


class GroupTalkEntry(Frozen):
    """One conversation with a group."""

    id: str = Field(min_length=1, max_length=200)
    group_name: str = Field(pattern=NAME)
    client: str
    created_at: AwareDatetime
    tended: int = Field(ge=0)
    tended_at: AwareDatetime
    messages: tuple[SaidEntry, ...] = ()


class DocumentEntry(Frozen):
    """A document that every agent can search; its text is in the passages whose source it is."""

    id: str = Field(min_length=1, max_length=200)
    project: str
    author: str
    name: str
    revision: int
    sha256: str
    chars: int
    chunks: int
    trust: float
    created_at: AwareDatetime
    updated_at: AwareDatetime


class FoundEntry(Frozen):
    """A passage that search_memory finds: of a document, a memory, a fact or a run, whose id is its `source`."""

    kind: str
    source: str = Field(min_length=1, max_length=200)
    ordinal: int = Field(ge=0)
    title: str
    project: str
    author: str
    trust: float
    at: AwareDatetime
    sha256: str
    text: str
    scope: str = "all"
    expires_at: AwareDatetime | None = None
    superseded_by: str | None = None
    used_at: AwareDatetime | None = None
    repeated: int = Field(default=0, ge=0)


class LearningEntry(Frozen):
    """Something that a run taught, as packages had it before there were memories; its text is among the passages."""

    id: str = Field(min_length=1, max_length=200)
    run_id: str
    agent: str
    kind: str
    text: str = Field(min_length=1)
    about: str
    audience: str
    project: str
    source: str
    quote: str
    confidence: float
    scores: dict[str, float]
    score: float
    trust: float
    at: AwareDatetime


class Knowledge(Frozen):
    """What the constellation can search."""

    documents: tuple[DocumentEntry, ...] = ()
    passages: tuple[FoundEntry, ...] = ()
    learnings: tuple[LearningEntry, ...] = ()
    remembered: Remembered = Remembered()


class Groups(Frozen):
    """What the caller added to the roster, and what was said in groups."""

    additions: tuple[AdditionEntry, ...] = ()
    conversations: tuple[GroupTalkEntry, ...] = ()


class Package(Frozen):
    """A whole constellation. `archives` by agent; `tools` holds the source of the user's own tools by name."""

    roster: Roster
    agents: tuple[AgentEntry, ...] = ()
    blocks: tuple[BlockEntry, ...] = ()
    archives: dict[str, tuple[PassageEntry, ...]] = Field(default_factory=dict)
    groups: Groups = Groups()
    knowledge: Knowledge = Knowledge()
    history: tuple[TurnEntry, ...] = ()
    runs: tuple[RunEntry, ...] = ()
    tools: dict[str, str] = Field(default_factory=dict)


class ManifestEntry(Frozen):
    """A file of the package; `size` in bytes."""

    name: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Frozen):
    """What the package says of itself: read first, and everything else is held against it."""

    format: str
    version: int
    atlas: str
    created_at: datetime
    entries: tuple[ManifestEntry, ...]
