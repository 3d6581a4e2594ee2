"""Microsoft 365 through Graph: the mail, files and calendar of one person. https://learn.microsoft.com/graph/api/overview

Promise: it is always the mailbox, drive and calendar of the person that the settings name (ATLAS_MICROSOFT_USER). What
changes something there is sent once: it is repeated only where Graph refused to take it, and of one of which it is not
known whether it was done the agent is told so. A next page is followed within Graph only, up to MOST_PAGES of them.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import anyio.to_thread

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.connectors.answer import inner, line_in, number_of, objects, text_in
from atlas_mcp.reach.connectors.http import About, Answer, Connector, Refused, Request, Service, open_service
from atlas_mcp.reach.connectors.plain import plain
from atlas_mcp.reach.connectors.sign_in import SignIn, about_login
from atlas_mcp.reach.connectors.stretch import MOST_CHARS, stretch
from atlas_mcp.reach.files.files import READ_SECONDS, kind_of
from atlas_mcp.reach.readers import Readers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

READ = "atlas_mcp.reach.files.documents:read"
MOST_RESULTS = 50
MOST_PAGES = 5
MOST_FILE_BYTES = 10_000_000
MOST_UPLOAD_CHARS = 1_000_000
MOST_RECIPIENTS = 50
_STEPS = {
    401: "Check the app's registration, and ATLAS_MICROSOFT_BASE_URL for your cloud.",
    403: "Add it to the app's application permissions, and have an administrator consent to it.",
    404: "It is not there, or ATLAS_MICROSOFT_USER has no mailbox or drive.",
    409: "Choose another name.",
    423: "Somebody has it open: try later.",
    507: "The drive is full.",
}
_DOUBTFUL = "It may have been done nevertheless: look there before you do it again."
_LASTING_IDS = 'IdType="ImmutableId"'
_MAIL = "id,subject,from,toRecipients,receivedDateTime,hasAttachments,bodyPreview"
_EVENT = "id,subject,start,end,location,organizer,attendees,bodyPreview,isCancelled"
_FILE = "id,name,size,file,folder,parentReference,lastModifiedDateTime,webUrl"
_NO_NAME = re.compile(r'["*:<>?/\\|\x00-\x1f]|^\.{1,2}$|^$')


@asynccontextmanager
async def open_door(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Connector]:
    """The door `microsoft`, until the block is left."""
    graph = About("Microsoft Graph", f"{settings.microsoft_base_url}/v1.0", "ATLAS_MICROSOFT_BASE_URL", _STEPS)
    user = settings.microsoft_user or ""
    readers = Readers()
    try:
        async with open_service(about_login(settings)) as login, open_service(graph) as service:
            sign_in = SignIn(login, settings)
            yield Connector(service, lambda context: Microsoft(service, sign_in, user, context, readers))
    finally:
        await readers.close()


class Microsoft:
    """The door for one turn: what was read once is not asked for again."""

    def __init__(self, service: Service, sign_in: SignIn, user: str, context: CallContext, readers: Readers) -> None:
        self._service = service
        self._sign_in = sign_in
        self._context = context
        self._readers = readers
        self._user = user
        self._root = f"/users/{quote(user, safe='@')}"
        self._read_texts: dict[str, tuple[str, str]] = {}

    async def search_mail(self, query: str = "", limit: int = 10) -> list[dict[str, Any]]:
        """Messages that fit the query, as Outlook understands it; without one the newest."""
        escaped = query.replace("\\", "\\\\").replace('"', '\\"')
        order = {"$search": f'"{escaped}"'} if query.strip() else {"$orderby": "receivedDateTime desc"}
        request = self._get("/messages", "Mail.Read", {**order, "$select": _MAIL}, Prefer=_LASTING_IDS)
        found = [_mail(message) for message in await self._list(request, limit)]
        for mail in found:
            told = f"{mail['subject']}\nFrom: {mail['from']}\n\n{mail['preview']}"
            await self._context.found(mail["cite"], told, title=mail["subject"])
        return found

    async def read_mail(self, id: str, start: int = 0, length: int = MOST_CHARS) -> str:
        """A stretch of a message, with who wrote it to whom and the names of what is attached."""
        return stretch(*await self._once(id, partial(self._mail_text, id)), start, length)

    async def list_events(self, start: str, end: str, limit: int = 25) -> list[dict[str, Any]]:
        """The events between two times, each occurrence of a series by itself, in the order of time; times in UTC."""
        params = {"startDateTime": _time("start", start), "endDateTime": _time("end", end)}
        params |= {"$select": _EVENT, "$orderby": "start/dateTime"}
        prefer = f'{_LASTING_IDS}, outlook.timezone="UTC", outlook.body-content-type="text"'
        request = self._get("/calendarView", "Calendars.Read", params, Prefer=prefer)
        found = [_event(event) for event in await self._list(request, limit)]
        for event in found:
            told = "\n".join(f"{name}: {value}" for name, value in event.items() if value and name != "cite")
            await self._context.found(event["cite"], told, title=event["subject"])
        return found

    async def search_files(self, query: str, limit: int = 10) -> list[dict[str, Any]]:
        """Files and folders of the drive whose name, properties or content fit the query."""
        asked = quote(query.replace("'", "''"), safe="")
        request = self._get(f"/drive/root/search(q='{asked}')", "Files.Read.All", {"$select": _FILE})
        return [_file(item) for item in await self._list(request, limit)]

    async def read_file(self, id: str, part: str = "", start: int = 0, length: int = MOST_CHARS) -> str:
        """A stretch of a file of the drive; `part` is the page of a PDF to read from, or a sheet's name."""
        return stretch(*await self._once(f"{id} {part}", partial(self._file_text, id, part)), start, length)

    async def create_draft(self, to: Sequence[str], subject: str, text: str, cc: Sequence[str] = ()) -> str:
        """A message that is written and not sent, in the drafts."""
        body = _message(to, subject, text, cc)
        made = await self._change("POST", "/messages", "Mail.ReadWrite", json=body)
        return f"The draft {subject!r} to {', '.join(to)} lies in the drafts of {self._user}; id: {text_in(made, 'id')}"

    async def send_mail(self, to: Sequence[str], subject: str, text: str, cc: Sequence[str] = ()) -> str:
        """A message that is sent."""
        await self._change("POST", "/sendMail", "Mail.Send", json={"message": _message(to, subject, text, cc)})
        return f"{subject!r} was sent to {', '.join([*to, *cc])}, and lies in the sent items of {self._user}."

    async def create_event(
        self, subject: str, start: str, end: str, zone: str, text: str, attendees: Sequence[str], location: str
    ) -> str:
        """An event in the calendar; those who attend are invited by Outlook."""
        body: dict[str, Any] = {
            "subject": subject,
            "body": {"contentType": "text", "content": text},
            "start": {"dateTime": _time("start", start), "timeZone": zone},
            "end": {"dateTime": _time("end", end), "timeZone": zone},
            "attendees": [{**one, "type": "required"} for one in _people("attendees", attendees)],
        }
        body |= {"location": {"displayName": location}} if location else {}
        made = await self._change("POST", "/events", "Calendars.ReadWrite", json=body)
        invited = f"; {', '.join(attendees)} were invited" if attendees else ""
        return f"{subject!r} is in the calendar of {self._user}{invited}; id: {text_in(made, 'id')}"

    async def upload_file(self, folder: str, name: str, text: str) -> str:
        """A new text file in a folder of the drive; one that is there is never written over."""
        parts = [*(part for part in folder.split("/") if part), name]
        if wrong := [part for part in parts if _NO_NAME.search(part)]:
            raise ToolFailed(f"folder, name: {wrong[0]!r} is no name of a folder or a file.")
        if len(text) > MOST_UPLOAD_CHARS:
            raise ToolFailed(f"text: it has {len(text):,} characters; the limit is {MOST_UPLOAD_CHARS:,}.")
        path = "/".join(quote(part, safe="") for part in parts)
        made = await self._change(
            "PUT",
            f"/drive/root:/{path}:/content",
            "Files.ReadWrite.All",
            params={"@microsoft.graph.conflictBehavior": "fail"},
            headers={"content-type": "text/plain; charset=utf-8"},
            content=text.encode(errors="replace"),
        )
        return f"onedrive:/{'/'.join(parts)} was saved, {number_of(made, 'size'):,} bytes; id: {text_in(made, 'id')}"

    async def _once(self, key: str, read: Callable[[], Awaitable[tuple[str, str, str]]]) -> tuple[str, str]:
        if key not in self._read_texts:
            cite, text, title = await read()
            await self._context.found(cite, text, title=title)
            self._read_texts[key] = cite, text
        return self._read_texts[key]

    async def _mail_text(self, id: str) -> tuple[str, str, str]:
        params = {"$select": f"{_MAIL},ccRecipients,body", "$expand": "attachments($select=name,size)"}
        prefer = f'{_LASTING_IDS}, outlook.body-content-type="text"'
        path = f"/messages/{quote(id, safe='')}"
        found = await self._read(self._get(path, "Mail.Read", params, missing="such message", Prefer=prefer))
        mail, body = _mail(found), inner(found, "body")
        text = text_in(body, "content")
        if text_in(body, "contentType").lower() == "html":
            text = await anyio.to_thread.run_sync(plain, text)
        about = {"From": mail["from"], "To": mail["to"], "Cc": _names(found, "ccRecipients"), "Date": mail["received"]}
        about["Attached"] = ", ".join(text_in(one, "name") for one in objects(found, "attachments"))
        head = "\n".join(f"{name}: {value}" for name, value in about.items() if value)
        return mail["cite"], f"{mail['subject']}\n{head}\n\n{text}", mail["subject"]

    async def _file_text(self, id: str, part: str) -> tuple[str, str, str]:
        path = f"/drive/items/{quote(id, safe='')}"
        found = await self._read(self._get(path, "Files.Read.All", {"$select": _FILE}, missing="such file"))
        cite, name, size = (_file(found)[key] for key in ("cite", "name", "size"))
        if "file" not in found:
            raise ToolFailed(f"{name} is no file.")
        if size > MOST_FILE_BYTES:
            raise ToolFailed(f"{name} has {size:,} bytes; files of up to {MOST_FILE_BYTES:,} can be read.")
        request = self._get(f"{path}/content", "Files.Read.All", {}, missing="such file")
        answer = await self._ask(replace(request, elsewhere=True, most_bytes=MOST_FILE_BYTES))
        kind = kind_of(name, answer.content)
        if kind is None:
            raise ToolFailed(f"{name} is not text, and of a kind that is not read.")
        said = await self._readers.call(READ, answer.content, seconds=READ_SECONDS, kind=kind, part=part)
        return cite, said["text"], name

    def _get(self, path: str, needs: str, params: dict[str, str], missing: str = "", **headers: str) -> Request:
        return Request("GET", self._root + path, params, headers, needs=needs, missing=missing)

    async def _change(self, method: str, path: str, needs: str, **more: Any) -> dict[str, Any]:
        request = Request(method, self._root + path, needs=needs, repeat=False, doubtful=_DOUBTFUL, **more)
        answer = await self._ask(request)
        return self._service.parsed(answer) if answer.content else {}

    async def _list(self, request: Request, limit: int) -> list[dict[str, Any]]:
        limit = max(1, min(limit, MOST_RESULTS))
        request = replace(request, params={**request.params, "$top": limit})
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            told = await self._read(request)
            found += objects(told, "value")
            following = text_in(told, "@odata.nextLink")
            if not following or len(found) >= limit:
                break
            if not self._service.owns(following):
                raise ToolFailed("Microsoft Graph gave a next page at another address; it is not followed.")
            request = replace(request, path=following.removeprefix(self._service.about.address), params={})
        return found[:limit]

    async def _read(self, request: Request) -> dict[str, Any]:
        return self._service.parsed(await self._ask(request))

    async def _ask(self, request: Request) -> Answer:
        token = await self._sign_in.token()
        try:
            return await self._service.ask(_signed(request, token))
        except Refused as refusal:
            if refusal.status != 401:
                raise
            return await self._service.ask(_signed(request, await self._sign_in.token(refused=token)))


