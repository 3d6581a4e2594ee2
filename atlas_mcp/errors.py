"""Every error ATLAS raises on purpose, as one tree.

    AtlasError
    ├── InvalidInput            an argument that cannot be used
    │   ├── UnknownAgent, UnknownTeam, UnknownGroup, UnknownBlock, UnknownConversation
    │   ├── UnknownRun, UnknownMemory, UnknownRevision
    │   ├── OverLimit, StaleRevision, ReadOnlyBlock, IllegalChange
    │   └── BrokenPackage
    ├── ConfigurationError      a setting, file or key that must be mended first
    │   ├── BrokenRoster, UnwritableHome, NewerRecord, BrokenStore
    │   ├── UnknownModel, UnpricedModel, MissingKey, MissingPackage
    │   └── UnusableLetta, PortInUse
    ├── NotAllowed              the caller's key or login does not cover what was asked
    ├── Unavailable             something outside does not answer; trying again may help
    │   ├── LettaUnavailable
    │   │   └── LettaLost
    │   ├── ModelFailed
    │   ├── EmbedderFailed
    │   ├── ConstellationMoving
    │   ├── LockTimeout
    │   ├── LockLost
    │   ├── StoreUnavailable
    │   └── LimitReached        the caller asks more than it may for now; says when to try again
    ├── BudgetSpent             a turn was refused: it would go beyond a limit; never tried again by itself
    ├── UnusableAnswer          an agent's answer that could not be read, also after asking again
    ├── RunLost                 the run is no longer this executor's: it ended, or another process has it
    ├── Waiting                 the run waits for an answer, and goes on in a later attempt
    ├── NotApproved             the caller, or the deadline, said no to what was asked
    └── ToolFailed              a tool of an agent raised, hung or was refused

Each carries what a person or a model needs to go on: the message says what is wrong, `argument` names the input,
`allowed` what would be right, `next_step` what to do. `str(error)` joins them into one readable text.
"""

from __future__ import annotations

