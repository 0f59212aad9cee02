"""The older public service: four routes, text values, and nothing that is atomic but one PUT.

``HTTPStore`` turns to these calls when ``/health`` does not name a botwire server. What the service cannot keep exactly
is refused before anything is sent. It keeps text alone, so:

- a str is sent as it is, unless it would be read back as JSON; a list or dict is sent as its JSON text;
- text that starts with ``[`` or ``{`` and is JSON is read back as the list or dict, all other text as a str;
- a number, a bool or None is refused, for it would come back as a str;
- it has no versions (an entry is at version 1), no ttl, no transactions, and lists at most 1,000 keys;
- a session is one JSON list under one key: appending reads it and writes it back, which two writers can do at once.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from botwire import _wire
from botwire._errors import BotWireError, InvalidName, InvalidValue, StoreCorrupt, Unsupported
from botwire._jsontext import encode_utf8, items, quote
from botwire.stores._http_calls import Answer, Call, Request, document_of, failure, read_object
from botwire.stores._legacy_text import SESSION_PREFIX, epoch_of, from_text, is_key, session_key, session_of, sized, time_of, to_text
from botwire.stores._protocol import (
    KEEP,
    Append,
    Appended,
    Batch,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    EntryHit,
    EntryRow,
    EntryStamp,
    LogHit,
    LogInfo,
    LogPage,
    LogRow,
    Outcome,
    Pop,
    Result,
    Set,
    Trim,
    Usage,
)
from botwire.stores._search import match_entry, match_message

MAX_KEYS = 1_000
"""Keys that the service lists at most."""

_is_namespace = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_JSON_BODY = (("content-type", _wire.JSON),)
_warned: list[str] = []


class LegacyCalls:
    """The calls on the older service; ``where`` is its URL for messages."""

    def __init__(self, where: str) -> None:
        self.where = where

    # --------------------------------------------------------------------------------------- writes

    def write(self, batches: Sequence[Batch]) -> Call[list[Outcome]]:
        """See ``Store.write``."""
        outcomes: list[Outcome] = []
        for batch in batches:
            try:
                outcomes.append([(yield from self._write_one(batch))])
            except BotWireError as error:
                outcomes.append(error)
        return outcomes

    def _write_one(self, batch: Batch) -> Call[Result]:
        if len(batch.operations) != 1:
            raise self._unsupported("write several things at once, all or none")
        if batch.request_id is not None:
            raise self._unsupported("remember request ids, so it cannot tell a repeated call from a new one")
        operation = batch.operations[0]
        match operation:
            case Set(key, value, None, None):
                yield from self._put(batch.namespace, self._entry_key(key), to_text(value, f"the value of {key!r}"))
                return 1
            case Delete(key, None):
                return (yield from self._delete(batch.namespace, self._entry_key(key)))
            case Clear(prefix):
                return (yield from self._clear(batch.namespace, prefix))
            case Append() | Pop() | Trim(_, _, _, None) | ClearLog(_, _, None) | DeleteLog():
                return (yield from self._write_session(batch.namespace, operation))
            case Set() | Delete() | Trim() | ClearLog():
                raise self._unsupported("keep a ttl or compare versions")
            case _:
                raise self._unsupported(f"do {type(operation).__name__} atomically")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"the older service at {self.where} cannot {what}; nothing was sent. `botwire serve` can")

    def _clear(self, namespace: str, prefix: str) -> Call[int]:
        count = 0
        for key in (yield from self._keys(namespace)):
            if key.startswith(prefix) and not key.startswith(SESSION_PREFIX):
                count += yield from self._delete(namespace, key)
        return count

    # ---------------------------------------------------------------------------------------- reads

    def get(self, namespace: str, key: str) -> Call[EntryRow | None]:
        """See ``Store.get``."""
        if key.startswith(SESSION_PREFIX) or not is_key(key):
            return None  # no such entry can be there
        return (yield from self._get(namespace, key))

    def get_many(self, namespace: str, keys: Sequence[str]) -> Call[dict[str, EntryRow]]:
        """See ``Store.get_many``."""
        found: dict[str, EntryRow] = {}
        for key in keys:
            row = yield from self.get(namespace, key)
            if row is not None:
                found[key] = row
        return found

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryRow]]:
        """See ``Store.scan``."""
        keys = yield from self.scan_keys(namespace, prefix, after, limit)
        return list((yield from self.get_many(namespace, keys)).values())

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[str]]:
        """See ``Store.scan_keys``."""
        keys = yield from self._keys(namespace)
        entries = [key for key in keys if key.startswith(prefix) and not key.startswith(SESSION_PREFIX)]
        return [key for key in entries if after is None or key > after][:limit]

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryStamp]]:
        """See ``Store.scan_stamps``; by the times that the service gives, for it has no versions."""
        times = yield from self._listed(namespace)
        entries = sorted(key for key in times if key.startswith(prefix) and not key.startswith(SESSION_PREFIX))
        return [EntryStamp(key, 1, times[key], None) for key in entries if after is None or key > after][:limit]

    def listening(self, namespace: str, session: str | None, keep_alive: int) -> Call[Request | None]:  # noqa: ARG002 - as HTTPCalls has it
        """That the service does not tell of changes."""
        yield from ()
        return None

    def count(self, namespace: str, prefix: str = "") -> Call[int]:
        """See ``Store.count``."""
        return len((yield from self.scan_keys(namespace, prefix, None, MAX_KEYS)))

    def namespaces(self, after: str | None, limit: int) -> Call[list[str]]:  # noqa: ARG002 - as the protocol has it
        """See ``Store.namespaces``."""
        raise self._unsupported("list namespaces")
        yield Request("", "")  # makes this a generator, as all calls are

    def usage(self, namespace: str) -> Call[Usage]:  # noqa: ARG002 - as the protocol has it
        """See ``Store.usage``."""
        raise self._unsupported("say how much a namespace holds")
        yield Request("", "")  # makes this a generator, as all calls are

    def search(self, namespace: str, words: Sequence[str], limit: int) -> Call[list[EntryHit]]:
        """See ``Store.search``."""
        rows = yield from self.scan(namespace, "", None, MAX_KEYS)
        hits = [EntryHit(row, *found) for row in rows if (found := match_entry(words, row.key, row.value))]
        return sorted(hits, key=lambda hit: (-hit.score, hit.row.key))[:limit]

    def ask(self, method: str, path: str, document: object = None) -> Call[None]:  # noqa: ARG002 - as HTTPCalls has it
        """It has no other routes.

        Raises:
            Unsupported: always.
        """
        raise self._unsupported(f"answer {path}")
        yield Request("", "")  # makes this a generator, as all calls are

    def check(self) -> Call[dict[str, Any]]:
        """See ``Store.check``."""
        answer = yield Request("GET", "/")
        return {"ok": answer.status < 500, "problems": [], "store": self.where, "service": "the older one, which cannot be examined"}

    # ------------------------------------------------------------------------------------- sessions

    def _write_session(self, namespace: str, operation: Append | Pop | Trim | ClearLog | DeleteLog) -> Call[Result]:
        if isinstance(operation, DeleteLog) and operation.agent is None:
            return (yield from self._delete_sessions(namespace, operation.session))
        key = session_key(operation.session, operation.agent or "")
        bodies = [row.body for row in (yield from self._read(namespace, key))]
        match operation:
            case Append(_, _, added, ttl):
                if ttl is not KEEP and ttl is not None:
                    raise self._unsupported("keep a ttl")
                self._warn_once()
                bodies += added
                yield from self._put_session(namespace, key, bodies)
                return Appended(epoch_of(bodies), len(bodies) - len(added) + 1, len(bodies))
            case Pop():
                if not bodies:
                    return None
                yield from self._put_session(namespace, key, bodies[:-1])
                return LogRow(len(bodies), bodies[-1], 0)
            case Trim(_, _, keep_last):
                removed = max(0, len(bodies) - keep_last)
                if removed:
                    yield from self._put_session(namespace, key, bodies[removed:])
                return removed
            case ClearLog():
                if bodies:
                    yield from self._put_session(namespace, key, [])
                return len(bodies)
            case _:
                return int((yield from self._delete(namespace, key)))

    def _delete_sessions(self, namespace: str, session: str) -> Call[int]:
        count = 0
        for key in (yield from self._keys(namespace)):
            if (name := session_of(key)) is not None and name[0] == session:
                count += yield from self._delete(namespace, key)
        return count

    def _put_session(self, namespace: str, key: str, bodies: Sequence[str]) -> Call[None]:
        yield from self._put(namespace, key, sized(f"[{','.join(bodies)}]", "the session's messages together"))

    def _warn_once(self) -> None:
        if self.where not in _warned:
            _warned.append(self.where)
            warnings.warn(
                f"the older service at {self.where} keeps a session as one list and cannot append atomically: "
                "two writers at once can lose messages; `botwire serve` does not",
                UserWarning,
                stacklevel=2,
            )

    def _read(self, namespace: str, key: str) -> Call[list[LogRow]]:
        row = yield from self._get(namespace, key)
        if row is None:
            return []
        try:
            bodies = items(row.value, "session")
        except InvalidValue as error:
            raise StoreCorrupt(f"{key!r} in namespace {namespace!r} is no list of messages; another program wrote it") from error
        return [LogRow(index, body, row.updated_at) for index, body in enumerate(bodies, 1)]

    def read_log(
        self,
        namespace: str,
        session: str,
        agent: str,
        *,
        after: int | None = None,
        before: int | None = None,
        last: int | None = None,
        limit: int | None = None,
    ) -> Call[LogPage]:
        """See ``Store.read_log``."""
        key = session_key(session, agent)
        row = yield from self._get(namespace, key)
        if row is None:
            return LogPage(None, [])
        rows = [LogRow(index, body, row.updated_at) for index, body in enumerate(items(row.value, "session"), 1)]
        bodies = [each.body for each in rows]
        info = LogInfo(session, agent, epoch_of(bodies), len(rows), len(rows), row.created_at, row.updated_at, None, None, "{}")
        within = rows[after or 0 : None if before is None else max(before - 1, 0)]
        return LogPage(info, within[:limit] if last is None else within[max(0, len(within) - last) :])

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> Call[list[LogInfo]]:
        """See ``Store.scan_logs``."""
        names = sorted(name for key in (yield from self._keys(namespace)) if (name := session_of(key)) is not None)
        infos: list[LogInfo] = []
        for session, agent in [name for name in names if after is None or name > after][:limit]:
            page = yield from self.read_log(namespace, session, agent, last=0)
            if page.info is not None:
                infos.append(page.info)
        return infos

    def search_log(
        self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None
    ) -> Call[list[LogHit]]:
        """See ``Store.search_log``."""
        hits: list[LogHit] = []
        for info in (yield from self.scan_logs(namespace, None, MAX_KEYS)):
            if session in (None, info.session) and agent in (None, info.agent):
                page = yield from self.read_log(namespace, info.session, info.agent)
                found = [(row, match_message(words, row.body)) for row in page.rows]
                hits += [LogHit(info.session, info.agent, row, *match) for row, match in found if match]
        return sorted(hits, key=lambda hit: (-hit.score, hit.session, hit.agent, hit.row.seq))[:limit]

    # -------------------------------------------------------------------------------- the four routes

    def _put(self, namespace: str, key: str, text: str) -> Call[None]:
        request = Request("PUT", self._path(namespace, key), encode_utf8(f'{{"value":{quote(text)}}}'), _JSON_BODY, writes=True)
        answer = yield request
        if answer.status not in (200, 201, 204):
            raise failure(request, answer, self.where)

    def _get(self, namespace: str, key: str) -> Call[EntryRow | None]:
        request = Request("GET", self._path(namespace, key))
        answer = yield request
        if self._is_missing(answer):
            return None
        if answer.status != 200:
            raise failure(request, answer, self.where)
        record = read_object(request, answer, self.where)
        text = record.get("value")
        if not isinstance(text, str):
            raise StoreCorrupt(f"{self.where} answered with a value of {key!r} that is no text")
        updated_at = time_of(record.get("updated_at"))
        return EntryRow(key, from_text(text), 1, time_of(record.get("created_at")) or updated_at, updated_at, None)

    def _delete(self, namespace: str, key: str) -> Call[bool]:
        request = Request("DELETE", self._path(namespace, key), writes=True, repeatable=False)
        answer = yield request
        if self._is_missing(answer):
            return False
        if answer.status not in (200, 204):
            raise failure(request, answer, self.where)
        return True

    def _keys(self, namespace: str) -> Call[list[str]]:
        return sorted((yield from self._listed(namespace)))

    def _listed(self, namespace: str) -> Call[dict[str, int]]:
        """All keys, and when each was changed."""
        request = Request("GET", self._path(namespace) + f"?limit={MAX_KEYS}")
        answer = yield request
        if self._is_missing(answer):
            return {}
        if answer.status != 200:
            raise failure(request, answer, self.where)
        records: list[Any] = read_object(request, answer, self.where).get("keys", [])
        if len(records) >= MAX_KEYS:
            raise Unsupported(f"{self.where} lists {MAX_KEYS:,} keys and no more, so those of namespace {namespace!r} cannot all be seen")
        named = [{"key": record} if isinstance(record, str) else record for record in records]
        return {record["key"]: time_of(record.get("updated_at")) for record in named}

    def _is_missing(self, answer: Answer) -> bool:
        return answer.status == 404 and bool(document_of(answer))  # a page of some other server is no answer

    def _path(self, namespace: str, *key: str) -> str:
        if not _is_namespace(namespace):
            raise InvalidName(f"{self.where} is an older service: a namespace has 1 to 64 of A-Z, a-z, 0-9, _ and -, not {namespace!r:.80}")
        return _wire.path("memory", namespace, *key)

    def _entry_key(self, key: str) -> str:
        if not is_key(key):
            raise InvalidName(f"{self.where} is an older service: a key has 1 to 128 of A-Z, a-z, 0-9, _ . and -, not {key!r:.80}")
        if key.startswith(SESSION_PREFIX):
            raise InvalidName(
                f"{self.where} is an older service, on which keys that begin with {SESSION_PREFIX!r} are sessions: {key!r:.80}"
            )
        return key
