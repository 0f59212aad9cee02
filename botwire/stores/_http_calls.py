"""Every call of a store as requests to a botwire server, without I/O.

A call is a generator: it yields a request, is sent the answer, and returns what the store's method returns. The sync
and the async store drive the same generators, so the protocol stands here once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from botwire import _wire
from botwire._errors import BotWireError, OutcomeUnknown, QuotaExceeded, StoreUnavailable, Unauthorized, Unsupported, ValueTooLarge
from botwire._jsontext import encode_utf8
from botwire.stores._http_batch import operations_to_body, results_from_body
from botwire.stores._keeping import Gone
from botwire.stores._protocol import (
    RETRY_PREFIX,
    Batch,
    Delete,
    EntryHit,
    EntryRow,
    EntryStamp,
    LogHit,
    LogInfo,
    LogPage,
    LogRow,
    Outcome,
    Result,
    Set,
    Usage,
)
from botwire.stores._records import removals

T = TypeVar("T")


class Request(NamedTuple):
    """What is sent. ``writes`` says that it changes something; ``repeatable`` that sending it twice is as sending it once."""

    method: str
    target: str  # path and query, percent-encoded
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    writes: bool = False
    repeatable: bool = True


class Answer(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call: TypeAlias = Generator[Request, Answer, T]


class HTTPCalls:
    """The calls on a botwire server; ``where`` is its URL for messages."""

    def __init__(self, where: str) -> None:
        self.where = where

    # --------------------------------------------------------------------------------------- writes

    def write(self, batches: Sequence[Batch]) -> Call[list[Outcome]]:
        """See ``Store.write``."""
        outcomes: list[Outcome] = []
        for batch in batches:
            try:
                outcomes.append((yield from self._write_one(batch)))
            except BotWireError as error:
                outcomes.append(error)
        return outcomes

    def _write_one(self, batch: Batch) -> Call[list[Result]]:
        if batch.terms is not None:
            raise Unsupported("a server has its own terms (see its --quota): a batch sent to one cannot bring others")
        if len(batch.operations) == 1 and _fits_header(batch.request_id):
            operation = batch.operations[0]
            if isinstance(operation, Set) and isinstance(operation.ttl, int | None):
                return (yield from self._put(batch, operation))
            if isinstance(operation, Delete):
                return (yield from self._delete(batch, operation))
        body = operations_to_body(batch.operations, _request_id(batch))
        request = Request("POST", _wire.path("records", batch.namespace), body, _JSON_BODY, writes=True)
        return results_from_body(batch.operations, (yield from self._object(request)))

    def _put(self, batch: Batch, operation: Set) -> Call[list[Result]]:
        ttl = "" if operation.ttl is None else f',"ttl":{_wire.ttl_to_seconds(cast("int", operation.ttl))!r}'
        body = encode_utf8(f'{{"value":{operation.value}{ttl}}}')
        headers = _write_headers(batch) + _condition(operation.if_version)
        request = Request("PUT", _wire.path("memory", batch.namespace, operation.key), body, headers, writes=True)
        return [(yield from self._object(request))["version"]]

    def _delete(self, batch: Batch, operation: Delete) -> Call[list[Result]]:
        headers = _write_headers(batch) + _condition(operation.if_version)
        request = Request("DELETE", _wire.path("memory", batch.namespace, operation.key), None, headers, writes=True)
        return [(yield from self._object_or_none(request)) is not None]

    # ------------------------------------------------------------------------------ reads of entries

    def get(self, namespace: str, key: str) -> Call[EntryRow | None]:
        """See ``Store.get``."""
        record = yield from self._object_or_none(Request("GET", _wire.path("memory", namespace, key) + "?as=text"))
        return None if record is None else _wire.entry_from_json(record)

    def get_many(self, namespace: str, keys: Sequence[str]) -> Call[dict[str, EntryRow]]:
        """See ``Store.get_many``."""
        if not keys:
            return {}
        body = encode_utf8(json.dumps({"keys": list(keys)}, ensure_ascii=False))
        request = Request("POST", _wire.path("lookup", namespace) + "?as=text", body, _JSON_BODY)
        record = yield from self._object(request)
        rows = map(_wire.entry_from_json, record["entries"])
        return {row.key: row for row in rows}

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryRow]]:
        """See ``Store.scan``."""
        parameters = {"prefix": prefix or None, "values": "true", "as_": "text"}
        records = yield from self._paged(_wire.path("memory", namespace), "entries", parameters, after, limit)
        return [_wire.entry_from_json(record) for record in records]

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[str]]:
        """See ``Store.scan_keys``."""
        return (yield from self._paged(_wire.path("memory", namespace), "keys", {"prefix": prefix or None}, after, limit))

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryStamp]]:
        """See ``Store.scan_stamps``."""
        records = yield from self._paged(_wire.path("stamps", namespace), "stamps", {"prefix": prefix or None}, after, limit)
        return [_wire.stamp_from_json(record) for record in records]

    def count(self, namespace: str, prefix: str = "") -> Call[int]:
        """See ``Store.count``."""
        request = Request("GET", _wire.path("count", namespace) + _wire.query(prefix=prefix or None))
        return (yield from self._object(request))["count"]

    def delete_namespace(self, namespace: str) -> Call[Gone]:
        """Remove all of it. Not sent again if no answer comes: the count would be lost."""
        request = Request("DELETE", _wire.path("namespaces", namespace), None, (), writes=True, repeatable=False)
        deleted = (yield from self._object(request))["deleted"]
        return Gone(deleted["entries"], deleted["sessions"], deleted["messages"])

    def usage(self, namespace: str) -> Call[Usage]:
        """See ``Store.usage``."""
        return _wire.usage_from_json((yield from self._object(Request("GET", _wire.path("usage", namespace)))))

    def namespaces(self, after: str | None, limit: int) -> Call[list[str]]:
        """See ``Store.namespaces``."""
        return (yield from self._paged("/memory", "namespaces", {}, after, limit))

    def search(self, namespace: str, words: Sequence[str], limit: int) -> Call[list[EntryHit]]:
        """See ``Store.search``."""
        if limit < 1:
            return []
        target = _wire.path("search", namespace) + _wire.query(q=" ".join(words), limit=limit, as_="text")
        record = yield from self._object(Request("GET", target))
        return [_wire.entry_hit_from_json(hit) for hit in record["hits"]]

    # ----------------------------------------------------------------------------- reads of sessions

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
        path = _wire.path("sessions", namespace, session, "messages")
        read = self._read_first if last is None and limit != 0 else self._read_last
        wanted = limit if last is None else last
        while True:
            page = yield from read(path, {"agent": agent or None, "as_": "text"}, after, before, wanted)
            if page is not None:
                return page

    def _read_first(
        self, path: str, parameters: dict[str, Any], after: int | None, before: int | None, wanted: int | None
    ) -> Call[LogPage | None]:
        """Pages from the oldest on, put together; None if messages were removed meanwhile, so that they do not fit."""
        info: LogInfo | None = None
        rows: list[LogRow] = []
        more, first = True, True
        while first or (more and (wanted is None or len(rows) < wanted)):
            size = _wire.MAX_LIMIT if wanted is None else min(wanted - len(rows), _wire.MAX_LIMIT)
            query = _wire.query(**parameters, after=rows[-1].seq if rows else after, before=before, limit=size)
            page, more = yield from self._log_page(path + query)
            if not first and removals(page.info) != removals(info):
                return None
            info, first = page.info, False
            rows += page.rows
        return LogPage(info, rows)

    def _read_last(
        self, path: str, parameters: dict[str, Any], after: int | None, before: int | None, wanted: int | None
    ) -> Call[LogPage | None]:
        """Pages from the newest back, put together; None as in ``_read_first``."""
        wanted = wanted or 0
        query = _wire.query(**parameters, after=after, before=before, last=min(wanted, _wire.MAX_LIMIT))
        page, more = yield from self._log_page(path + query)
        info, rows = page
        while more and rows and len(rows) < wanted:
            query = _wire.query(**parameters, after=after, before=rows[0].seq, last=min(wanted - len(rows), _wire.MAX_LIMIT))
            page, more = yield from self._log_page(path + query)
            if removals(page.info) != removals(info):
                return None
            rows = page.rows + rows
        return LogPage(info, rows)

    def _log_page(self, target: str) -> Call[tuple[LogPage, bool]]:
        record = yield from self._object(Request("GET", target))
        info = None if record["info"] is None else _wire.info_from_json(record["info"])
        return LogPage(info, [_wire.message_from_json(message) for message in record["messages"]]), record["more"]

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> Call[list[LogInfo]]:
        """See ``Store.scan_logs``."""
        cursor = None if after is None else _wire.session_cursor(*after)
        records = yield from self._paged(_wire.path("sessions", namespace), "sessions", {"as_": "text"}, cursor, limit)
        return [_wire.info_from_json(record) for record in records]

    def search_log(
        self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None
    ) -> Call[list[LogHit]]:
        """See ``Store.search_log``."""
        if limit < 1:
            return []
        query = _wire.query(q=" ".join(words), limit=limit, session=session, agent=agent, as_="text")
        record = yield from self._object(Request("GET", _wire.path("search", namespace, "messages") + query))
        return [_wire.log_hit_from_json(hit) for hit in record["hits"]]

    def listening(self, namespace: str, session: str | None, keep_alive: int) -> Call[Request | None]:
        """The request whose answer tells of changes; None where none does."""
        yield from ()
        target = _wire.path("watch", namespace) + _wire.query(session=session, keep_alive=keep_alive)
        return Request("GET", target, None, (("accept", "text/event-stream"),))

    def check(self) -> Call[dict[str, Any]]:
        """See ``Store.check``."""
        return (yield from self._object(Request("GET", "/check")))

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Call[dict[str, Any] | None]:
        """A route of the server that is no store's; None where the answer is that what is named does not exist."""
        body = None if document is None else encode_utf8(json.dumps(document, ensure_ascii=False))
        headers = () if body is None else _JSON_BODY
        # Not repeated: of two tokens made by one command, one would be nobody's.
        request = Request(method, path, body, headers, writes=method != "GET", repeatable=method != "POST")
        return (yield from self._object_or_none(request))

    # ------------------------------------------------------------------------------------- exchanges

    def _paged(self, path: str, member: str, parameters: dict[str, Any], cursor: str | None, limit: int) -> Call[list[Any]]:
        """Up to ``limit`` rows, over as many pages as the server makes of them."""
        rows: list[Any] = []
        while len(rows) < limit:
            query = _wire.query(**parameters, cursor=cursor, limit=min(limit - len(rows), _wire.MAX_LIMIT))
            page = yield from self._object(Request("GET", path + query))
            rows += page[member]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return rows

    def _object(self, request: Request) -> Call[dict[str, Any]]:
        answer = yield request
        if answer.status == 200:
            return read_object(request, answer, self.where)
        raise failure(request, answer, self.where)

    def _object_or_none(self, request: Request) -> Call[dict[str, Any] | None]:
        answer = yield request
        if answer.status == 200:
            return read_object(request, answer, self.where)
        if answer.status == 404 and document_of(answer).get("code") == "not_found":
            return None
        raise failure(request, answer, self.where)


