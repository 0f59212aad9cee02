"""Spans of client and server join by the traceparent header, name nothing private, and cost nothing without OpenTelemetry."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from botwire import AsyncMemory, Memory, VersionConflict
from botwire.server import serve_in_thread
from botwire.stores import open_store

EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def _provider() -> None:
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture
def traced_url() -> Iterator[str]:
    store = open_store("memory://")
    with serve_in_thread(store) as url:
        EXPORTER.clear()
        yield url
    store.close()


def spans() -> dict[str, Any]:
    return {span.name: span for span in EXPORTER.get_finished_spans()}


def test_one_trace_from_the_callers_span_to_the_store(traced_url: str) -> None:
    with trace.get_tracer("app").start_as_current_span("the app"), Memory("ns", url=traced_url) as memory:
        memory.set("private-key", "private-value")
        memory.get("private-key")

    found = spans()

    chain = ["the app", "botwire get", "GET /memory/{namespace}/{key}", "store get"]
    assert len({found[name].context.trace_id for name in chain}) == 1
    for parent, child in itertools.pairwise(chain):
        assert found[child].parent.span_id == found[parent].context.span_id
    assert found["store write"].parent.span_id == found["PUT /memory/{namespace}/{key}"].context.span_id
    server = found["GET /memory/{namespace}/{key}"]
    assert (server.kind.name, found["botwire get"].kind.name) == ("SERVER", "CLIENT")
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["http.route"] == "/memory/{namespace}/{key}"
    everything = "".join(span.to_json() for span in EXPORTER.get_finished_spans())
    assert "private" not in everything


def test_reads_on_a_thread_belong_to_their_request(traced_url: str) -> None:
    with Memory("ns", url=traced_url) as memory:
        memory.list_keys()
    found = spans()
    assert found["store scan_keys"].parent.span_id == found["GET /memory/{namespace}"].context.span_id


def test_a_failure_is_told_by_its_code_alone(traced_url: str) -> None:
    with Memory("ns", url=traced_url) as memory:
        memory.set("private-key", 1)
        with pytest.raises(VersionConflict):
            memory.set("private-key", 2, if_version=7)
    failed = [span for span in EXPORTER.get_finished_spans() if span.attributes.get("error.type") == "version_conflict"]
    assert {span.name for span in failed} == {"botwire write", "store write"}
    assert all(not span.events for span in EXPORTER.get_finished_spans())
    assert "private" not in "".join(span.to_json() for span in EXPORTER.get_finished_spans())


@pytest.mark.anyio
async def test_the_async_client_joins_too(traced_url: str) -> None:
    async with AsyncMemory("ns", url=traced_url) as memory:
        with trace.get_tracer("app").start_as_current_span("the app"):
            await memory.set("k", 1)
    found = spans()
    assert found["PUT /memory/{namespace}/{key}"].context.trace_id == found["the app"].context.trace_id


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_neither_client_nor_server_imports_opentelemetry_by_itself() -> None:
    program = (
        "import sys, httpx\nfrom botwire import Memory\nfrom botwire.server import serve_in_thread\n"
        "from botwire.stores import open_store\nstore = open_store('memory://')\n"
        "with serve_in_thread(store) as url:\n    Memory('ns', url=url).set('a', 1)\n    httpx.get(url + '/memory/ns')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == "[]", ended.stderr
