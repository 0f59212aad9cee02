"""The service does what its OpenAPI document says, for good requests and bad ones: schemathesis over a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from botwire._tokens import TokenBook, make_token
from botwire.server import serve_in_thread
from botwire.server._openapi import PUBLIC, ROUTES, Route
from botwire.server._quotas import Quotas
from botwire.stores import open_store

CONFIG = """
[checks.positive_data_acceptance]
# 412: a condition that is well formed need not hold. 413: nor need a result keep to the max_bytes that an operation sets.
expected-statuses = ["2xx", "304", "404", "409", "412", "413"{more}]

[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""
NO_TOKEN = "without a token"
TOKENS = {"with an admin token": {"scopes": ["admin"]}, "with one for reading": {"namespaces": ["a*"], "scopes": ["read"]}, NO_TOKEN: None}


ENDING = [route for route in ROUTES if not route.stream]
"""All routes but those whose answers go on for ever."""


class Asked(NamedTuple):
    """A server that asks for tokens, and how it is asked."""

    schema: Any
    headers: dict[str, str]
    examples: int


@pytest.fixture(scope="module", params=TOKENS)
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    store = open_store("memory://")
    book = TokenBook(store)
    text, token = make_token(**(TOKENS[request.param] or {"scopes": ["admin"]}))
    book.add(token)
    is_admin = request.param == "with an admin token"
    config = CONFIG.replace("{more}", "" if is_admin else ', "401"' if request.param == NO_TOKEN else ', "403"')
    with serve_in_thread(store, quotas=Quotas([("*", {"writes_per_day": 10**9, "bytes": 10**12})])) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig.from_str(config))
        yield Asked(schema, {} if request.param == NO_TOKEN else {"Authorization": f"Bearer {text}"}, 15 if is_admin else 4)
    store.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("route", ENDING, ids=[route.name for route in ENDING])
def test_every_route_answers_as_documented(asked: Asked, route: Route, mode: GenerationMode) -> None:
    operation = asked.schema[route.path][route.method.upper()]

    @settings(
        max_examples=asked.examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        assume(mode is GenerationMode.NEGATIVE or "q" not in case.query or re.search(r"\w", case.query["q"]))  # no schema can say: a word
        answer = case.call_and_validate(headers=asked.headers)
        if asked.headers == {} and route.path not in PUBLIC:
            assert answer.status_code in (400, 401)  # what cannot be a name at all is not asked for

    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters or operation.headers):
        return  # there is nothing to get wrong
    check()
