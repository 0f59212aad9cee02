"""Crews and agents that remember: no key, no network, no settings."""

from __future__ import annotations

import gc
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from crewai import Crew, Flow, Task
from crewai import Memory as CrewMemory
from crewai.flow.flow import start
from crewai.memory.storage import factory as crewai_factory
from scripted import ScriptedLLM, agent, crew, tool_call

from botwire import InvalidValue, Memory
from botwire.integrations.crewai import (
    BotWireMemory,
    BotWireStorage,
    HashEmbedder,
    botwire_memory,
    register,
    unregister,
)
from botwire.stores import open_store

FACT = "The project's code name is Bluebird."
ASK = "What is the code name of the project?"


def prompt_of(memory, description: str = ASK) -> str:
    """What a fresh agent is told, whose crew has that memory."""
    llm = ScriptedLLM("fine")
    crew(llm, description, memory=memory).kickoff()
    return llm.prompt()


# -------------------------------------------------------------------------------------------- crews


def test_a_crew_is_told_what_an_earlier_one_found_out(any_url: str):
    crew(ScriptedLLM(FACT), memory=botwire_memory("ns", url=any_url)).kickoff()

    prompt = prompt_of(botwire_memory("ns", url=any_url))
    assert "Memories from past conversations" in prompt
    assert FACT in prompt
    assert "entities: []" not in prompt
    assert FACT not in prompt_of(botwire_memory("other", url=any_url))


@pytest.mark.timeout(180)
def test_the_first_prompt_of_another_process_holds_the_fact(in_process: Callable[..., str]):
    code = """
import os
from scripted import ScriptedLLM, crew
from botwire.integrations.crewai import botwire_memory
llm = ScriptedLLM(sys.argv[2])
crew(llm, sys.argv[3], memory=botwire_memory("ns", url=sys.argv[1])).kickoff()
print(llm.prompt())
os._exit(0) if len(sys.argv) > 4 else None  # as when it crashes after the answer
"""
    assert FACT not in in_process(code + "\nsys.stdout.flush()", FACT, "Find the code name")
    assert FACT in in_process(code, "fine", ASK)


def test_an_answer_that_is_known_is_not_stored_again(url: str):
    for _ in range(3):
        crew(ScriptedLLM(FACT * 20), memory=botwire_memory("ns", url=url)).kickoff()

    assert BotWireStorage("ns", url=url).count() == 1
    crew(ScriptedLLM(FACT * 21), memory=botwire_memory("ns", url=url)).kickoff()
    assert BotWireStorage("ns", url=url).count() == 2


def test_reset_memories_clears_the_records_of_this_namespace_alone(url: str):
    memory = Memory("ns", url=url)
    memory.set("key", 1)
    memory.session("s").append(("user", "hi"))
    other = botwire_memory("other", url=url)
    other.remember("stays")
    mine = crew(ScriptedLLM(FACT), memory=botwire_memory("ns", url=url))
    mine.kickoff()
    assert BotWireStorage("ns", url=url).count() == 1

    mine.reset_memories("memory")
    assert BotWireStorage("ns", url=url).count() == 0
    assert (memory.list_keys(), len(memory.session("s")), BotWireStorage("other", url=url).count()) == (["key"], 1, 1)