from difflib import get_close_matches
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class AtlasError(Exception):
    """Raised for everything ATLAS refuses or fails at knowingly; never raised itself."""

    def __init__(
        self, message: str, *, argument: str | None = None, allowed: Sequence[str] = (), next_step: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument
        self.allowed = tuple(allowed)
        self.next_step = next_step

    def __str__(self) -> str:
        text = f"{self.argument}: {self.message}" if self.argument else self.message
        return f"{text} {self.next_step}" if self.next_step else text


class InvalidInput(AtlasError):
    """Raised when an argument cannot be used; nothing was changed."""


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    nearest = next((k for k in known if close and k.lower() == close[0]), None)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    return f"there is no {what} {name!r}.{hint} There are: {', '.join(known) or 'none'}."


class UnknownAgent(InvalidInput):
    """Raised when no agent of the caller's constellation has that name."""

    def __init__(self, name: str, known: Sequence[str], *, argument: str = "agent") -> None:
        super().__init__(_unknown("agent", name, known), argument=argument, allowed=known)


class UnknownTeam(InvalidInput):
    """Raised when the roster has no team of that name."""

    def __init__(self, name: str, known: Sequence[str], *, argument: str = "teams") -> None:
        super().__init__(_unknown("team", name, known), argument=argument, allowed=known)


class UnknownGroup(InvalidInput):
    """Raised when the caller has no group of that name."""

    def __init__(self, name: str, known: Sequence[str], *, argument: str = "group") -> None:
        super().__init__(_unknown("group", name, known), argument=argument, allowed=known)


class UnknownBlock(InvalidInput):
    """Raised when an agent has no block with that label."""

    def __init__(self, label: str, agent: str, known: Sequence[str]) -> None:
        super().__init__(_unknown(f"block of {agent}", label, known), argument="label", allowed=known)


class UnknownConversation(InvalidInput):
    """Raised when the caller has no such conversation with that agent."""

    def __init__(self, conversation: str, agent: str) -> None:
        super().__init__(
            f"there is no conversation {conversation!r} with {agent}.",
            argument="conversation",
            next_step="Leave it out for your own thread with the agent, or pass 'new' to open one.",
        )


class UnknownRun(InvalidInput):
    """Raised when the caller has no such run; also for a run of another caller, which does not exist for this one."""

    def __init__(self, run_id: str, argument: str = "run_id") -> None:
        super().__init__(
            f"there is no run {run_id!r}.", argument=argument, next_step="Call list_runs() to see your runs."
        )


class UnknownMemory(InvalidInput):
    """Raised when the caller has no such memory, or has it no more."""

    def __init__(self, memory_id: str) -> None:
        super().__init__(
            f"there is no memory {memory_id!r}; it may have expired.", argument="id", next_step="Call list_memories."
        )


class OverLimit(InvalidInput):
    """Raised when a text is longer than it may be; says how long it was and how long it may be, in characters."""

    def __init__(self, argument: str, length: int, limit: int, *, next_step: str | None = None) -> None:
        super().__init__(
            f"{length:,} characters is too long: the limit is {limit:,}.",
            argument=argument,
            next_step=next_step or f"Shorten it by {length - limit:,} characters.",
        )
        self.length = length
        self.limit = limit


class StaleRevision(InvalidInput):
    """Raised when a block or a memory changed since the revision that the caller had read."""

    def __init__(self, label: str, expected: int, actual: int, *, memory: bool = False) -> None:
        what, by = ("memory", "list_memories") if memory else ("block", "get_agent_memory")
        super().__init__(
            f"{what} {label!r} is at revision {actual}, not {expected}: it changed since you read it.",
            argument="expected_revision",
            next_step=f"Read it again with {by} and repeat the change on the new value.",
        )
        self.actual = actual


class UnknownRevision(InvalidInput):
    """Raised when a block or a memory never had a revision of that number; says which it has."""

    def __init__(self, label: str, revision: int, newest: int, *, memory: bool = False) -> None:
        what, by = ("memory", "list_memories") if memory else ("block", "get_agent_memory")
        super().__init__(
            f"{what} {label!r} has no revision {revision}; it has 1 to {newest}.",
            argument="revision",
            next_step=f"Call {by} with history=true to see them.",
        )


class ReadOnlyBlock(InvalidInput):
    """Raised when an agent would change a block that only callers may change."""

    def __init__(self, label: str) -> None:
        super().__init__(
            f"the memory block {label!r} is read-only.", argument="label", next_step="Go on without changing it."
        )


class BrokenPackage(InvalidInput):
    """Raised when a file to be imported is not what it should be, or not whole; nothing of it was used."""

    def __init__(self, path: str, problem: str, *, entry: str | None = None, next_step: str | None = None) -> None:
        place = f"{path}, {entry}" if entry else path
        super().__init__(
            f"{place}: {problem}.",
            argument="FILE",
            next_step=next_step or "Nothing was imported. Export it again, or take another copy of the file.",
        )


class IllegalChange(InvalidInput):
    """Raised when a thing is in a state that does not allow the change, such as a run that has ended."""


class ConfigurationError(AtlasError):
    """Raised when ATLAS cannot work until a setting, file or key is mended."""


class BrokenRoster(ConfigurationError):
    """Raised when a roster file cannot be used; names the file and, where known, the line."""

    def __init__(self, path: str, problem: str, *, line: int | None = None) -> None:
        place = f"{path}, line {line}" if line else path
        super().__init__(
            f"{place}: {problem}", argument="ATLAS_ROSTER", next_step="Mend the file, or unset ATLAS_ROSTER."
        )
        self.line = line


class UnknownModel(ConfigurationError, LookupError):
    """Raised when a model's provider or handle is not known; lists those that are."""


class MissingKey(ConfigurationError):
    """Raised when a configured provider has no key; names the variable to set."""

    def __init__(self, provider: str, variable: str) -> None:
        super().__init__(
            f"the model provider {provider!r} needs a key, and {variable} is not set.",
            argument=variable,
            next_step=f"Set {variable} in the environment of atlas-mcp or in its settings file.",
        )


class MissingPackage(ConfigurationError):
    """Raised when an optional package is needed; names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed.",
            next_step=f"Install it beside ATLAS: pip install {package} (it is in the extra {extra!r}).",
        )


class UnwritableHome(ConfigurationError):
    """Raised when the home folder cannot be created or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the home folder {path} cannot be written: {reason}.",
            argument="ATLAS_HOME",
            next_step="Set ATLAS_HOME to a folder that you may write.",
        )


class NewerRecord(ConfigurationError):
    """Raised when the record was written by a newer ATLAS; it is left as it is."""


