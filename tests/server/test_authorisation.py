"""Who may do what: every route, with every kind of token, on namespaces that are its own, a neighbour's, another's and nobody's.

What a token may not see is answered as what does not exist, to the byte; what it may not write is refused alike whether it exists
or not. The routes are taken from the app itself: a new one fails the first test until it is put into the table below.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from botwire._tokens import RESERVED_NAMESPACE, TokenBook, make_token
from botwire.server import create_app, serve_in_thread
from botwire.server._app import _routes
from botwire.stores import Append, Batch, Clear, DeleteLog, Set, open_store

OWN, NEIGHBOUR, SHORTER, OTHER, INSIDE = "team-a", "team-ab", "team", "zebra", "team-a/b"
ABSENT, ABSENT_OWN = "nowhere", "team-a-none"
EXISTING = (OWN, NEIGHBOUR, SHORTER, OTHER, INSIDE)
NAMESPACES = (*EXISTING, ABSENT, ABSENT_OWN, RESERVED_NAMESPACE)
SECRET = "do-not-tell"  # what is stored, in every value and message


class Kind(NamedTuple):
    """What a route asks for, and a request to it."""

    action: str
    """public, read, write, admin, or listing: for anybody with a token, but what it answers depends on whose it is."""
    query: str = ""
    body: Any = None


_ENTRY, _SESSION, _MESSAGES = "/memory/{namespace}/{key}", "/sessions/{namespace}/{session}", "/sessions/{namespace}/{session}/messages"
_OPERATIONS = [{"op": "set", "key": "k", "value": 1}, {"op": "merge", "key": "m", "patch": {"a": 1}}, {"op": "pop_message", "session": "s"}]
_RECORDS = [{"op": "set", "key": "k", "value": "1", "if_version": None, "ttl": None}]
ROUTES: dict[tuple[str, str], Kind] = {
    ("GET", "/"): Kind("public"),
    ("GET", "/docs"): Kind("public"),
    ("GET", "/openapi.json"): Kind("public"),
    ("GET", "/health"): Kind("public"),
    ("GET", "/ready"): Kind("public"),
    ("GET", "/metrics"): Kind("admin"),
    ("GET", "/check"): Kind("admin"),
    ("GET", "/admin/backup"): Kind("admin"),
    ("GET", "/memory"): Kind("listing"),
    ("GET", "/memory/{namespace}"): Kind("read", "values=true"),
    ("DELETE", "/memory/{namespace}"): Kind("write"),
    ("GET", _ENTRY): Kind("read"),
    ("PUT", _ENTRY): Kind("write", "", {"value": 1}),
    ("DELETE", _ENTRY): Kind("write"),
    ("PATCH", _ENTRY): Kind("write", "", {"a": 1}),
    ("POST", _ENTRY): Kind("write", "", {"append": [1]}),
    ("GET", "/count/{namespace}"): Kind("read"),
    ("GET", "/stamps/{namespace}"): Kind("read"),
    ("GET", "/usage/{namespace}"): Kind("read"),
    ("HEAD", "/watch/{namespace}"): Kind("read"),
    ("DELETE", "/namespaces/{namespace}"): Kind("admin"),
    ("POST", "/batch/{namespace}"): Kind("write", "", {"operations": _OPERATIONS}),
    ("POST", "/records/{namespace}"): Kind("write", "", {"operations": _RECORDS}),
    ("POST", "/lookup/{namespace}"): Kind("read", "", {"keys": ["k", "none"]}),
    ("GET", "/search/{namespace}"): Kind("read", f"q={SECRET}"),
    ("GET", "/search/{namespace}/messages"): Kind("read", f"q={SECRET}"),
    ("GET", "/sessions/{namespace}"): Kind("read"),
    ("DELETE", "/sessions/{namespace}"): Kind("write", "prefix="),
    ("GET", _SESSION): Kind("read"),
    ("PATCH", _SESSION): Kind("write", "", {"metadata": {"a": 1}}),
    ("DELETE", _SESSION): Kind("write"),
    ("GET", _MESSAGES): Kind("read"),
    ("POST", _MESSAGES): Kind("write", "", {"messages": [{"role": "user", "content": "hi"}]}),
    ("DELETE", _MESSAGES): Kind("write"),
    ("POST", "/sessions/{namespace}/{session}/pop"): Kind("write"),
    ("POST", "/sessions/{namespace}/{session}/trim"): Kind("write", "", {"keep_last": 1}),
    ("GET", "/admin/tokens"): Kind("admin"),
    ("POST", "/admin/tokens"): Kind("admin", "", {"namespaces": ["n"]}),
    ("DELETE", "/admin/tokens/{id}"): Kind("admin"),
}
_TELL = [("GET", "/memory/{namespace}"), ("GET", _ENTRY), ("POST", "/lookup/{namespace}"), ("GET", _MESSAGES)]
_TELL += [("GET", "/search/{namespace}"), ("GET", "/search/{namespace}/messages")]
"""Reads that answer with what is stored, where there is any."""

_routes_by_name = pytest.mark.parametrize("route", ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])

TOKENS: dict[str, dict[str, Any]] = {
    "exact, read": {"namespaces": [OWN], "scopes": ["read"]},
    "exact, read and write": {"namespaces": [OWN]},
    "prefix, read": {"namespaces": [f"{OWN}*"], "scopes": ["read"]},
    "prefix, read and write": {"namespaces": [f"{OWN}*"]},
    "every namespace, read": {"namespaces": ["*"], "scopes": ["read"]},
    "every namespace, read and write": {"namespaces": ["*"]},
    "two names": {"namespaces": [OWN, OTHER]},
    "admin": {"scopes": ["admin"]},
}
NOBODYS = ("none", "unknown", "expired", "revoked", "cut off", "of another form", "in a cookie", "in the query")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def of(self, name: str) -> tuple[Any, ...]:
        """All of it that may tell anything, with the name of the namespace that was asked for left out."""
        headers = {key: value for key, value in self.headers.items() if key not in ("date", "content-length", "x-request-id")}
        text = re.sub(r"urn:botwire:request:[\w-]+", "REQUEST", self.body.decode())
        text = text.replace(json.dumps(json.dumps(name))[1:-1], "NAME").replace(json.dumps(name), "NAME")
        return self.status, headers, text.replace(repr(name), "NAME")


class World:
    """A server over a store that is filled, the tokens for it, and requests sent as they are written."""

    def __init__(self, url: str, store: Any) -> None:
        self.host = url.removeprefix("http://")
        self.store = store
        book = TokenBook(store)
        self.headers: dict[str, dict[str, str]] = {}
        for name, given in TOKENS.items():
            text, token = make_token(**given)
            book.add(token)
            self.headers[name] = {"Authorization": f"Bearer {text}"}
        some, token = make_token(namespaces=["*"])
        gone, revoked = make_token(namespaces=["*"])
        book.add(revoked)
        book.revoke(revoked.id)
        late, expired = make_token(namespaces=["*"])
        book.add(expired._replace(expires_at=expired.created_at))
        good = self.headers["every namespace, read and write"]["Authorization"]
        texts = {"unknown": f"Bearer {some}", "revoked": f"Bearer {gone}", "expired": f"Bearer {late}", "cut off": good[:-1]}
        texts |= {"of another form": good.replace("Bearer", "Basic")}
        self.headers |= {name: {"Authorization": text} for name, text in texts.items()}
        self.headers |= {"none": {}, "in the query": {}, "in a cookie": {"Cookie": f"token={good.partition(' ')[2]}"}}
        self.good = good

    def fill(self) -> None:
        for namespace in EXISTING:
            value = json.dumps({"of": namespace, "text": SECRET})
            logs = [Append("s", agent, (json.dumps({"role": "user", "content": SECRET}),) * 2) for agent in ("", "writer")]
            self.apply(namespace, Clear(), DeleteLog("s", None), Set("k", value), Set("m", "{}"), Set("list", "[]"), *logs)
        for namespace in (ABSENT, ABSENT_OWN):
            self.apply(namespace, Clear(), DeleteLog("s", None))

    def apply(self, namespace: str, *operations: Any) -> None:
        assert isinstance(self.store.write([Batch(namespace, operations)])[0], list)

    def contents(self) -> Any:
        return [
            (
                name,
                self.store.scan(name, "", None, 100),
                [self.store.read_log(name, i.session, i.agent) for i in self.store.scan_logs(name, None, 9)],
            )
            for name in self.store.namespaces(None, 100)
        ]

    def send(self, method: str, target: str, headers: dict[str, str], body: Any = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        connection.putrequest(method, target, skip_accept_encoding=True)  # as it is: no library resolves dots in it
        content = b"" if body is None else json.dumps(body).encode()
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def call(self, route: tuple[str, str], who: str, namespace: str = OWN) -> Answer:
        method, path = route
        kind = ROUTES[route]
        key = "list" if method == "POST" and path == _ENTRY else "k"
        target = path
        for name, value in {"namespace": namespace, "key": key, "session": "s", "id": "aaaaaaaa"}.items():
            target = target.replace(f"{{{name}}}", quote(value, safe=""))
        query = kind.query + (f"&token={self.good.partition(' ')[2]}" if who == "in the query" else "")
        return self.send(method, target + ("?" + query if query else ""), self.headers[who], kind.body)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    store = open_store("memory://")
    with serve_in_thread(store) as url:
        world = World(url, store)
        world.fill()
        yield world
    store.close()


def covers(who: str, namespace: str) -> bool:
    patterns = TOKENS[who].get("namespaces", ["*"])
    match = any(namespace.startswith(one[:-1]) if one.endswith("*") else one == namespace for one in patterns)
    return match and namespace != RESERVED_NAMESPACE


def may_write(who: str) -> bool:
    return "write" in TOKENS[who].get("scopes", ["read", "write"]) or who == "admin"


def test_the_table_above_has_every_route_of_the_app() -> None:
    class Service:
        pass

    served = {(method, route.path) for route in _routes(Service()) for method in route.endpoint._allowed.split(", ")}  # type: ignore[arg-type]
    streams = {("GET", path) for method, path in ROUTES if method == "HEAD"}  # asked for their head, since the answer has no end
    assert {pair for pair in served if pair[0] != "HEAD"} - streams == {pair for pair in ROUTES if pair[0] != "HEAD"}
    assert {(method, path) for method, path in served if method == "HEAD"} == {("HEAD", path) for method, path in served if method == "GET"}


@_routes_by_name
@pytest.mark.parametrize("who", NOBODYS)
def test_without_a_token_that_is_known_nothing_is_told_but_that_one_is_asked_for(world: World, route: tuple[str, str], who: str) -> None:
    if ROUTES[route].action == "public":
        assert world.call(route, who).status in (200, 400)
        return
    before = world.contents()
    answers = {namespace: world.call(route, who, namespace) for namespace in NAMESPACES}
    assert {answer.status for answer in answers.values()} == {401}
    assert len({str(answer.of(namespace)) for namespace, answer in answers.items()}) == 1
    challenge = answers[OWN].headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert ("invalid_token" in challenge) == ("Authorization" in world.headers[who])
    assert world.contents() == before


@_routes_by_name
@pytest.mark.parametrize("who", TOKENS)
def test_a_token_opens_what_it_says_and_nothing_else(world: World, route: tuple[str, str], who: str) -> None:
    path, kind = route[1], ROUTES[route]
    if "{namespace}" not in path or kind.action == "admin":
        answer = world.call(route, who)
        allowed = kind.action in ("public", "listing") or who == "admin"
        assert answer.status == (403 if not allowed else 404 if "{id}" in path else 200), answer
        return
    world.fill()
    absent = world.call(route, "admin", ABSENT).of(ABSENT)
    for namespace in NAMESPACES:
        if kind.action == "write":
            world.fill()
        answer = world.call(route, who, namespace)
        if covers(who, namespace) and (kind.action == "read" or may_write(who)):
            assert answer.status == (200 if namespace in EXISTING else absent[0]), (namespace, answer)
            if route in _TELL:
                assert (SECRET in answer.body.decode()) == (namespace in EXISTING), (namespace, answer)
        elif kind.action == "read":
            assert answer.of(namespace) == absent, namespace
            assert SECRET not in answer.body.decode()
        else:
            assert answer.status == 403, (namespace, answer)


@pytest.mark.parametrize("who", [who for who in TOKENS if who != "admin"])
def test_a_refused_write_is_the_same_whether_the_namespace_exists_or_not_and_changes_nothing(world: World, who: str) -> None:
    world.fill()
    before = world.contents()
    for route, kind in ROUTES.items():
        if kind.action != "write":
            continue
        refused = {name: world.call(route, who, name) for name in NAMESPACES if not (covers(who, name) and may_write(who))}
        assert {answer.status for answer in refused.values()} == {403}, route
        told = {str(answer.of(name)) for name, answer in refused.items() if name != RESERVED_NAMESPACE}
        assert len(told) <= 1, route
    assert world.contents() == before


@pytest.mark.parametrize("who", TOKENS)
def test_the_listing_of_namespaces_has_those_that_the_token_opens(world: World, who: str) -> None:
    world.fill()
    expected = sorted(name for name in EXISTING if covers(who, name))
    assert json.loads(world.call(("GET", "/memory"), who).body) == {"count": len(expected), "namespaces": expected, "next_cursor": None}
    paged: list[str] = []
    cursor = ""
    while True:
        page = json.loads(world.send("GET", f"/memory?limit=1{cursor}", world.headers[who]).body)
        paged += page["namespaces"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={quote(page['next_cursor'], safe='')}"
    assert paged == expected
    for after in (*NAMESPACES, "a", "zz", "team-"):
        page = json.loads(world.send("GET", f"/memory?cursor={quote(after, safe='')}", world.headers[who]).body)
        assert page["namespaces"] == [name for name in expected if name > after]


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "GET"])
def test_a_head_tells_what_a_get_does_but_the_body(world: World, path: str) -> None:
    world.fill()
    for who in ("none", "exact, read", "admin"):
        for namespace in (OWN, OTHER, ABSENT):
            got = world.call(("GET", path), who, namespace)
            ROUTES["HEAD", path] = ROUTES["GET", path]
            try:
                head = world.call(("HEAD", path), who, namespace)
            finally:
                del ROUTES["HEAD", path]
            assert (head.status, head.body) == (got.status, b"")
            assert head.headers.keys() == got.headers.keys()


_TRICKS = [
    "/memory/team-a/../zebra/k",
    "/memory/team-a/%2e%2e/zebra/k",
    "/memory/team-a/..%2fzebra/k",
    "/memory/team-a%2f..%2fzebra/k",
    "/memory/team-a%2F%2e%2E%2Fzebra",
    "/memory/team-a/k/../../zebra/k",
    "/memory/./zebra/k",
    "/memory//zebra/k",
    "//memory/zebra/k",
    "/memory/zebra//k",
    "/memory/zebra/k/",
    "/memory/zebra/",
    "/memory/%7aebra/k",
    "/memory/zebra%00/k",
    "/memory/zebra%20/k",
    "/memory/Zebra/k",
    "/memory/zebra/k?namespace=team-a",
    "/memory/team-a/k?namespace=zebra",
    "/memory/team-a;/zebra/k",
    "/memory/team-a%3b/k",
    "/memory/team-a*/k",
    "/memory/*/k",
    "/memory/team-a%2a",
    "/memory/%2a?values=true",
    "/memory?prefix=zebra",
    "/memory/team-ab/k",
    "/memory/team%2dab/k",
    "/memory/te%61m-ab?values=true",
    "/sessions/zebra/s/messages",
    "/sessions/team-a/s/../../zebra/s/messages",
    "/sessions/team-a/..%2f..%2fzebra%2fs/messages",
    "/search/zebra?q=do-not-tell",
    "/search/zebra/messages?q=do-not-tell",
    "/search/team-a/../zebra?q=do-not-tell",
    "/batch/zebra",
    "/records/zebra",
    f"/memory/{RESERVED_NAMESPACE}?values=true",
    "/memory/botwire%3Asystem?values=true&as=text",
    "/memory/botwire%3asystem/auth",
    "http://zebra/memory/zebra/k",
    "/memory/team-a/k#/../zebra/k",
]


@pytest.mark.parametrize("who", ["exact, read", "exact, read and write", "none"])
@pytest.mark.parametrize("target", _TRICKS)
def test_no_way_of_writing_a_path_leads_to_what_is_not_ones_own(world: World, target: str, who: str) -> None:
    world.fill()
    before = [row for row in world.contents() if row[0] != OWN]
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for extra in ({}, {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/memory/zebra/k", "X-Rewrite-URL": "/memory/zebra/k"}):
            answer = world.send(method, target, {**world.headers[who], **extra}, {"value": 1})
            assert answer.status < 500
            text = answer.body.decode()
            assert f'"of":"{OTHER}"' not in text.replace(" ", "")
            assert f'"of":"{NEIGHBOUR}"' not in text.replace(" ", "")
            assert '"token:' not in text
            assert SECRET not in text or (who != "none" and f'"namespace":"{OWN}"' in text.replace(" ", ""))
    assert [row for row in world.contents() if row[0] not in (OWN, "team-a;", "team-a*")] == before


def test_a_batch_cannot_name_another_namespace(world: World) -> None:
    before = world.store.get(OTHER, "k")
    for operation in ({"op": "set", "key": "k", "value": 1, "namespace": OTHER}, {"op": "set", "key": f"../{OTHER}/k", "value": 1}):
        for route in ("batch", "records"):
            world.send("POST", f"/{route}/{OWN}", world.headers["exact, read and write"], {"operations": [operation], "namespace": OTHER})
    assert world.store.get(OTHER, "k") == before


def test_the_servers_own_namespace_is_nobodys_not_even_where_no_tokens_are_asked_for() -> None:
    store = open_store("memory://")
    with serve_in_thread(store) as url:
        world = World(url, store)
    with serve_in_thread(store, authorize=lambda headers, namespace, action: None) as url:
        world.host = url.removeprefix("http://")
        before = world.contents()
        for route, kind in ROUTES.items():
            if "{namespace}" in route[1]:
                world.apply(ABSENT, Clear(), DeleteLog("s", None))
                answer, absent = world.call(route, "none", RESERVED_NAMESPACE), world.call(route, "none", ABSENT)
                if kind.action == "read":
                    assert answer.of(RESERVED_NAMESPACE) == absent.of(ABSENT)
                else:
                    assert answer.status == 403, route
        assert [row for row in world.contents() if row[0] == RESERVED_NAMESPACE] == before
        assert RESERVED_NAMESPACE not in world.call(("GET", "/memory"), "none").body.decode()
    store.close()


def test_a_rule_of_ones_own_is_asked_for_every_route_that_is_not_public() -> None:
    asked: list[tuple[str | None, str]] = []
    store = open_store("memory://")
    with serve_in_thread(store, authorize=lambda headers, namespace, action: asked.append((namespace, action))) as url:
        world = World(url, store)
        for route, kind in ROUTES.items():
            asked.clear()
            world.call(route, "none")
            namespace = OWN if "{namespace}" in route[1] else None
            assert asked == ([] if kind.action == "public" else [(namespace, "read" if kind.action == "listing" else kind.action)]), route
    store.close()


def test_an_app_made_by_hand_asks_for_tokens_once_there_are_some() -> None:
    store = open_store("memory://")
    app = create_app(store)
    assert app._service.is_open()
    TokenBook(store).add(make_token(namespaces=["n"])[1])
    assert not create_app(store)._service.is_open()
    store.close()