_JSON_BODY = (("content-type", _wire.JSON),)


def _request_id(batch: Batch) -> str:
    """The request id under which the server applies a batch once, however often it is sent.

    A plain Set needs one too: sent again after a lost answer, it would undo what somebody else set meanwhile.
    """
    return RETRY_PREFIX + uuid.uuid4().hex if batch.request_id is None else batch.request_id


def _fits_header(request_id: str | None) -> bool:
    return request_id is None or ('"' not in request_id and _wire.is_plain_request_id(request_id) is not None)


def _write_headers(batch: Batch) -> tuple[tuple[str, str], ...]:
    return (*_JSON_BODY, ("idempotency-key", _request_id(batch)))


def _condition(if_version: int | None) -> tuple[tuple[str, str], ...]:
    if if_version is None:
        return ()
    return (("if-none-match", "*"),) if if_version == 0 else (("if-match", _wire.etag(if_version)),)


# ------------------------------------------------------------------------------------------- answers


def read_object(request: Request, answer: Answer, where: str) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        StoreUnavailable: if it is none; OutcomeUnknown if that leaves open what became of a write.
    """
    document = document_of(answer)
    if not document:
        raise _no_sense(request, answer, where)
    return document


def document_of(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def failure(request: Request, answer: Answer, where: str) -> BotWireError:
    """The error that an answer of another status than 200 means."""
    if error := _wire.error_of(document_of(answer)):
        if isinstance(error, QuotaExceeded) and error.retry_after is None:
            error.retry_after = _wire.number_or_none(answer.headers.get("retry-after"))
        return error
    if find := _BY_STATUS.get(answer.status):
        return find(answer, where)
    if 300 <= answer.status < 400:
        location = answer.headers.get("location", "somewhere else")
        return StoreUnavailable(f"{where} redirects to {location:.200}; redirects are not followed: give that server's own URL")
    return _no_sense(request, answer, where)


def _no_sense(request: Request, answer: Answer, where: str) -> StoreUnavailable:
    kind = answer.headers.get("content-type", "no content type").partition(";")[0]
    message = f"{where} answered {request.method} with status {answer.status} and {kind:.60}, which is not botwire's protocol"
    if request.writes and (answer.status == 200 or answer.status >= 500):
        return OutcomeUnknown(f"{message}; whether the write happened is not known: read before writing again")
    return StoreUnavailable(f"{message}; check that the URL is that of a botwire server, and see the server's log")


_BY_STATUS: dict[int, Callable[[Answer, str], BotWireError]] = {
    401: lambda _, where: Unauthorized(f"{where} asks for a token: give token= or set BOTWIRE_TOKEN"),
    403: lambda _, where: Unauthorized(f"{where} does not let this token do that"),
    413: lambda _, where: ValueTooLarge(f"{where} refuses a value of this size"),
    429: lambda answer, where: QuotaExceeded(f"{where} says: too many requests", _wire.number_or_none(answer.headers.get("retry-after"))),
    501: lambda _, where: Unsupported(f"{where} cannot do that"),
}
