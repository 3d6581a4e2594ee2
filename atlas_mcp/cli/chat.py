"""`atlas-mcp chat`: one agent and one person in a terminal; or one message, from the command line or a pipe.

Ctrl-C stops a turn and not the program. Where stdout is no terminal, replies are printed as they are and nothing else.
"""

from __future__ import annotations

import sys
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import AtlasError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal
    from rich.console import Console

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.cli.chat_turn import Talk
    from atlas_mcp.model.turn import ChatReply

COMMANDS = {
    "/new": "begin a new conversation; the agent's memory stays",
    "/memory": "show what the agent remembers",
    "/help": "show this",
    "/quit": "leave, as Ctrl-D does",
}
CLIENT = "atlas-mcp chat"
_LOOK_SECONDS = 0.2
_INTERRUPTED = 130


def chat(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whom to talk to, such as librarian.")],
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="What to say; without it what is piped in, or you type.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin a new conversation instead of going on.")] = False,
) -> None:
    """Talk to one agent: a conversation in the terminal, or one message and its reply."""
    if message is None and not sys.stdin.isatty():
        message = _piped()
    with _talk(agent, new=new) as (portal, talk):
        if message is None:
            _converse(portal, talk)
            return
        answered = _once(portal, talk, message)
    if not answered:
        raise typer.Exit(_INTERRUPTED)


@contextmanager
def _talk(agent: str, *, new: bool) -> Generator[tuple[BlockingPortal, Talk]]:
    """The house, at work in a thread of its own: this one waits for the person, and hears Ctrl-C."""
    from anyio.from_thread import start_blocking_portal

    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.cli.chat_turn import Talk
    from atlas_mcp.server.loop import loop_options
    from atlas_mcp.settings import load_settings

    with _unwrapped(), ExitStack() as house:
        portal = house.enter_context(start_blocking_portal(backend_options=loop_options()))
        atlas: Atlas = house.enter_context(portal.wrap_async_context_manager(open_atlas(load_settings())))
        talk = Talk(atlas, atlas.local_caller(CLIENT), agent, new=new)
        portal.call(talk.check)
        yield portal, talk


@contextmanager
def _unwrapped() -> Generator[None]:
    """Ctrl-C while the house is opened or closed, as itself and not in what task groups make of it."""
    try:
        yield
    except BaseExceptionGroup as failures:
        if failures.split(KeyboardInterrupt)[1] is None:
            raise KeyboardInterrupt from None
        raise


def _once(portal: BlockingPortal, talk: Talk, message: str) -> bool:
    """Show the reply to the message; whether there is one, and nobody stopped the turn."""
    console = _console()
    reply = _asked(portal, talk, message, console)
    if reply is not None:
        _show(console, reply)
    return reply is not None


def _converse(portal: BlockingPortal, talk: Talk) -> None:
    console = _console()
    _edit_lines()
    console.print(f"You talk to [bold cyan]{talk.agent}[/]. /help tells what else you can type; Ctrl-D ends.")
    while True:
        try:
            said = input("you> ").strip()
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            console.print()
            continue
        if said == "/quit":
            return
        try:
            if said.startswith("/"):
                _do(portal, talk, said, console)
            elif said and (reply := _asked(portal, talk, said, console)) is not None:
                _show(console, reply)
            elif said:
                console.print("Stopped; what was said until then stays in the conversation.", style="yellow")
        except AtlasError as error:
            console.print(str(error), style="red", markup=False)
        except KeyboardInterrupt:
            console.print()


def _do(portal: BlockingPortal, talk: Talk, command: str, console: Console) -> None:
    match command:
        case "/new":
            talk.begin_anew()
            console.print("A new conversation.", style="dim")
        case "/memory":
            from atlas_mcp.cli.pages import memory_page

            console.print(memory_page(talk.agent, portal.call(talk.memory)))
        case "/help":
            for name, what in COMMANDS.items():
                console.print(f"[cyan]{name:8}[/] {what}")
            console.print("Ctrl-C stops the turn that is under way.")
        case _:
            raise InvalidInput(f"there is no command {command!r}. There are: {', '.join(COMMANDS)}.")


def _asked(portal: BlockingPortal, talk: Talk, message: str, console: Console) -> ChatReply | None:
    """The reply to the message; None when Ctrl-C stopped the turn."""
    with ExitStack() as shown:
        if console.is_terminal:
            status = shown.enter_context(console.status(f"{talk.agent} is asked"))
            talk.tell = status.update
        asked: Future[ChatReply | None] = portal.start_task_soon(talk.ask, message)
        while True:
            try:
                while not asked.done():
                    wait([asked], timeout=_LOOK_SECONDS)  # a wait without end hears no Ctrl-C on Windows
                return asked.result()
            except KeyboardInterrupt:
                portal.call(talk.stop)


def _show(console: Console, reply: ChatReply) -> None:
    from rich.markdown import Markdown
    from rich.text import Text

    text = reply.reply or reply.note or ""
    if not console.is_terminal:
        typer.echo(text)
        return
    console.print(Text(reply.agent, "bold cyan"))
    console.print(Markdown(text))
    for change in reply.memory_changes:
        console.print(Text(f"remembered in {change.label}: {' '.join(change.after.split())[-160:]}", "green"))
    usage = reply.usage
    cost = f", ${usage.cost_usd:,.4f}" if usage.cost_usd is not None else ""
    console.print(f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost}", style="dim")
    if reply.note and reply.note not in text:
        console.print(Text(reply.note, "dim"))


def _piped() -> str:
    if not (text := sys.stdin.read().strip()):
        raise InvalidInput("nothing was piped in.", argument="MESSAGE", next_step="Say it: atlas-mcp chat AGENT TEXT")
    return text


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _edit_lines() -> None:
    """Let lines be edited and called back, and commands be completed; nothing of it is kept on disk."""
    try:
        import readline
    except ImportError:  # on Windows the terminal does that by itself
        return

    def complete(text: str, state: int) -> str | None:
        return next(iter([name for name in COMMANDS if name.startswith(text)][state:]), None)

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    editline = "libedit" in (readline.__doc__ or "")  # what stands in for readline in some builds of Python
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")
