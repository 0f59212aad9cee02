"""Routes on sessions and their messages."""

from __future__ import annotations

from typing import cast

from botwire import _wire
from botwire._errors import InvalidValue
from botwire._jsontext import encode_utf8, quote
from botwire._names import check_name
from botwire.server._entries import page_limit, search_limit
from botwire.server._messages import message_to_json
from botwire.server._pages import message_page
from botwire.server._problems import Reply, json_reply, not_found
from botwire.server._request import Call, query_as_text, query_number, refuse_conditions
from botwire.stores._protocol import KEEP, Append, Appended, ClearLog, DeleteLog, LogInfo, LogRow, Pop, SetLog, Trim
from botwire.stores._search import query_words


def _agent(query: dict[str, str]) -> str:
    """The agent whose transcript is meant; empty for the session's own."""
    agent = query.get("agent", "")
    return check_name(agent, "agent") if agent else ""


def _head(namespace: str, session: str, agent: str) -> str:
    return f'"namespace":{quote(namespace)},"session":{quote(session)},"agent":{quote(agent)}'


def _session(call: Call) -> str:
    return call.name("session", "session id")


async def list_sessions(call: Call) -> Reply:
    """``GET /sessions/{namespace}``."""
    namespace = call.namespace("read")
    query = call.query("limit", "cursor", "as")
    limit, as_text = page_limit(query), query_as_text(query)
    cursor = _wire.parse_session_cursor(query["cursor"]) if "cursor" in query else None
    infos: list[LogInfo] = await call.service.run(call.service.store.scan_logs, namespace, cursor, limit + 1)
    page = infos[:limit]
    next_cursor = quote(_wire.session_cursor(page[-1].session, page[-1].agent)) if len(infos) > limit else "null"
    inner = ",".join([_wire.info_to_json(info, as_text) for info in page])
    body = f'{{"namespace":{quote(namespace)},"count":{len(page)},"sessions":[{inner}],"next_cursor":{next_cursor}}}'
    return json_reply(encode_utf8(body))


async def read_session(call: Call) -> Reply:
    """``GET /sessions/{namespace}/{session}``: its state."""
    namespace, session = call.namespace("read"), _session(call)
    query = call.query("agent", "as")
    agent, as_text = _agent(query), query_as_text(query)
    page, _ = await call.service.run(message_page, call.service.store, namespace, session, agent, None, None, 0, 0)
    if page.info is None:
        raise not_found(f"there is no session {session!r} in namespace {namespace!r}")
    return json_reply(encode_utf8(_wire.info_to_json(page.info, as_text)))


async def change_session(call: Call) -> Reply:
    """``PATCH /sessions/{namespace}/{session}``: its ttl and metadata."""
    namespace, session = call.namespace("write"), _session(call)
    agent = _agent(call.query("agent"))
    refuse_conditions(call.headers)
    fields = await call.fields()
    metadata, merge, ttl = fields.metadata(KEEP), fields.plain("merge", True), fields.ttl(KEEP)
    fields.done()
    if not isinstance(merge, bool):
        raise InvalidValue("merge must be true (the default: merge into what there is, RFC 7396) or false (replace it)")
    operation = SetLog(session, agent, ttl, metadata, merge)
    info = cast("LogInfo", (await call.service.write(namespace, operation, request_id=call.request_id))[0])
    return json_reply(encode_utf8(_wire.info_to_json(info, as_text=False)))


async def delete_session(call: Call) -> Reply:
    """``DELETE /sessions/{namespace}/{session}``: of one agent, or of all if none is named."""
    namespace, session = call.namespace("write"), _session(call)
    query = call.query("agent")
    refuse_conditions(call.headers)
    operation = DeleteLog(session, _agent(query) if "agent" in query else None)
    count = (await call.service.write(namespace, operation, request_id=call.request_id))[0]
    if not count:
        raise not_found(f"there is no session {session!r} in namespace {namespace!r}")
    return json_reply(f'{{"namespace":{quote(namespace)},"session":{quote(session)},"deleted":{count}}}'.encode())