def test_an_agents_own_memory_is_used_and_survives_copies(url: str):
    memory = botwire_memory("mine", url=url)
    memory.remember(FACT)
    llm = ScriptedLLM("fine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = agent(llm, memory=memory).copy()
    Crew(agents=[copied], tasks=[Task(description=ASK, expected_output="a word", agent=copied)]).kickoff()

    memory.drain_writes()  # older CrewAI waits for the crew's memory alone
    assert copied.memory is memory
    assert FACT in llm.prompt()
    assert memory._storage.count() == 2


def test_a_crew_that_is_run_for_each_of_many_remembers_each(url: str):
    memory = botwire_memory("ns", url=url)
    own = crew(ScriptedLLM("fine"), "Greet {name}", memory=memory)
    own.agents[0].memory = memory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own.kickoff_for_each([{"name": name} for name in ("Ada", "Bob", "Cyd")])
        own.copy().kickoff({"name": "Dot"})

    texts = "\n".join(known.content for known in memory.list_records())
    assert sorted(re.findall(r"Greet (\w+)", texts)) == ["Ada", "Bob", "Cyd", "Dot"]


def test_an_agent_alone_remembers(url: str):
    llm = ScriptedLLM(FACT)
    memory = botwire_memory("ns", url=url)
    agent(llm, memory=memory).kickoff("Find the code name")
    memory.close()  # an agent alone does not wait for what it saves, as a crew does

    llm = ScriptedLLM("fine")
    agent(llm, memory=botwire_memory("ns", url=url)).kickoff(ASK)
    assert FACT in llm.prompt()


def test_the_tools_that_crewai_adds_work_on_it(url: str):
    llm = ScriptedLLM(tool_call("save_to_memory", contents=[FACT]), tool_call("search_memory", queries=["code name"]), "done")
    crew(llm, "Remember the code name", memory=botwire_memory("ns", url=url)).kickoff()

    assert "Found memories" in str(llm.seen[2][-1])
    assert FACT in str(llm.seen[2][-1])


def test_one_agent_in_two_crews_saves_into_the_first_ones_memory_and_a_copy_does_not(url: str):
    """CrewAI's doing, which is why the documentation tells to give each crew agents of its own."""
    first, second = botwire_memory("first", url=url), botwire_memory("second", url=url)
    shared = agent(ScriptedLLM("fine"))

    def run(worker, memory, what: str) -> None:
        Crew(agents=[worker], tasks=[Task(description=what, expected_output="a word", agent=worker)], memory=memory).kickoff()
        first.drain_writes()

    run(shared, first, "task one")
    run(shared, second, "task two")
    assert (first._storage.count(), second._storage.count()) == (2, 0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(shared.copy(), second, "task three")
    assert (first._storage.count(), second._storage.count()) == (2, 1)


# ------------------------------------------------------------------------------------------- memory


def test_what_lies_in_the_scope_itself_is_recalled_and_also_in_the_thirtieth_child(url: str):
    memory = botwire_memory("ns", url=url)
    for number in range(30):
        memory.remember(f"note {number} on apples", scope=f"/child{number:02}", categories=[], importance=0.5)
    memory.remember("the root likes pears", scope="/", categories=[], importance=0.5)

    for depth in (None, "deep"):
        assert memory.recall("pears", limit=3, depth=depth)[0].record.content == "the root likes pears"
        assert memory.recall("note 29", limit=3, depth=depth)[0].record.content == "note 29 on apples"
    assert memory.scope("/child29").recall("apples")[0].record.content == "note 29 on apples"


def test_a_scope_shows_and_forgets_nothing_of_its_neighbour(url: str):
    memory = botwire_memory("ns", url=url)
    memory.remember("the secret of one", scope="/tenant/1", categories=[], importance=0.5)
    memory.remember("the secret of ten", scope="/tenant/10", categories=[], importance=0.5)
    one = memory.scope("/tenant/1")

    for depth in ("shallow", "deep"):
        assert [match.record.content for match in one.recall("secret", depth=depth)] == ["the secret of one"]
    ten = memory.list_records("/tenant/10")[0]
    assert one.forget(record_ids=[ten.id]) == 0
    assert one.forget() == 1
    assert memory.forget(scope="/tenant/1") == 0
    assert memory.info("/").record_count == 1


def test_an_embedder_and_a_model_of_the_users_are_used(url: str):
    asked: list[str] = []

    def embedder(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[1.0, float(len(text))] for text in texts]

    structured = {
        "MemoryAnalysis": {"suggested_scope": "/facts", "categories": ["c"], "importance": 0.9},
        "ExtractedMemories": {"memories": ["one fact", "another one entirely"]},
    }
    memory = botwire_memory("ns", url=url, embedder=embedder, llm=ScriptedLLM("", structured=structured), recency_weight=0.0)
    assert memory.extract_memories("anything") == ["one fact", "another one entirely"]
    memory.remember("hello")

    found = memory.recall("howdy")[0].record
    assert (found.scope, found.categories, found.importance) == ("/facts", ["c"], 0.9)
    assert asked == ["hello", "howdy"]
    assert memory.recency_weight == 0.0


def test_a_changed_embedder_is_told_to_the_caller_and_in_the_log(url: str, caplog: pytest.LogCaptureFixture):
    botwire_memory("ns", url=url).remember("a fact")
    changed = botwire_memory("ns", url=url, embedder=HashEmbedder(64))
    with pytest.raises(InvalidValue, match="holds embeddings of 512 numbers, this one has 64"):
        changed.remember("another one")
    llm = ScriptedLLM("fine")
    assert crew(llm, memory=changed).kickoff().raw == "fine"
    assert len([entry for entry in caplog.records if entry.name == "botwire" and "the embedder was changed" in entry.message]) == 1


@pytest.mark.parametrize("settings", [{"depth": "middling"}, {"storage": "x"}])
def test_settings_that_make_no_sense_are_refused(settings: dict):
    with pytest.raises(InvalidValue):
        botwire_memory("ns", **settings)


def test_the_local_embedder_finds_by_words_and_gives_the_same_everywhere():
    embed = HashEmbedder()
    texts = ["Ada's favourite colours are teal and plum", "the invoices of March are paid", "what colour does Ada like?", "", "?!"]
    one, two, question, empty, marks = embed(texts)

    def near(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert near(question, one) > 0.2 > near(question, two)
    assert all(near(vector, vector) == pytest.approx(1.0) for vector in (one, two, question, empty, marks))
    # Whoever changes what it computes makes all that is stored unfindable.
    assert [round(x, 4) for x in HashEmbedder(16)(["Bluebird flies"])[0]] == GOLDEN
    with pytest.raises(InvalidValue):
        HashEmbedder(3)


GOLDEN = [0.0951, 0.0, 0.0951, -0.0752, -0.6827, 0.0752, 0.0, -0.0752, 0.0, 0.0, 0.0752, 0.0, 0.0951, -0.0951, -0.0951, -0.6827]


# ------------------------------------------------------------------------------- the end of a process


EXIT = """
from botwire.integrations.crewai import botwire_memory, BotWireStorage, HashEmbedder
from crewai import Memory
memory = {make}
memory.remember_many([f"note {{number}} about {{number * 7919}}" for number in range(30)])
"""


COPY = """
import warnings
from scripted import ScriptedLLM, agent
with warnings.catch_warnings(record=True) as caught:
    agent(ScriptedLLM("x"), memory=memory).copy()
print([str(warning.message)[:40] for warning in caught if "ydantic" in str(warning.message)])
"""


def test_what_was_to_be_remembered_is_so_when_the_interpreter_ends(in_process: Callable[..., str], url: str):
    printed = in_process(EXIT.format(make='botwire_memory("ns", url=sys.argv[1])') + COPY)

    assert BotWireStorage("ns", url=url).count() == 30
    assert printed.splitlines()[-1] == "[]"  # nor does a copied agent bring a page of warnings


def test_a_memory_of_crewais_own_needs_to_be_closed(in_process: Callable[..., str], url: str):
    """Also on botwire's storage: only botwire_memory looks after it."""
    own = 'Memory(storage=BotWireStorage("ns", url=sys.argv[1]), embedder=HashEmbedder())'
    in_process(EXIT.format(make=own))
    assert BotWireStorage("ns", url=url).count() == 0

    in_process(EXIT.format(make=own) + "memory.close()")
    assert BotWireStorage("ns", url=url).count() == 30


def test_a_memory_that_was_closed_still_works(url: str):
    memory = botwire_memory("ns", url=url)
    memory.remember("a")
    memory.close()
    memory.close()
    memory.remember("b")

    assert {match.record.content for match in memory.recall("a b")} == {"a", "b"}


def test_a_forked_child_has_the_records_and_does_not_wait_for_what_its_parent_saves(in_process: Callable[..., str], url: str):
    """Remembering by CrewAI itself takes half a minute there, which waits for threads that the child has not."""
    code = """
import os, threading
from botwire.integrations.crewai import botwire_memory, HashEmbedder
slow, forked = HashEmbedder(), threading.Event()
memory = botwire_memory("ns", url=sys.argv[1], embedder=lambda texts: (forked.wait(60), slow(texts))[1])
storage = memory._storage
storage.count()
memory.remember_many(["of the parent"])
threads = [threading.Thread(target=lambda: [storage.count() for _ in range(200)]) for _ in range(4)]
[thread.start() for thread in threads]
child = os.fork()
if child == 0:
    from crewai.memory.types import MemoryRecord
    storage.save([MemoryRecord(content="of the child", embedding=slow(["of the child"])[0])])
    assert storage.count() == 1
    memory.close()
    os._exit(0)  # CrewAI's own work at the end of a process hangs in a child
assert os.waitpid(child, 0)[1] == 0
forked.set()
assert {match.record.content for match in memory.recall("child")} == {"of the child", "of the parent"}
"""
    in_process(code)
    assert BotWireStorage("ns", url=url).count() == 2


# --------------------------------------------------------------------------------------------- at once


def run_crews(url: str, name: str, threads: int) -> None:
    """Three crews in each of so many threads, each with a memory of its own."""

    def work(thread: int) -> None:
        for number in range(3):
            fact = f"fact {name}-{thread}-{number}"
            assert crew(ScriptedLLM(fact), f"Task {fact}", memory=botwire_memory("ns", url=url)).kickoff().raw == fact

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


@pytest.mark.timeout(300)
def test_eight_threads_of_crews_then_four_processes_lose_no_record(in_process: Callable[..., str], url: str):
    run_crews(url, "threads", 8)
    code = f"""
import warnings
warnings.simplefilter("ignore")
import importlib.util
spec = importlib.util.spec_from_file_location("crews", {__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run_crews(sys.argv[1], sys.argv[2], 2)
"""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: in_process(code, f"process{number}"), range(4)))

    expected = {f"fact threads-{thread}-{number}" for thread in range(8) for number in range(3)}
    expected |= {f"fact process{process}-{thread}-{number}" for process in range(4) for thread in range(2) for number in range(3)}
    texts = "\n".join(known.content for known in BotWireStorage("ns", url=url).list_records(limit=1_000))
    assert set(re.findall(r"Result: (fact \S+)", texts)) == expected


# ------------------------------------------------------------------------------------------ failures


def test_with_the_store_down_a_kickoff_returns_one_error_is_logged_and_the_next_save_works(tmp_path, caplog: pytest.LogCaptureFixture):
    from botwire.server import serve_in_thread

    store = open_store(f"sqlite://{tmp_path}/server.db")
    with serve_in_thread(store) as url:
        port = int(url.rpartition(":")[2])
        storage = BotWireStorage(memory=Memory("ns", url=url, timeout=1.0))
        memory = BotWireMemory(storage=storage, embedder=HashEmbedder(), llm=botwire_memory("x").llm)
        crew(ScriptedLLM("before"), memory=memory).kickoff()
    caplog.clear()
    for _ in range(2):
        assert crew(ScriptedLLM("during"), memory=memory).kickoff().raw == "during"
    errors = [entry.getMessage() for entry in caplog.records if entry.name == "botwire" and entry.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "namespace 'ns' cannot be" in errors[0]
    assert "Crews go on without it" in errors[0]
    caplog.clear()
    with serve_in_thread(store, port=port):
        crew(ScriptedLLM("after"), memory=memory).kickoff()
        texts = "\n".join(known.content for known in memory.list_records())
    assert "Result: before" in texts
    assert "Result: after" in texts
    for _ in range(2):  # another outage is told again
        crew(ScriptedLLM("again"), memory=memory).kickoff()
    assert len([entry for entry in caplog.records if entry.name == "botwire" and entry.levelno == logging.ERROR]) == 1
    store.close()


def test_with_a_file_that_is_no_database_a_kickoff_returns_and_one_error_is_logged(tmp_path, caplog: pytest.LogCaptureFixture):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 1_000)
    memory = botwire_memory("ns", url=f"sqlite://{broken}")

    assert crew(ScriptedLLM("fine"), memory=memory).kickoff().raw == "fine"
    assert len([entry for entry in caplog.records if entry.name == "botwire" and entry.levelno == logging.ERROR]) == 1


def test_with_a_file_that_others_have_locked_the_save_is_reported_and_the_next_one_works(file_url: str, caplog: pytest.LogCaptureFixture):
    memory = BotWireMemory(
        storage=BotWireStorage(memory=Memory("ns", url=file_url, timeout=0.3)), embedder=HashEmbedder(), llm=botwire_memory("x").llm
    )
    memory.remember("before")
    lock = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute('BEGIN IMMEDIATE'); print(); input()"
    command = [sys.executable, "-c", lock, file_url.removeprefix("sqlite://")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert crew(ScriptedLLM("during"), memory=memory).kickoff().raw == "during"
        other.kill()

    errors = [entry for entry in caplog.records if entry.name == "botwire" and entry.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "cannot be written" in errors[0].getMessage()
    memory.remember("after")
    assert {known.content for known in memory.list_records()} == {"before", "after"}


# -------------------------------------------------------------------------------------- registration


@pytest.fixture
def unregistered():
    yield
    unregister()
    crewai_factory.set_memory_storage_factory(None)


def test_registered_the_memories_that_crewai_makes_lie_in_botwire_without_a_key(url: str, unregistered):
    register("auto", url=url)

    class Notes(Flow):
        @start()
        def first(self):
            self.remember(FACT)
            return [match.record.content for match in self.recall(ASK)]

    assert Notes().kickoff() == [FACT]
    llm = ScriptedLLM("fine")
    crew(llm, "Find the number", memory=True).kickoff()
    llm = ScriptedLLM("fine")
    crew(llm, "Find the number", memory=True).kickoff()
    assert "Result: fine" in llm.prompt()
    agent(ScriptedLLM("alone"), memory=True).kickoff("hello").raw  # noqa: B018 - saved in the background
    CrewMemory(storage="botwire:named").remember("by name")

    scopes = {known.scope for known in BotWireStorage("auto", url=url).list_records()}
    assert {"/flow/notes", "/crew/crew/agent/clerk"} <= scopes
    assert [known.content for known in BotWireStorage("named", url=url).list_records()] == ["by name"]


def test_registered_what_is_given_stays_what_it_is(url: str, tmp_path, unregistered):
    asked = []
    crewai_factory.set_memory_storage_factory(
        lambda spec: asked.append(spec) or (BotWireStorage("theirs", url=url) if spec == "x" else None)
    )
    register("auto", url=url)
    register("auto2", url=url, embedder=HashEmbedder(32))

    given = BotWireStorage("given", url=url)
    assert CrewMemory(storage=given)._storage is given
    assert CrewMemory(storage="x", embedder=HashEmbedder())._storage.namespace == "theirs"
    assert CrewMemory()._storage.namespace == "auto2"
    assert CrewMemory().embedder == HashEmbedder(32)
    assert CrewMemory(embedder=HashEmbedder(48)).embedder == HashEmbedder(48)
    llm = ScriptedLLM("x")
    assert CrewMemory(llm=llm).llm is llm
    assert "LanceDB" in type(CrewMemory(storage=str(tmp_path / "lance"))._storage).__name__
    assert asked == ["x", str(tmp_path / "lance")]

    unregister()
    unregister()
    asked.clear()
    CrewMemory(storage="x")
    assert asked == ["x"]
    assert "LanceDB" in type(CrewMemory()._storage).__name__


def test_a_factory_that_was_set_later_may_go_on_asking_after_unregister(url: str, unregistered):
    register("auto", url=url)
    ours = crewai_factory._factory
    crewai_factory.set_memory_storage_factory(lambda spec: ours(spec) if spec else None)
    assert CrewMemory(storage="botwire:named")._storage.namespace == "named"

    unregister()
    assert ours("botwire:named") is None


def test_many_threads_that_make_memories_share_one_storage(url: str, unregistered):
    register("auto", url=url)
    barrier = threading.Barrier(8)

    def make(_: int) -> BotWireStorage:
        barrier.wait()
        return CrewMemory()._storage

    with ThreadPoolExecutor(8) as pool:
        assert len({id(storage) for storage in pool.map(make, range(8))}) == 1
    gc.collect()
