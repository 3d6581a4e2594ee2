"""A notice board on loopback that counts what is put on it, and a tool of the user's own that writes there."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

TOOL = '''
KIND = "network"
MARKS = ("write",)


def post_note(text: str) -> str:
    """Put a note on the board.

    Args:
        text (str): The note.

    Returns:
        str: What the board says.
    """
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request("http://127.0.0.1:PORT/", data=text.encode()), timeout=25) as answer:
        return answer.read().decode()
'''


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that were killed."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing is printed."""


class Board:
    """The board: `notes` in the order in which they came. While it is held, notes arrive and get no answer."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._changed = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        board = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                board._put(self.rfile.read(int(self.headers["content-length"])).decode())
                board._open.wait(60)
                answer = b"the note is on the board"
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _put(self, note: str) -> None:
        with self._changed:
            self.notes.append(note)
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_for(self, count: int) -> None:
        """Return when so many notes came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.notes) >= count, 60), self.notes

    def tools(self, folder: Path) -> Path:
        """A folder with the tool that writes on this board."""
        folder.mkdir(exist_ok=True)
        (folder / "post_note.py").write_text(TOOL.replace("PORT", str(self._server.server_address[1])))
        return folder