async def read_messages(call: Call) -> Reply:
    """``GET /sessions/{namespace}/{session}/messages``: oldest first; a session that is not there has none."""
    namespace, session = call.namespace("read"), _session(call)
    query = call.query("agent", "after", "before", "last", "limit", "as")
    agent, as_text = _agent(query), query_as_text(query)
    bounds = [
        query_number(query, "after", None),
        query_number(query, "before", None),
        query_number(query, "last", None, 0, _wire.MAX_LIMIT),
    ]
    return json_reply(await call.service.run(_messages_body, call, namespace, session, agent, bounds, page_limit(query), as_text))


def _messages_body(call: Call, namespace: str, session: str, agent: str, bounds: list[int | None], limit: int, as_text: bool) -> bytes:
    after, before, last = bounds
    page, more = message_page(call.service.store, namespace, session, agent, after, before, last, limit)
    info = "null" if page.info is None else _wire.info_to_json(page.info, as_text)
    inner = ",".join([message_to_json(row, as_text) for row in page.rows])
    return encode_utf8(f'{{{_head(namespace, session, agent)},"info":{info},"messages":[{inner}],"more":{"true" if more else "false"}}}')


async def append_messages(call: Call) -> Reply:
    """``POST /sessions/{namespace}/{session}/messages``."""
    namespace, session = call.namespace("write"), _session(call)
    agent = _agent(call.query("agent"))
    refuse_conditions(call.headers)
    fields = await call.fields(limit=call.service.max_batch_bytes)
    bodies, ttl = tuple(fields.messages("messages")), fields.ttl(KEEP)
    fields.done()
    if not bodies:
        raise InvalidValue("messages must not be empty")
    operation = Append(session, agent, bodies, ttl)
    appended = cast("Appended", (await call.service.write(namespace, operation, request_id=call.request_id))[0])
    places = f'"epoch":{quote(appended.epoch)},"first":{appended.first},"last":{appended.last}'
    return json_reply(f"{{{_head(namespace, session, agent)},{places}}}".encode())


async def pop_message(call: Call) -> Reply:
    """``POST /sessions/{namespace}/{session}/pop``: take off the last message."""
    namespace, session = call.namespace("write"), _session(call)
    query = call.query("agent", "as")
    agent, as_text = _agent(query), query_as_text(query)
    refuse_conditions(call.headers)
    row = cast("LogRow | None", (await call.service.write(namespace, Pop(session, agent), request_id=call.request_id))[0])
    popped = "null" if row is None else message_to_json(row, as_text)
    return json_reply(encode_utf8(f'{{{_head(namespace, session, agent)},"popped":{popped}}}'))


async def trim_session(call: Call) -> Reply:
    """``POST /sessions/{namespace}/{session}/trim``: keep the newest messages alone."""
    namespace, session = call.namespace("write"), _session(call)
    agent = _agent(call.query("agent"))
    refuse_conditions(call.headers)
    fields = await call.fields()
    keep_last = fields.count("keep_last")
    fields.done()
    return await _removed(call, namespace, Trim(session, agent, keep_last))


async def clear_session(call: Call) -> Reply:
    """``DELETE /sessions/{namespace}/{session}/messages``: all messages, and a new epoch."""
    namespace, session = call.namespace("write"), _session(call)
    refuse_conditions(call.headers)
    return await _removed(call, namespace, ClearLog(session, _agent(call.query("agent"))))


async def _removed(call: Call, namespace: str, operation: Trim | ClearLog) -> Reply:
    count = (await call.service.write(namespace, operation, request_id=call.request_id))[0]
    return json_reply(f'{{{_head(namespace, operation.session, operation.agent)},"removed":{count}}}'.encode())


async def search_messages(call: Call) -> Reply:
    """``GET /search/{namespace}/messages``."""
    namespace = call.namespace("read")
    query = call.query("q", "limit", "session", "agent", "as")
    words, limit, as_text = query_words(query.get("q", "")), search_limit(query), query_as_text(query)
    session = check_name(query["session"], "session id") if "session" in query else None
    agent = _agent(query) if "agent" in query else None
    return json_reply(await call.service.run(_hits_body, call, namespace, words, limit, session, agent, as_text))


def _hits_body(call: Call, namespace: str, words: list[str], limit: int, session: str | None, agent: str | None, as_text: bool) -> bytes:
    hits = call.service.store.search_log(namespace, words, limit, session, agent)
    inner = ",".join([_wire.log_hit_to_json(hit, message_to_json(hit.row, as_text)) for hit in hits])
    return encode_utf8(f'{{"namespace":{quote(namespace)},"count":{len(hits)},"hits":[{inner}]}}')
