"""Every public signature, used as a caller would; pyright checks this file, nothing runs it.

``assert_type`` holds what a caller gets; a line marked ``# pyright: ignore`` is one that must be refused, and pyright
says so if it no longer is (reportUnnecessaryTypeIgnoreComment).
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, assert_type

import botwire
from botwire import (
    AsyncMemory,
    AsyncSession,
    BotWireError,
    Closed,
    Entry,
    EntryChange,
    InvalidName,
    InvalidValue,
    Memory,
    Message,
    MessageHit,
    MessageLike,
    MissingExtra,
    OutcomeUnknown,
    QuotaExceeded,
    RequestConflict,
    SearchHit,
    Session,
    SessionInfo,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    ToolCall,
    Unauthorized,
    Unsupported,
    ValueTooLarge,
    VersionConflict,
)
from botwire.stores import (
    KNOWN_SCHEMES,
    Append,
    Batch,
    ClearLog,
    EntryHit,
    EntryRow,
    EntryStamp,
    Heard,
    Listener,
    LogHit,
    LogInfo,
    LogPage,
    LogPlace,
    Outcome,
    Set,
    Store,
    Usage,
    default_path,
    encode_message,
    encode_value,
    open_store,
)

# -------------------------------------------------------------------------------------- Memory


def entries(store: Store) -> None:
    assert_type(botwire.__version__, str)
    Memory()
    Memory("agent", url="memory://", token="secret", timeout=2)
    Memory("agent", base_url="http://127.0.0.1:8377", timeout=2.5)
    Memory("agent", store=store)
    Memory("agent", "memory://")  # pyright: ignore[reportCallIssue]
    Memory(7)  # pyright: ignore[reportArgumentType]

    with Memory("agent") as memory:
        assert_type(memory, Memory)
        assert_type(memory.namespace, str)
        assert_type(memory.store, Store)

        assert_type(memory.set("key", {"any": ["json", 1, None]}), int)
        memory.set("key", 1, ttl=60, if_version=0, request_id="r1")
        memory.set("key", 1, ttl=timedelta(hours=1))
        memory.set("key", 1, ttl_seconds=0.5)
        memory.set("key", 1, 60)  # pyright: ignore[reportCallIssue]
        assert_type(memory.get("key"), Any)
        assert_type(memory.get("key", default=7), Any)
        assert_type(memory.get_entry("key"), Entry | None)
        assert_type(memory.get_many(["a", "b"]), dict[str, Any])
        assert_type(memory.set_many({"a": 1}, ttl=5, request_id="r2"), dict[str, int])
        assert_type(memory.delete("key", if_version=3), bool)
        assert_type(memory.delete_many(("a", "b")), int)
        assert_type(memory.exists("key"), bool)

        assert_type(memory.list_keys("prefix"), list[str])
        assert_type(memory.keys(), list[str])
        assert_type(memory.list("user:*"), list[str])
        assert_type(memory.iter_keys("prefix", page_size=10), Iterator[str])
        assert_type(memory.items("prefix", page_size=10), Iterator[tuple[str, Any]])
        assert_type(memory.count("prefix"), int)
        assert_type(memory.clear("prefix"), int)

        assert_type(memory.update("key", add_one, default=0), int)
        assert_type(memory.increment("key", by=0.5, request_id="r3"), Any)
        assert_type(memory.append("key", 1, "two", max_items=10, request_id="r4"), int)
        assert_type(memory.merge("key", {"a": None}, request_id="r5"), Any)
        assert_type(memory.change("key", "append", [1], max_items=3, request_id="r6"), tuple[int, Any])
        assert_type(memory.search("words", limit=5), list[SearchHit])

        assert_type(memory["key"], Any)
        memory["key"] = 1
        del memory["key"]
        assert_type("key" in memory, bool)
        assert_type(len(memory), int)
        assert_type(list(memory), list[str])

        assert_type(memory.session("s", agent="writer", ttl=timedelta(days=1)), Session)
        assert_type(memory.sessions(), list[SessionInfo])
        assert_type(memory.delete_session("s"), bool)
        assert_type(memory.namespaces(), list[str])
    memory.close()


def add_one(value: Any) -> int:
    return int(value) + 1


# ------------------------------------------------------------------------------------- Session


def sessions(session: Session) -> None:
    assert_type(session.session_id, str)
    assert_type(session.agent, str | None)
    likes: list[MessageLike] = [Message("user", "hi"), {"role": "user", "content": "hi"}, ("user", "hi"), "hi"]
    assert_type(session.append(*likes, role="user", request_id="r"), list[int])
    assert_type(session.replace(*likes, role="user", request_id="r"), list[int])
    assert_type(session.messages(last=20, before=9, after=1), list[Message])
    assert_type(session.snapshot(last=20, before=9, after=1), tuple[SessionInfo | None, list[Message]])
    assert_type(list(session), list[Message])
    with session.watch(after=3, epoch="1f2e", timeout=5) as messages:
        assert_type(next(messages), Message)
        assert_type((messages.seq, messages.epoch), tuple[int, str | None])
    assert_type(session.pop(), Message | None)
    assert_type(session.trim(keep_last=10), int)
    assert_type(session.clear(), int)
    assert_type(session.delete(), bool)
    assert_type(session.search("words", limit=3), list[MessageHit])
    assert_type(session.info(), SessionInfo | None)
    assert_type(session.count(), int)
    assert_type(len(session), int)
    assert_type(session.metadata, dict[str, Any])
    assert_type(session.set_metadata({"a": 1}), dict[str, Any])
    assert_type(session.merge_metadata({"a": None}), dict[str, Any])
    assert_type(session.ttl, float | None)
    session.set_ttl(60)
    session.set_ttl(timedelta(days=1))
    session.set_ttl(None)


# ------------------------------------------------------------------------------------- asyncio


def watching(memory: Memory) -> None:
    with memory.watch("user:*", initial=True, timeout=5) as changes:
        assert_type(next(changes), EntryChange)
        assert_type([(change.key, change.entry, change.deleted) for change in changes], list[tuple[str, Entry | None, bool]])
        assert_type(changes.close(), None)


async def async_entries(store: Store) -> None:
    AsyncMemory("agent", url="memory://", token="secret", timeout=2)
    AsyncMemory("agent", base_url="http://127.0.0.1:8377")
    AsyncMemory("agent", store=store)

    async with AsyncMemory("agent") as memory:
        assert_type(memory, AsyncMemory)
        assert_type(memory.namespace, str)
        assert_type(memory.store, Store)

        assert_type(await memory.set("key", 1, ttl=60, if_version=0, request_id="r1"), int)
        await memory.set("key", 1, ttl_seconds=0.5)
        assert_type(await memory.get("key", 7), Any)
        assert_type(await memory.get_entry("key"), Entry | None)
        assert_type(await memory.get_many(["a", "b"]), dict[str, Any])
        assert_type(await memory.set_many({"a": 1}, ttl=5, request_id="r2"), dict[str, int])
        assert_type(await memory.delete("key", if_version=3), bool)
        assert_type(await memory.delete_many(("a", "b")), int)
        assert_type(await memory.exists("key"), bool)

        assert_type(await memory.list_keys("prefix"), list[str])
        assert_type(await memory.keys(), list[str])
        assert_type(await memory.list("user:*"), list[str])
        assert_type(memory.iter_keys("prefix", page_size=10), AsyncIterator[str])
        assert_type(memory.items("prefix", page_size=10), AsyncIterator[tuple[str, Any]])
        assert_type([key async for key in memory], list[str])
        async with memory.watch("user:*", initial=True, timeout=5) as changes:
            assert_type([change async for change in changes], list[EntryChange])
            assert_type(await changes.close(), None)
        assert_type(await memory.count("prefix"), int)
        assert_type(await memory.clear("prefix"), int)

        assert_type(await memory.update("key", add_one, default=0), int)
        assert_type(await memory.increment("key", by=0.5, request_id="r3"), Any)
        assert_type(await memory.append("key", 1, "two", max_items=10, request_id="r4"), int)
        assert_type(await memory.merge("key", {"a": None}, request_id="r5"), Any)
        assert_type(await memory.change("key", "append", [1], max_items=3, request_id="r6"), tuple[int, Any])
        assert_type(await memory.search("words", limit=5), list[SearchHit])

        assert_type(memory.session("s", agent="writer", ttl=60), AsyncSession)
        assert_type(await memory.sessions(), list[SessionInfo])
        assert_type(await memory.delete_session("s"), bool)
        assert_type(await memory.namespaces(), list[str])
    await memory.close()


async def async_sessions(session: AsyncSession) -> None:
    assert_type(session.session_id, str)
    assert_type(session.agent, str | None)
    assert_type(await session.append({"role": "user", "content": "hi"}, role="user", request_id="r"), list[int])
    assert_type(await session.replace({"role": "user", "content": "hi"}, role="user", request_id="r"), list[int])
    assert_type(await session.messages(last=20, before=9, after=1), list[Message])
    assert_type(await session.snapshot(last=20, before=9, after=1), tuple[SessionInfo | None, list[Message]])
    assert_type([message async for message in session], list[Message])
    async with session.watch(after=3, epoch="1f2e", timeout=5) as messages:
        assert_type(await anext(messages), Message)
        assert_type((messages.seq, messages.epoch), tuple[int, str | None])
    assert_type(await session.pop(), Message | None)
    assert_type(await session.trim(keep_last=10), int)
    assert_type(await session.clear(), int)
    assert_type(await session.delete(), bool)
    assert_type(await session.search("words", limit=3), list[MessageHit])
    assert_type(await session.info(), SessionInfo | None)
    assert_type(await session.count(), int)
    assert_type(await session.metadata, dict[str, Any])
    assert_type(await session.set_metadata({"a": 1}), dict[str, Any])
    assert_type(await session.merge_metadata({"a": None}), dict[str, Any])
    assert_type(await session.ttl, float | None)
    await session.set_ttl(timedelta(days=1))


# ------------------------------------------------------------------------- what reading gives back


def messages() -> None:
    call = ToolCall("call-1", "search", '{"q": 1}', {"type": "function"})
    assert_type(call.parsed(), dict[str, Any])
    assert_type(call.to_dict(), dict[str, Any])
    assert_type((call.id, call.name, call.arguments, call.extra), tuple[str | None, str, str | dict[str, Any], dict[str, Any]])
    message = Message(
        role="assistant",
        content=[{"type": "text", "text": "hi"}],
        name="writer",
        tool_calls=[call],
        tool_call_id=None,
        id="m1",
        metadata={"a": 1},
        native={},
        extra={},
        created_at=datetime.now(UTC),
        seq=None,
    )
    Message("robot", "hi")  # pyright: ignore[reportArgumentType]
    assert_type(message.role, Literal["system", "user", "assistant", "tool"])
    assert_type(message.text, str)
    assert_type(message.tool_calls, list[ToolCall])
    assert_type(message.created_at, datetime | None)
    assert_type(message.seq, int | None)
    assert_type(message.to_dict(), dict[str, Any])
    assert_type(Message.from_dict({"role": "user", "content": "hi"}), Message)


def rows(entry: Entry, hit: SearchHit, message_hit: MessageHit, info: SessionInfo) -> None:
    assert_type((entry.key, entry.value, entry.version), tuple[str, Any, int])
    assert_type((entry.created_at, entry.updated_at, entry.expires_at), tuple[datetime, datetime, datetime | None])
    assert_type((hit.entry, hit.key, hit.value, hit.score, hit.snippet), tuple[Entry, str, Any, float, str])
    assert_type((message_hit.session_id, message_hit.agent, message_hit.message), tuple[str, str | None, Message])
    assert_type((message_hit.score, message_hit.snippet), tuple[float, str])
    assert_type((info.session_id, info.agent, info.epoch, info.head, info.count), tuple[str, str | None, str, int, int])
    assert_type((info.created_at, info.updated_at, info.expires_at), tuple[datetime, datetime, datetime | None])
    assert_type((info.ttl, info.metadata), tuple[float | None, dict[str, Any]])
    entry.version = 2  # pyright: ignore[reportAttributeAccessIssue]


# -------------------------------------------------------------------------------------- errors


def errors() -> None:
    every: list[type[BotWireError]] = [Closed, OutcomeUnknown, RequestConflict, StoreBusy, StoreFull, StoreIncompatible, StoreReadOnly]
    every += [Unauthorized, Unsupported, ValueTooLarge]
    value_errors: list[type[ValueError]] = [InvalidName, InvalidValue, ValueTooLarge]
    connection_errors: list[type[ConnectionError]] = [StoreUnavailable, StoreBusy, StoreFull, StoreReadOnly, OutcomeUnknown]
    missing: ImportError = MissingExtra("install it")
    corrupt: BotWireError = StoreCorrupt("damaged")
    print(every, value_errors, connection_errors, missing, corrupt.code)
    try:
        pass
    except VersionConflict as error:
        assert_type(error.current, int)
        assert_type(error.code, str)
    except QuotaExceeded as error:
        assert_type(error.retry_after, float | None)


# -------------------------------------------------------------------------------------- stores


def stores() -> None:
    assert_type(KNOWN_SCHEMES, tuple[str, ...])
    assert_type(default_path(), Path)
    store = open_store("sqlite:///file.db", token=None, timeout=5)
    assert_type(store, Store)
    assert_type(store.url, str)
    assert_type(store.write([Batch("namespace", (Set("key", "1"),), "request-1")]), list[Outcome])
    batch = Batch(
        "namespace", (ClearLog("session", "", LogPlace("epoch", 2, 2)), Append("session", "", (encode_message(Message("user")),)))
    )
    assert_type(store.write([batch]), list[Outcome])
    assert_type(encode_value({"a": [1]}, "value"), str)
    assert_type(store.get("namespace", "key"), EntryRow | None)
    assert_type(store.get_many("namespace", ["key"]), dict[str, EntryRow])
    assert_type(store.scan("namespace", "prefix", "after", 10), list[EntryRow])
    assert_type(store.scan_keys("namespace", "prefix", None, 10), list[str])
    assert_type(store.scan_stamps("namespace", "prefix", None, 10), list[EntryStamp])
    listener = store.listen("namespace", "session")
    assert_type(listener, Listener)
    assert_type(listener.wait(1.5), Heard | None)
    assert_type(listener.close(), None)
    assert_type(store.count("namespace", "prefix"), int)
    assert_type(store.usage("namespace"), Usage)
    assert_type(store.namespaces(None, 10), list[str])
    assert_type(store.read_log("namespace", "session", "", after=None, before=None, last=3, limit=10), LogPage)
    assert_type(store.scan_logs("namespace", ("session", ""), 10), list[LogInfo])
    assert_type(store.search("namespace", ["word"], 10), list[EntryHit])
    assert_type(store.search_log("namespace", ["word"], 10, session="s", agent=None), list[LogHit])
    assert_type(store.check(), dict[str, Any])
    store.close()