class BrokenStore(ConfigurationError):
    """Raised when a database file in the home folder is damaged, or is none; it is left as it is."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"the database {path} cannot be used: {problem}.",
            next_step="Stop ATLAS and restore the file from a backup, or move it aside to begin with an empty one.",
        )
        self.path = path


class UnusableLetta(ConfigurationError):
    """Raised when what answers at a Letta's address is none, is too old, or refuses the key; names the setting."""

    def __init__(self, message: str, setting: str, *, next_step: str | None = None) -> None:
        super().__init__(message, argument=setting, next_step=next_step)


class UnpricedModel(ConfigurationError):
    """Raised when a limit in dollars cannot be kept, because what a model costs is not known."""

    def __init__(self, models: Sequence[str], limit: str, *, instead: str) -> None:
        table = models[0] if models else "provider:model"
        super().__init__(
            f"it cannot be kept: what {', '.join(models)} costs is not known.",
            argument=limit,
            next_step=f"{instead}, or say the price in settings.toml, in dollars per million tokens: "
            f'[prices."{table}"] input_per_million = ..., output_per_million = ...',
        )


class PortInUse(ConfigurationError):
    """Raised when the port to listen on is taken."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"{host}:{port} is already in use.", argument="--port", next_step="Choose another with --port."
        )


class NotAllowed(AtlasError):
    """Raised when the caller's key or login does not cover what was asked; nothing was done."""


class Unavailable(AtlasError):
    """Raised when something outside ATLAS does not answer as it should; the call may be tried again."""


class LettaUnavailable(Unavailable):
    """Raised when Letta cannot be reached, hangs, or answers with an error of its own."""


class LettaLost(LettaUnavailable):
    """Raised when Letta no longer has an agent, a block or a conversation that the record knows."""


class ModelFailed(Unavailable):
    """Raised when a model call failed; `transient` tells whether trying again may help, `retry_after` in which time.

    `tokens` are those that its turn had taken until then, in and out, and `usd` what they cost, as far as is known.
    """

    retry_after: float | None = None
    tokens: tuple[int, int] = (0, 0)
    usd: float | None = None

    def __init__(self, message: str, *, transient: bool = False, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.transient = transient


class EmbedderFailed(Unavailable):
    """Raised when no vectors could be made of texts.

    `of_texts` tells whether it may be for one of the texts, so that others could still be embedded; `retry_after` is
    how many seconds the embedder asked to be left alone.
    """

    def __init__(
        self, message: str, *, of_texts: bool = False, retry_after: float | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.of_texts = of_texts
        self.retry_after = retry_after


class ConstellationMoving(Unavailable):
    """Raised when a constellation is just being moved or replaced, and nothing else may be done with it meanwhile."""


class LockTimeout(Unavailable):
    """Raised when a lock was not had within the deadline."""


class LockLost(Unavailable):
    """Raised where a lock was held whose connection to PostgreSQL broke for too long: somebody else may have it."""


class StoreUnavailable(Unavailable):
    """Raised when the record's database does not answer, or takes no more; what was being changed is as it was.

    Only where the connection broke while a change was being stored, it is not known whether it was.
    """


class LimitReached(Unavailable):
    """Raised when a caller asks more than its limits allow for now; `retry_after` says in how many seconds it may."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, next_step=f"Try again in {ceil(retry_after)} seconds.")
        self.retry_after = retry_after


class BudgetSpent(AtlasError):
    """Raised when a turn is refused because it would go beyond a limit; nothing was sent. Trying again cannot help.

    `limit` is which: "usd", "tokens", "turns" or "seconds" of the run, or "day", the caller's dollars of the day.
    `tokens` and `usd` are what the turn would have taken by estimate.
    """

    def __init__(
        self, message: str, *, limit: str = "", tokens: int = 0, usd: float | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.limit = limit
        self.tokens = tokens
        self.usd = usd


class UnusableAnswer(AtlasError):
    """Raised when an agent's answer did not parse, also after it was asked once more with the error."""


class RunLost(AtlasError):
    """Raised inside an executor when its run was cancelled or taken over; nothing it writes would count. Let it out."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is no longer executed here.")


class Waiting(AtlasError):
    """Raised inside an executor whose run waits for an answer from now on; this attempt is over. Let it out."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} waits for an answer.")


class NotApproved(AtlasError):
    """Raised when what was asked for approval was rejected, or nobody answered in time; nothing more was spent."""


class ToolFailed(AtlasError):
    """Raised when a tool of an agent raised, ran out of time or memory, or was refused; the agent reads the text."""