def _signed(request: Request, token: str) -> Request:
    return replace(request, headers={**request.headers, "authorization": f"Bearer {token}"})


def _mail(message: dict[str, Any]) -> dict[str, Any]:
    subject, received = line_in(message, "subject") or "(no subject)", text_in(message, "receivedDateTime")
    return {
        "id": text_in(message, "id"),
        "cite": f"mail:{received} {subject}",
        "subject": subject,
        "from": _name(inner(message, "from")),
        "to": _names(message, "toRecipients"),
        "received": received,
        "attached": message.get("hasAttachments") is True,
        "preview": text_in(message, "bodyPreview"),
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    begins, subject = text_in(inner(event, "start"), "dateTime")[:19], line_in(event, "subject") or "(no subject)"
    return {
        "cite": f"calendar:{begins} {subject}",
        "subject": subject + (" (cancelled)" if event.get("isCancelled") is True else ""),
        "start": begins,
        "end": text_in(inner(event, "end"), "dateTime")[:19],
        "location": text_in(inner(event, "location"), "displayName"),
        "organizer": _name(inner(event, "organizer")),
        "attendees": _names(event, "attendees"),
        "text": text_in(event, "bodyPreview"),
    }


def _file(item: dict[str, Any]) -> dict[str, Any]:
    folder, name = text_in(inner(item, "parentReference"), "path").partition("root:")[2], line_in(item, "name")
    return {
        "id": text_in(item, "id"),
        "cite": f"onedrive:{unquote(folder)}/{name}",
        "name": name,
        "kind": "folder" if "folder" in item else "file",
        "size": number_of(item, "size"),
        "changed": text_in(item, "lastModifiedDateTime"),
        "address": text_in(item, "webUrl"),
    }


def _name(person: dict[str, Any]) -> str:
    address = inner(person, "emailAddress")
    name, mail = line_in(address, "name"), line_in(address, "address")
    return f"{name} <{mail}>" if name and name != mail else mail


def _names(message: dict[str, Any], field: str) -> str:
    return ", ".join(_name(person) for person in objects(message, field))


def _message(to: Sequence[str], subject: str, text: str, cc: Sequence[str]) -> dict[str, Any]:
    if not to:
        raise ToolFailed("to: it names nobody.")
    message: dict[str, Any] = {"subject": subject, "body": {"contentType": "text", "content": text}}
    message["toRecipients"] = _people("to", to)
    return message | ({"ccRecipients": _people("cc", cc)} if cc else {})


def _people(argument: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
    if len(addresses) > MOST_RECIPIENTS:
        raise ToolFailed(f"{argument}: it names {len(addresses)} people; the limit is {MOST_RECIPIENTS}.")
    if wrong := [address for address in addresses if not re.fullmatch(r"[^\s@,;<>]+@[^\s@,;<>]+", address)]:
        raise ToolFailed(f"{argument}: {wrong[0]!r} is no mail address.")
    return [{"emailAddress": {"address": address}} for address in addresses]


def _time(argument: str, text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ToolFailed(f"{argument}: {text!r} is no time; give it as 2026-05-01T09:30:00.") from None
    return text
