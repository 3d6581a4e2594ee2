"""The webhook: signed, told everything once it can be, and in nobody's way while it hangs or fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from atlas_mcp.errors import ConfigurationError, StoreUnavailable
from atlas_mcp.model.status import Room
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import Record
from atlas_mcp.watch.alerts import rows, telling
from atlas_mcp.watch.alerts.looking import Lookout
from atlas_mcp.watch.alerts.rules import Finding, Thresholds
from atlas_mcp.watch.alerts.telling import LONGEST_PAUSE, Telling
from atlas_mcp.watch.webhook import Sender, sending, sign, webhook
from tests.health.conftest import KEY, SECRET, Clock, Receiver

pytestmark = pytest.mark.anyio
SECONDS = 120
GONE = Finding("store", "redis", "redis is not well: it is gone.", 1.0, 0.0)
MINE = Finding("budget", "user-1", "85% of the day's $10.00 are spent or reserved.", 0.85, 0.8, "local:me")


@pytest.fixture
async def sender(receiver: Receiver) -> AsyncGenerator[Sender]:
    hook = webhook(receiver.url, SECRET)
    assert hook is not None
    async with sending(hook) as sender:
        yield sender


@pytest.fixture
def teller(record: Record, sender: Sender, home: Path, clock: Clock) -> Callable[..., Telling]:
    """Makes what another process would have, with locks of its own on the same home."""

    def make(deadline: float = 30.0, by: Sender | None = None) -> Telling:
        locks = Locks(home / "locks")
        return Telling(
            record, locks, by or sender, "http://127.0.0.1", deadline=deadline, now=clock.now, steady=clock.seconds
        )

    return make


async def raise_(record: Record, clock: Clock, *found: Finding) -> None:
    await rows.settle(record, found, {"store", "budget"}, clock.wall)


async def test_what_is_raised_and_over_is_told_in_that_order_and_once(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE, MINE)
    telling = teller()
    assert await telling.tell() == 2
    raised = {got.content["data"]["rule"]: got for got in receiver.got}
    assert raised["store"].content["type"] == "alert.raised"
    assert raised["store"].content["timestamp"] == "2026-11-20T12:00:00Z"
    assert raised["store"].content["data"]["text"] == GONE.text
    assert raised["store"].content["data"]["caller"] is None
    assert raised["budget"].content["data"]["caller"].startswith("user-")
    assert "local:me" not in str(raised["budget"].content)
    clock.pass_by(60)
    await raise_(record, clock, MINE)
    assert await telling.tell() == 1
    over = receiver.got[-1].content
    assert (over["type"], over["timestamp"]) == ("alert.cleared", "2026-11-20T12:01:00Z")
    assert over["data"]["id"] == raised["store"].content["data"]["id"]
    assert await telling.tell() == 0
    assert len({got.id for got in receiver.got}) == receiver.tried == 3
    assert receiver.forged == 0


async def test_an_alert_that_was_over_before_it_could_be_told_is_told_whole(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE)
    clock.pass_by(5)
    await raise_(record, clock)
    assert await teller().tell() == 2
    assert [got.content["type"] for got in receiver.got] == ["alert.raised", "alert.cleared"]
    assert receiver.got[0].content["data"]["cleared_at"] is None


async def test_a_webhook_that_fails_is_tried_again_after_growing_pauses_and_loses_nothing(
    record: Record,
    receiver: Receiver,
    teller: Callable[..., Telling],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await raise_(record, clock, GONE)
    receiver.answer = 503
    telling, pauses = teller(), list[float]()
    await telling.tell()
    for attempt in range(1, 11):
        waited = 0.0
        while receiver.tried == attempt:
            clock.pass_by(1)
            waited += 1
            assert await telling.tell() == 0
        pauses.append(waited)
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, LONGEST_PAUSE, LONGEST_PAUSE]
    clock.pass_by(LONGEST_PAUSE)
    receiver.answer = 200
    assert await telling.tell() == 1
    said = [record.getMessage() for record in caplog.records if "webhook" in record.getMessage()]
    assert said[0].endswith("was not told of an alert: it answered 503. It is tried again.")
    assert len(said) == 2, "neither each attempt nor the address is in the log"
    assert "a-path-that-is-a-secret" not in caplog.text


async def test_a_webhook_that_hangs_ends_at_its_deadline_and_the_next_process_tells_it(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE)
    receiver.answer = None
    deadlines = (0.2, 2.0, 20.0)  # the first is enough to be heard, unless the machine has much else to do
    with anyio.fail_after(SECONDS):
        for deadline in deadlines:
            assert await teller(deadline=deadline).tell() == 0
            if receiver.tried:
                break
    assert 1 <= receiver.tried <= len(deadlines)
    receiver.answer = 200
    assert await teller().tell() == 1


async def test_while_it_hangs_looks_go_on_and_no_second_process_tells(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE)
    receiver.answer = None
    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(teller(deadline=SECONDS).tell)
            await receiver.attempts(1)
            assert await teller().tell() == 0
            assert receiver.tried == 1
            look = Lookout(record, Thresholds(), now=clock.now)
            assert len((await look.look(_all_well)).cleared) == 1
            tasks.cancel_scope.cancel()  # and the end of the process does not wait for it


async def _all_well() -> list[Room]:
    return []


async def test_what_was_taken_and_could_not_be_noted_comes_again_under_its_id(
    record: Record,
    receiver: Receiver,
    teller: Callable[..., Telling],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("the record is gone.")

    await raise_(record, clock, GONE)
    with monkeypatch.context() as broken:
        broken.setattr(telling.rows, "told", fail)
        with pytest.raises(StoreUnavailable):
            await teller().tell()
    assert await teller().tell() == 1
    first, second = receiver.got
    assert first.id == second.id
    assert first.content == second.content


async def test_what_is_old_and_over_is_told_no_more_and_what_stands_is(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE, MINE)
    clock.pass_by(60)
    await raise_(record, clock, MINE)
    clock.pass_by(timedelta(days=30).total_seconds())
    assert await teller().tell() == 1
    assert receiver.got[0].content["data"]["rule"] == "budget"


async def test_another_secret_is_seen_by_the_receiver(
    record: Record, receiver: Receiver, teller: Callable[..., Telling], clock: Clock
) -> None:
    await raise_(record, clock, GONE)
    hook = webhook(receiver.url, "some other secret, as it is written")
    assert hook is not None
    async with sending(hook) as other:
        assert await teller(by=other).tell() == 0
    assert (receiver.forged, receiver.got) == (1, [])


async def test_an_address_where_nobody_listens_and_a_redirection_are_failures(
    receiver: Receiver, sender: Sender
) -> None:
    nobody = webhook("http://127.0.0.1:1/hook", SECRET)
    assert nobody is not None
    async with sending(nobody) as other:
        assert await other.send("m", {}) == "it could not be reached (ConnectError)"
    receiver.answer = 307
    assert await sender.send("m", {}) == "it answered 307"
    assert receiver.tried == 1


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries' own tests."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    hook = webhook("https://example.com/hook", secret)
    assert hook is not None
    body = b'{"test": 2432232314}'
    assert hook.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, 1614265330)["webhook-signature"] == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert sign(KEY, "a", 1, b"") != sign(KEY, "a", 2, b"")


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("http://host/x", None, "ATLAS_WEBHOOK_SECRET: messages to the webhook are signed with it"),
        ("http://host/x", "short", "shorter than 16 bytes"),
        ("http://host/x", "whsec_not base64!", "no base64"),
        ("ftp://host/x", SECRET, "ATLAS_WEBHOOK_URL: it is no address of HTTP"),
        ("host/x", SECRET, "no address of HTTP"),
        ("http://[::1", SECRET, "no address of HTTP"),
        ("http://host:port/x", SECRET, "no address of HTTP"),
    ],
)
def test_settings_that_do_not_serve_are_refused_with_what_to_do(url: str, secret: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        webhook(url, secret)


def test_neither_the_address_nor_the_secret_is_shown() -> None:
    hook = webhook("https://user:word@host:8443/services/T000/secret", SECRET)
    assert hook is not None
    assert hook.shown == "https://host:8443"
    assert "secret" not in repr(hook)
