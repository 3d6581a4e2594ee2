"""A small server of Redis' protocol (RESP 2), for machines on which no Redis can be had: `python small_redis.py PORT`.

It is a process of its own that speaks over TCP, keeps its data in memory, and knows the commands that ATLAS sends. Of
scripts it knows the one that ATLAS sends. tests/memory/test_redis_server.py holds it and a real Redis to the same
answers.
"""

from __future__ import annotations

import asyncio
import fnmatch
import sys
import time
import uuid
from contextlib import suppress

WRITING = {"SET", "DEL", "INCR", "INCRBY", "PEXPIRE", "EVAL", "FLUSHALL"}


class Failed(Exception):
    """An error that the client is told."""


class Store:
    """The data, with the end of what has one."""

    def __init__(self) -> None:
        self.run_id = uuid.uuid4().hex
        self.read_only = False
        self._kept: dict[bytes, tuple[bytes, float | None]] = {}
        self.listening: dict[bytes, set[asyncio.StreamWriter]] = {}

    def get(self, key: bytes) -> bytes | None:
        value, end = self._kept.get(key, (None, None))
        if end is not None and end <= time.time():
            del self._kept[key]
            return None
        return value

    def set(self, key: bytes, value: bytes, *options: bytes) -> str:
        end = None
        for name, number in zip(options[::2], options[1::2], strict=True):
            if name.upper() not in (b"PX", b"EX"):
                raise Failed("ERR syntax error")
            end = time.time() + int(number) / (1000 if name.upper() == b"PX" else 1)
        self._kept[key] = (value, end)
        return "OK"

    def delete(self, *keys: bytes) -> int:
        return sum(self._kept.pop(key, None) is not None for key in keys)

    def increment(self, key: bytes, by: bytes = b"1") -> int:
        _, end = self._kept.get(key, (None, None))
        try:
            total = int(self.get(key) or b"0") + int(by)
        except ValueError:
            raise Failed("ERR value is not an integer or out of range") from None
        self._kept[key] = (str(total).encode(), end)
        return total

    def expire(self, key: bytes, milliseconds: bytes) -> int:
        value = self.get(key)
        if value is None:
            return 0
        self._kept[key] = (value, time.time() + int(milliseconds) / 1000)
        return 1

    def scan(self, _cursor: bytes, *options: bytes) -> list[object]:
        named = dict(zip((o.upper() for o in options[::2]), options[1::2], strict=True))
        pattern = named.get(b"MATCH", b"*").decode()
        return [b"0", [key for key in [*self._kept] if fnmatch.fnmatchcase(key.decode(), pattern) and self.get(key)]]

    def evaluate(self, script: bytes, _keys: bytes, key: bytes, version: bytes, text: bytes, ms: bytes) -> int:
        if b"string.sub(there, 1, 20) >= ARGV[1]" not in script:
            raise Failed("ERR this small server knows one script only")
        there = self.get(key)
        if there is not None and there[:20] >= version:
            return 0
        self.set(key, version + text, b"PX", ms)
        return 1

    def empty(self) -> str:
        self._kept.clear()
        return "OK"

    async def publish(self, channel: bytes, message: bytes) -> int:
        listeners = [*self.listening.get(channel, ())]
        for listener in listeners:
            listener.write(encoded([b"message", channel, message]))
        return len(listeners)


def encoded(answer: object) -> bytes:
    """The answer in Redis' protocol."""
    match answer:
        case None:
            return b"$-1\r\n"
        case str():
            return f"+{answer}\r\n".encode()
        case int():
            return f":{answer}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case list():
            return b"*%d\r\n%b" % (len(answer), b"".join(map(encoded, answer)))
        case _:
            raise TypeError(type(answer))


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The next command and its arguments."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    parts: list[bytes] = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return parts


async def answer(store: Store, writer: asyncio.StreamWriter, name: str, rest: list[bytes]) -> object:
    """What the command comes to."""
    known = {
        "GET": store.get,
        "SET": store.set,
        "DEL": store.delete,
        "INCR": store.increment,
        "INCRBY": store.increment,
        "PEXPIRE": store.expire,
        "SCAN": store.scan,
        "EVAL": store.evaluate,
        "FLUSHALL": store.empty,
    }
    if store.read_only and name in WRITING:
        raise Failed("READONLY You can't write against a read only replica.")
    match name:
        case "REPLICAOF":
            store.read_only = rest[0].upper() != b"NO"
            return "OK"
        case "PING":
            return "PONG"
        case "SELECT" | "CLIENT" | "AUTH":
            return "OK"
        case "INFO":
            return f"# Server\r\nredis_version:0\r\nrun_id:{store.run_id}\r\n".encode()
        case "PUBLISH":
            return await store.publish(*rest)
        case "SUBSCRIBE":
            store.listening.setdefault(rest[0], set()).add(writer)
            return [b"subscribe", rest[0], 1]
        case "UNSUBSCRIBE":
            return [b"unsubscribe", rest[0] if rest else None, 0]
        case _ if name in known:
            return known[name](*rest)
        case _:
            raise Failed(f"ERR unknown command '{name}'")


async def main(port: int) -> None:
    store = Store()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                name, *rest = await read_command(reader)
                try:
                    writer.write(encoded(await answer(store, writer, name.decode().upper(), rest)))
                except (Failed, TypeError) as error:
                    writer.write(f"-{error if isinstance(error, Failed) else 'ERR wrong number'}\r\n".encode())
                await writer.drain()
        for listeners in store.listening.values():
            listeners.discard(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**26)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
