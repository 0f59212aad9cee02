"""The service does what its OpenAPI document says, for good requests and bad ones: schemathesis over a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from botwire.server import serve_in_thread
from botwire.server._openapi import ROUTES, Route
from botwire.stores import open_store

CONFIG = """
[checks.positive_data_acceptance]
# 412: a condition that is well formed need not hold. 413: nor need a result keep to the max_bytes that an operation sets.
expected-statuses = ["2xx", "304", "404", "409", "412", "413"]
"""


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    store = open_store("memory://")
    with serve_in_thread(store) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig.from_str(CONFIG))
    store.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_every_route_answers_as_documented(schema: Any, route: Route, mode: GenerationMode) -> None:
    operation = schema[route.path][route.method.upper()]

    @settings(
        max_examples=15,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        assume(mode is GenerationMode.NEGATIVE or "q" not in case.query or re.search(r"\w", case.query["q"]))  # no schema can say: a word
        case.call_and_validate()

    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters or operation.headers):
        return  # there is nothing to get wrong
    check()
