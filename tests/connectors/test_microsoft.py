"""Microsoft 365, against loopback servers that answer as Microsoft's documentation says of Graph v1.0 and of the client
credentials flow (learn.microsoft.com/graph/api, learn.microsoft.com/graph/auth-v2-service).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from pydantic import SecretStr

from atlas_mcp.errors import LimitReached, ToolFailed
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.connectors.microsoft import Microsoft, open_door
from tests.connectors.loopback import Call, Loopback, Reply, Told, loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
TENANT, CLIENT, SECRET, USER = "contoso.example", "app-1", "s3cr3t~of.the-app", "ada@contoso.example"
ROOT = f"/v1.0/users/{USER}"
MAIL = 7


@dataclass
class Office:
    """What the tenant has: Microsoft's login, and Graph."""

    login: Loopback
    graph: Loopback
    told: Told
    door: Microsoft
    tokens: list[str] = field(default_factory=list[str])
    lasts: int = 3599
    sent: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    def login_says(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", f"/{TENANT}/oauth2/v2.0/token"):
            return Reply({"error": "invalid_request", "error_description": "AADSTS90002: Tenant not found."}, 400)
        wanted = {"client_id": CLIENT, "grant_type": "client_credentials", "client_secret": SECRET}
        if call.form != wanted | {"scope": f"{self.graph.url}/.default"}:
            described = "AADSTS7000215: Invalid client secret provided."
            return Reply({"error": "invalid_client", "error_description": described, "error_codes": [7000215]}, 401)
        self.tokens.append(f"eyJ0eXAi.token{len(self.tokens)}.x")
        told = {"token_type": "Bearer", "expires_in": self.lasts, "ext_expires_in": self.lasts}
        return Reply({**told, "access_token": self.tokens[-1]})

    def graph_says(self, call: Call) -> Reply:
        """What Graph answers, as it documents it; it refuses what it does not document."""
        if not self.tokens or call.headers.get("authorization") != f"Bearer {self.tokens[-1]}":
            return _error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
        place = call.place
        if not place.startswith(ROOT + "/"):
            return _error(404, "Request_ResourceNotFound", "Resource does not exist.")
        handlers = {
            ("GET", "/messages"): self._messages,
            ("GET", "/messages/m=1"): self._message,
            ("GET", "/calendarView"): self._events,
            ("GET", "/drive/root/search(q='ada''s plan')"): self._files,
            ("GET", "/drive/items/f!1"): lambda _: Reply(_item("f!1", "plan.txt", 16)),
            ("GET", "/drive/items/f!1/content"): lambda _: Reply(
                status=302, headers={"location": f"{self.login.url}/blob?t=1"}
            ),
            ("GET", "/drive/items/f!3"): lambda _: Reply(_item("f!3", "table.xlsx", 90)),
            ("GET", "/drive/items/f!3/content"): lambda _: Reply(
                status=302, headers={"location": f"{self.login.url}/blob?t=3"}
            ),
            ("GET", "/drive/items/f!2"): lambda _: Reply(_item("f!2", "film.mp4", 90_000_000)),
            ("GET", "/drive/items/d!1"): lambda _: Reply(_folder("d!1", "Docs")),
            ("POST", "/messages"): self._made,
            ("POST", "/sendMail"): self._sent,
            ("POST", "/events"): self._made,
            ("PUT", "/drive/root:/Docs/new file.md:/content"): self._uploaded,
        }
        known = handlers.get((call.method, place.removeprefix(ROOT)))
        return known(call) if known else _error(404, "ErrorItemNotFound", "The specified object was not found.")

    def _messages(self, call: Call) -> Reply:
        query = dict(call.query)
        if "$search" in query and ("$orderby" in query or not query["$search"].startswith('"')):
            return _error(400, "SearchWithOrderBy", "The query parameter '$orderBy' is not supported with '$search'.")
        if (
            set(query) - {"$search", "$orderby", "$select", "$top", "$skip"}
            or 'IdType="ImmutableId"' not in call.headers["prefer"]
        ):
            return _error(400, "BadRequest", "unexpected")
        if "nothing" in query.get("$search", ""):
            return Reply({"value": []})
        first, size = int(query.get("$skip", 0)), min(int(query["$top"]), 3)
        value = [_mail(n) for n in range(1, MAIL + 1)][first : first + size]
        told: dict[str, Any] = {"@odata.context": "…", "value": value}
        if first + size < MAIL:
            told["@odata.nextLink"] = f"{self.graph.url}{ROOT}/messages?$top={query['$top']}&$skip={first + size}"
        return Reply(told)

    def _message(self, call: Call) -> Reply:
        if "body" not in call.query["$select"] or call.query["$expand"] != "attachments($select=name,size)":
            return _error(400, "BadRequest", "unexpected")
        text = 'outlook.body-content-type="text"' in call.headers["prefer"]
        content = "Please see the plan." if text else "<p>Please see the plan.</p>"
        body = {"contentType": "text" if text else "html", "content": content}
        attachments = [{"name": "plan.xlsx", "size": 100}]
        return Reply(
            {**_mail(1), "id": "m=1", "body": body, "ccRecipients": [_person("Alan")], "attachments": attachments}
        )

    def _events(self, call: Call) -> Reply:
        wanted = {"startDateTime", "endDateTime", "$select", "$orderby", "$top"}
        if set(call.query) != wanted or 'outlook.timezone="UTC"' not in call.headers["prefer"]:
            return _error(400, "BadRequest", "unexpected")
        event = {
            "subject": "Launch",
            "start": {"dateTime": "2026-05-01T09:00:00.0000000", "timeZone": "UTC"},
            "end": {"dateTime": "2026-05-01T10:00:00.0000000", "timeZone": "UTC"},
            "location": {"displayName": "Harbour"},
            "organizer": _person("Grace"),
            "attendees": [{**_person("Alan"), "type": "required"}],
            "bodyPreview": "Bring the bottle.",
            "isCancelled": False,
        }
        return Reply({"value": [event]})

    def _files(self, call: Call) -> Reply:
        if set(call.query) != {"$select", "$top"}:
            return _error(400, "invalidRequest", "unexpected")
        return Reply({"value": [_item("f!1", "plan.txt", 16), _folder("d!1", "Docs")]})

    def _made(self, call: Call) -> Reply:
        if call.headers["content-type"] != "application/json":
            return _error(415, "UnsupportedMediaType", "unexpected")
        self.sent.append((call.place.removeprefix(ROOT), call.body))
        return Reply({"id": "made-1", **call.body}, 201)

    def _sent(self, call: Call) -> Reply:
        self.sent.append(("/sendMail", call.body))
        return Reply(b"", 202)

    def _uploaded(self, call: Call) -> Reply:
        if call.query != {"@microsoft.graph.conflictBehavior": "fail"}:
            return _error(400, "invalidRequest", "unexpected")
        if any(place == "upload" for place, _ in self.sent):
            return _error(409, "nameAlreadyExists", "An item with the same name already exists under the parent")
        self.sent.append(("upload", call.content.decode()))
        return Reply({"id": "f!9", "name": "new file.md", "size": len(call.content), "file": {}}, 201)


def _error(status: int, code: str, message: str) -> Reply:
    return Reply({"error": {"code": code, "message": message, "innerError": {"request-id": "r"}}}, status)


def _person(name: str) -> dict[str, Any]:
    return {"emailAddress": {"name": name, "address": f"{name.lower()}@contoso.example"}}


def _mail(number: int) -> dict[str, Any]:
    return {
        "id": f"m={number}",
        "subject": f"Plan {number}",
        "from": _person("Grace"),
        "toRecipients": [_person("Ada")],
        "receivedDateTime": f"2026-05-0{number}T08:00:00Z",
        "hasAttachments": True,
        "bodyPreview": "Please see",
    }


def _item(id: str, name: str, size: int) -> dict[str, Any]:
    parent = {"driveId": "d", "path": "/drive/root:/Docs"}
    return {"id": id, "name": name, "size": size, "file": {"mimeType": "text/plain"}, "parentReference": parent}


def _folder(id: str, name: str) -> dict[str, Any]:
    return {"id": id, "name": name, "size": 0, "folder": {"childCount": 1}, "parentReference": {"path": "/drive/root:"}}


@asynccontextmanager
async def office(secret: str = SECRET) -> AsyncIterator[Office]:
    async with loopback() as login, loopback() as graph:
        made = Reaching(
            microsoft_tenant=TENANT,
            microsoft_client_id=CLIENT,
            microsoft_client_secret=SecretStr(secret),
            microsoft_user=USER,
            microsoft_base_url=graph.url,
            microsoft_login_url=login.url,
        )
        told = Told()
        async with open_door(made, cast("Any", None), Path()) as door:
            it = Office(login, graph, told, cast("Microsoft", door(told.context)))
            login.answers(it.login_says)
            graph.answers(it.graph_says)
            yield it


async def test_mail_is_found_and_cited_by_time_and_subject():
    async with office() as it:
        found = await it.door.search_mail('from:grace "the plan"', 2)
        assert found[0] == {
            "id": "m=1",
            "cite": "mail:2026-05-01T08:00:00Z Plan 1",
            "subject": "Plan 1",
            "from": "Grace <grace@contoso.example>",
            "to": "Ada <ada@contoso.example>",
            "received": "2026-05-01T08:00:00Z",
            "attached": True,
            "preview": "Please see",
        }
        assert it.graph.calls[0].query["$search"] == '"from:grace \\"the plan\\""'
        assert it.told.names == [mail["cite"] for mail in found]


async def test_pages_are_followed_as_far_as_asked_for():
    async with office() as it:
        assert [mail["id"] for mail in await it.door.search_mail("plan", 50)] == [f"m={n}" for n in range(1, 8)]
        assert len(it.graph.calls) == 3
        assert len(await it.door.search_mail("", 4)) == 4
        assert it.graph.calls[3].query["$orderby"] == "receivedDateTime desc"


async def test_a_next_page_elsewhere_is_not_followed():
    async with office() as it, loopback() as other:
        it.graph.now = [Reply({"value": [], "@odata.nextLink": f"{other.url}{ROOT}/messages?$skip=3"})]
        with pytest.raises(ToolFailed, match="a next page at another address"):
            await it.door.search_mail("plan")
        assert other.calls == []


async def test_pages_without_an_end_are_given_up_with_what_was_found():
    async with office() as it:
        it.graph.answers(lambda _: Reply({"value": [], "@odata.nextLink": f"{it.graph.url}{ROOT}/messages?$skip=3"}))
        it.tokens.append("x")
        assert await it.door.search_mail("plan") == []
        assert len(it.graph.calls) == 5


async def test_nothing_found_is_no_error():
    async with office() as it:
        assert await it.door.search_mail("nothing") == []


async def test_a_message_is_read_with_who_wrote_it_and_what_is_attached():
    async with office() as it:
        text = await it.door.read_mail("m=1")
        assert text.startswith("[mail:2026-05-01T08:00:00Z Plan 1: characters 0 to ")
        assert text.endswith(
            "Plan 1\nFrom: Grace <grace@contoso.example>\nTo: Ada <ada@contoso.example>\n"
            "Cc: Alan <alan@contoso.example>\nDate: 2026-05-01T08:00:00Z\nAttached: plan.xlsx\n\nPlease see the plan."
        )
        assert it.graph.calls[0].path.endswith("/messages/m%3D1")


async def test_a_message_that_comes_as_html_is_made_readable():
    async with office() as it:
        html = "<html><head><style>p{}</style></head><body><p>Dear&nbsp;Ada,</p><p>see <b>this</b>.<br>Bye</p></body>"
        it.graph.now = [Reply({**_mail(1), "body": {"contentType": "html", "content": html}})]
        it.tokens.append("x")
        assert (await it.door.read_mail("m=1")).endswith("\n\nDear Ada,\n\nsee this.\nBye")


async def test_events_are_listed_in_utc():
    async with office() as it:
        found = await it.door.list_events("2026-05-01T00:00:00", "2026-05-02T00:00:00+02:00")
        assert found[0]["cite"] == "calendar:2026-05-01T09:00:00 Launch"
        assert found[0]["attendees"] == "Alan <alan@contoso.example>"
        assert "Bring the bottle." in it.told.found[0][1]
        assert it.graph.calls[0].query["endDateTime"] == "2026-05-02T00:00:00+02:00"
        with pytest.raises(ToolFailed, match="start: 'soon' is no time"):
            await it.door.list_events("soon", "later")


async def test_files_are_found_and_read_from_where_graph_sends_one_to_without_its_token():
    async with office() as it:
        found = await it.door.search_files("ada's plan")
        assert [(one["cite"], one["kind"]) for one in found] == [
            ("onedrive:/Docs/plan.txt", "file"),
            ("onedrive:/Docs", "folder"),
        ]
        before = len(it.login.calls)
        it.login.now = [Reply(b"\xef\xbb\xbfThe plan is good", headers={"content-type": "application/octet-stream"})]
        assert (await it.door.read_file("f!1")).endswith("that is its end]\nThe plan is good")
        assert "authorization" not in it.login.calls[before].headers
        assert it.told.found[-1] == ("onedrive:/Docs/plan.txt", "The plan is good", "plan.txt")


async def test_a_file_that_is_not_what_its_name_says_costs_an_error_and_nothing_else():
    async with office() as it:
        await it.door.search_mail("nothing")
        it.login.now = [Reply(b"PK\x03\x04 and then nothing of a spreadsheet")]
        with pytest.raises(ToolFailed, match="it is broken"):
            await it.door.read_file("f!3")
        it.login.now = [Reply(b"\x00\x01\x02" * 10)]
        with pytest.raises(ToolFailed, match=r"plan.txt is not text, and of a kind that is not read"):
            await it.door.read_file("f!1")
        assert it.told.found == []


@pytest.mark.parametrize(
    ("id", "told_of"),
    [
        ("f!2", "has 90,000,000 bytes"),
        ("d!1", "Docs is no file"),
        ("gone", "has no such file: The specified object was not found"),
    ],
)
async def test_what_cannot_be_read_is_told(id: str, told_of: str):
    async with office() as it:
        with pytest.raises(ToolFailed, match=told_of):
            await it.door.read_file(id)


async def test_a_draft_an_event_a_message_and_a_file_are_made_as_asked():
    async with office() as it:
        assert "lies in the drafts of ada@" in await it.door.create_draft(
            ["grace@x.example"], "Hi", "Text", ["b@x.example"]
        )
        await it.door.send_mail(["grace@x.example"], "Hi", "Text")
        said = await it.door.create_event(
            "Launch", "2026-05-01T09:00:00", "2026-05-01T10:00:00", "Europe/Berlin", "", ["grace@x.example"], "Harbour"
        )
        assert "grace@x.example were invited" in said
        assert "onedrive:/Docs/new file.md was saved, 5 bytes" in await it.door.upload_file(
            "/Docs/", "new file.md", "Text."
        )
        to = [{"emailAddress": {"address": "grace@x.example"}}]
        message = {"subject": "Hi", "body": {"contentType": "text", "content": "Text"}, "toRecipients": to}
        assert it.sent == [
            ("/messages", {**message, "ccRecipients": [{"emailAddress": {"address": "b@x.example"}}]}),
            ("/sendMail", {"message": message}),
            (
                "/events",
                {
                    "subject": "Launch",
                    "body": {"contentType": "text", "content": ""},
                    "start": {"dateTime": "2026-05-01T09:00:00", "timeZone": "Europe/Berlin"},
                    "end": {"dateTime": "2026-05-01T10:00:00", "timeZone": "Europe/Berlin"},
                    "attendees": [{"emailAddress": {"address": "grace@x.example"}, "type": "required"}],
                    "location": {"displayName": "Harbour"},
                },
            ),
            ("upload", "Text."),
        ]


async def test_a_file_that_is_there_is_not_written_over():
    async with office() as it:
        await it.door.upload_file("Docs", "new file.md", "Text.")
        with pytest.raises(ToolFailed, match=r"already exists under the parent. Choose another name\."):
            await it.door.upload_file("Docs", "new file.md", "Other.")


@pytest.mark.parametrize(
    ("folder", "name"), [("..", "a.md"), ("Docs", "a/b.md"), ("Docs", ""), ("Docs", "a:b"), ("x\x00", "a")]
)
async def test_names_that_lead_elsewhere_are_refused(folder: str, name: str):
    async with office() as it:
        with pytest.raises(ToolFailed, match="is no name of a folder or a file"):
            await it.door.upload_file(folder, name, "Text.")
        assert it.graph.calls == []


@pytest.mark.parametrize("to", [[], ["grace"], ["a@b, c@d"], ["a@b.example"] * 51])
async def test_addresses_that_are_none_are_refused(to: list[str]):
    async with office() as it:
        with pytest.raises(ToolFailed, match=r"^to: "):
            await it.door.send_mail(to, "Hi", "Text")
        assert it.sent == []


async def test_of_a_message_that_may_have_been_sent_it_is_said_so_and_it_is_not_sent_again():
    async with office() as it:
        await it.door.search_mail("nothing")
        it.graph.now = [_error(504, "UnknownError", "")]
        with pytest.raises(ToolFailed, match="It may have been done nevertheless: look there before you do it again"):
            await it.door.send_mail(["grace@x.example"], "Hi", "Text")
        assert len(it.graph.calls) == 2


async def test_a_token_is_kept_and_asked_for_once_however_many_wait_for_it():
    async with office() as it:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(it.door.search_mail, "nothing")
        assert len(it.login.calls) == 1
        assert len(it.graph.calls) == 5


async def test_a_token_is_renewed_before_it_ends():
    async with office() as it:
        it.lasts = 3600
        clock = [0.0]
        it.door._sign_in._clock = lambda: clock[0]
        await it.door.search_mail("nothing")
        clock[0] = 3200.0
        await it.door.search_mail("nothing")
        assert len(it.tokens) == 1
        clock[0] = 3301.0
        await it.door.search_mail("nothing")
        assert len(it.tokens) == 2


async def test_a_token_that_graph_refuses_is_renewed_once():
    async with office() as it:
        await it.door.search_mail("nothing")
        it.tokens.append("another one is wanted now")
        await it.door.search_mail("nothing")
        assert len(it.tokens) == 3
        it.graph.answers(lambda _: _error(401, "InvalidAuthenticationToken", "Access token validation failure."))
        with pytest.raises(ToolFailed, match="status 401: Access token validation failure"):
            await it.door.search_mail("nothing")
        assert len(it.tokens) == 4


async def test_a_wrong_secret_names_the_setting_and_not_itself():
    async with office("wrong~secret") as it:
        with pytest.raises(ToolFailed) as raised:
            await it.door.search_mail("plan")
        assert "AADSTS7000215: Invalid client secret provided. Check ATLAS_MICROSOFT_CLIENT_ID and" in str(raised.value)
        assert "ATLAS_MICROSOFT_CLIENT_SECRET" in str(raised.value)
        assert "wrong~secret" not in str(raised.value)
        assert it.graph.calls == []


async def test_a_missing_permission_is_named():
    async with office() as it:
        it.tokens.append("x")
        it.graph.now = [_error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")]
        with pytest.raises(
            ToolFailed, match=r"It takes the permission Mail.Read. Add it to the app's application perm"
        ):
            await it.door.search_mail("plan")


async def test_throttling_is_told_with_its_end():
    async with office() as it:
        await it.door.search_mail("nothing")
        it.graph.now = [
            Reply({"error": {"code": "TooManyRequests", "message": "Too many"}}, 429, {"retry-after": "120"})
        ]
        with pytest.raises(LimitReached) as raised:
            await it.door.search_mail("plan")
        assert 115 < raised.value.retry_after <= 120


async def test_a_login_that_gives_no_token_is_told():
    async with office() as it:
        it.login.now = [Reply({"token_type": "Bearer"})]
        with pytest.raises(ToolFailed, match=r"gave no token. Check ATLAS_MICROSOFT_LOGIN_URL"):
            await it.door.search_mail("plan")
