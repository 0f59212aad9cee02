"""What each call on a session does: checks, one request to the store, the result. No waiting, no threads."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from botwire._codec import decode, encode
from botwire._errors import InvalidValue, StoreCorrupt
from botwire._message import Message, MessageLike, decode_message, encode_message, to_message
from botwire._names import check_count, check_name, check_request_id, ttl_to_us
from botwire._plan import Plan, write, write_one
from botwire._records import MessageHit, SessionInfo, to_datetime
from botwire.stores._protocol import KEEP, Append, Appended, ClearLog, DeleteLog, LogInfo, LogPage, LogRow, Pop, SetLog, Trim, Ttl
from botwire.stores._records import removals
from botwire.stores._search import query_words

logger = logging.getLogger("botwire")

PAGE = 5_000
"""Messages asked for at a time, where all are wanted."""


class SessionPlans:
    """The plans of one session: of one agent's transcript in it, if ``agent`` is given."""

    __slots__ = ("agent", "namespace", "session_id", "ttl")

    def __init__(self, namespace: str, session_id: str, agent: str | None, ttl: float | timedelta | None) -> None:
        self.namespace = namespace
        self.session_id = check_name(session_id, "session id")
        self.agent = "" if agent is None else check_name(agent, "agent")
        self.ttl: Ttl = KEEP if ttl is None else ttl_to_us(ttl)

    @property
    def where(self) -> str:
        """How messages of errors call the session."""
        agent = f" (agent {self.agent!r})" if self.agent else ""
        return f"session {self.session_id!r}{agent} in namespace {self.namespace!r}"

    # ------------------------------------------------------------------------------------- messages

    def append(self, messages: tuple[MessageLike, ...], role: str | None, request_id: str | None) -> Plan[list[int]]:
        bodies = tuple(encode_message(to_message(message, role)) for message in messages)
        request = check_request_id(request_id)
        if not bodies:
            return []
        operation = Append(self.session_id, self.agent, bodies, self.ttl)
        appended: Appended = yield from write_one(self.namespace, operation, request)
        return list(range(appended.first, appended.last + 1))

    def replace(self, messages: tuple[MessageLike, ...], role: str | None, request_id: str | None) -> Plan[list[int]]:
        bodies = tuple(encode_message(to_message(message, role)) for message in messages)
        request = check_request_id(request_id)
        operations = [ClearLog(self.session_id, self.agent), *([Append(self.session_id, self.agent, bodies, self.ttl)] if bodies else [])]
        yield from write(self.namespace, *operations, request_id=request)
        return list(range(1, len(bodies) + 1))  # a new epoch begins at 1

    def messages(self, last: int | None, before: int | None, after: int | None) -> Plan[list[Message]]:
        return (yield from self.snapshot(last, before, after))[1]

    def snapshot(self, last: int | None, before: int | None, after: int | None) -> Plan[tuple[SessionInfo | None, list[Message]]]:
        """All messages asked for and the session's state, as they were at one moment."""
        bounds = {name: None if bound is None else check_count(bound, name) for name, bound in (("before", before), ("after", after))}
        if last is not None:
            bounds["last"] = check_count(last, "last")
        while True:
            page: LogPage = yield lambda store: store.read_log(self.namespace, self.session_id, self.agent, **bounds, limit=PAGE)
            info, rows = page.info, list(page.rows)
            while len(page.rows) == PAGE and info is not None and last is None:
                page = yield from self.page_after(rows[-1].seq, before)
                if page.info is None or removals(page.info) != removals(info):
                    break  # messages were removed meanwhile: what was read is half of something that is gone
                info = page.info
                rows += page.rows
            else:
                return None if info is None else SessionInfo.from_log(info), self.readable(rows)

    def page_after(self, after: int | None, before: int | None = None, limit: int = PAGE) -> Plan[LogPage]:
        return (yield lambda store: store.read_log(self.namespace, self.session_id, self.agent, after=after, before=before, limit=limit))

    def read_row(self, row: LogRow) -> Message:
        return decode_message(row.body, row.seq, to_datetime(row.created_at), self.where)

    def readable(self, rows: list[LogRow]) -> list[Message]:
        """The messages of rows; one that cannot be read is passed over with a warning, so that it spoils only itself."""
        messages: list[Message] = []
        where, moment, created_at = self.where, to_datetime(0), 0
        for row in rows:
            if row.created_at != created_at:  # those of one append have one
                moment, created_at = to_datetime(row.created_at), row.created_at
            try:
                messages.append(decode_message(row.body, row.seq, moment, where))
            except StoreCorrupt as error:
                logger.warning("passed over an unreadable message: %s", error)
        return messages

    def pop(self) -> Plan[Message | None]:
        row: LogRow | None = yield from write_one(self.namespace, Pop(self.session_id, self.agent))
        return None if row is None else self.read_row(row)

    def trim(self, keep_last: int) -> Plan[int]:
        operation = Trim(self.session_id, self.agent, check_count(keep_last, "keep_last"))
        return (yield from write_one(self.namespace, operation))

    def clear(self) -> Plan[int]:
        return (yield from write_one(self.namespace, ClearLog(self.session_id, self.agent)))

    def delete(self) -> Plan[bool]:
        return bool((yield from write_one(self.namespace, DeleteLog(self.session_id, self.agent))))

    def search(self, query: str, limit: int) -> Plan[list[MessageHit]]:
        words, limit = query_words(query), check_count(limit, "limit")
        hits = yield lambda store: store.search_log(self.namespace, words, limit, self.session_id, self.agent)
        return [
            MessageHit(hit.session, hit.agent or None, message, hit.score, hit.snippet)
            for hit in hits
            for message in self.readable([hit.row])
        ]

    # ---------------------------------------------------------------------------------- about itself

    def log_info(self) -> Plan[LogInfo | None]:
        page: LogPage = yield lambda store: store.read_log(self.namespace, self.session_id, self.agent, last=0)
        return page.info

    def info(self) -> Plan[SessionInfo | None]:
        info = yield from self.log_info()
        return None if info is None else SessionInfo.from_log(info)

    def count(self) -> Plan[int]:
        info = yield from self.log_info()
        return 0 if info is None else info.count

    def get_metadata(self) -> Plan[dict[str, Any]]:
        info = yield from self.log_info()
        return {} if info is None else decode(info.metadata, f"the metadata of {self.where}")

    def set_metadata(self, metadata: dict[str, Any], merge: bool) -> Plan[dict[str, Any]]:
        if not isinstance(metadata, dict):
            raise InvalidValue(f"metadata must be a dict, not {type(metadata).__name__}")
        operation = SetLog(self.session_id, self.agent, self.ttl, encode(metadata, "metadata"), merge)
        info: LogInfo = yield from write_one(self.namespace, operation)
        return decode(info.metadata, f"the metadata of {self.where}")

    def get_ttl(self) -> Plan[float | None]:
        info = yield from self.log_info()
        return None if info is None or info.ttl is None else info.ttl / 1_000_000

    def set_ttl(self, ttl: float | timedelta | None) -> Plan[None]:
        operation = SetLog(self.session_id, self.agent, ttl_to_us(ttl))
        yield from write_one(self.namespace, operation)
