"""Every store against a plain dict: whatever calls come in whatever order, both hold the same."""

from __future__ import annotations

import copy
import itertools
import math
import shutil
import tempfile
import time
from contextlib import ExitStack, closing

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from botwire import AsyncMemory, InvalidValue, Memory, RequestConflict, VersionConflict
from botwire._codec import decode
from botwire.server import serve_in_thread
from botwire.stores import open_store
from botwire.stores._rules import merge_patch
from botwire.testing import exactly
from botwire.testing._async import LoopThread, Synced

keys = st.sampled_from(["a", "ab", "a/b", "b", "%", "é", "\U0001f600"])
sessions = st.sampled_from(["s", "t", "a"])
agents = st.sampled_from([None, None, "x"])
ttls = st.sampled_from([None, None, None, 2, 5.5])
values = st.integers(-5, 5) | st.sampled_from(
    [None, True, 1.5, "text", "[1]", [], [1, "x"], {}, {"a": 1}, {"a": {"b": None}}, 10**40, "\ud800"]
)
objects = st.sampled_from([{}, {"a": 2}, {"a": None}, {"a": {"b": 1, "c": None}}, {"b": [1]}])
patches = objects | st.sampled_from([None, 7])
requests = st.sampled_from([None, None, "r1", "r2"])
_runs = itertools.count()


class Clock:
    def __init__(self):
        self.now = time.time_ns() // 1_000

    def __call__(self):
        return self.now


class Expiring:
    """What may have an end."""

    expires_at = None

    def until(self, now, ttl):
        self.expires_at = None if ttl is None else now + math.ceil(ttl * 1_000_000)


class ModelEntry(Expiring):
    def __init__(self, value):
        self.value, self.version = value, 1


class ModelSession(Expiring):
    def __init__(self):
        self.head, self.rows, self.ttl, self.metadata, self.epoch = 0, [], None, {}, None


class Model:
    """What a store promises, said with two dicts and a clock."""

    def __init__(self, clock):
        self.clock, self.entries, self.logs, self.requests = clock, {}, {}, {}

    def sweep(self):
        for things in (self.entries, self.logs):
            for name in [name for name, thing in things.items() if thing.expires_at is not None and thing.expires_at <= self.clock()]:
                del things[name]

    def put(self, key, value, *, keep_ttl=False, ttl=None):
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = ModelEntry(value)
        else:
            entry.value, entry.version = value, entry.version + 1
        if not keep_ttl:
            entry.until(self.clock(), ttl)
        return entry.version

    def session(self, name, ttl=None):
        session = self.logs.setdefault(name, ModelSession())
        session.ttl = session.ttl if ttl is None else ttl
        return self.touch(session)

    def touch(self, session):
        session.until(self.clock(), session.ttl)
        return session


class Comparison(RuleBasedStateMachine):
    """Calls made on a store and on the model; after each, all that both hold is compared."""

    def __init__(self):
        super().__init__()
        self.exit, self.turn = ExitStack(), itertools.count()
        self.namespace = f"run-{next(_runs)}"
        self.clock = self.start()
        self.model = Model(self.clock)

    def start(self):
        """Open the store of this run as ``self.store``; returns its clock."""
        raise NotImplementedError

    def memory(self):
        return Memory(self.namespace, store=self.store)

    def teardown(self):
        self.exit.close()

    def expect(self, error, call):
        with pytest.raises(error):
            call()

    # ------------------------------------------------------------------------------------- entries

    @initialize(given=st.dictionaries(keys, values, max_size=3))
    def fill(self, given):
        self.set_many(given, None)

    @rule(key=keys, value=values, ttl=ttls, wanted=st.sampled_from(["any", "any", "current", "absent", "wrong"]))
    def set(self, key, value, ttl, wanted):
        present = self.model.entries.get(key)
        current = 0 if present is None else present.version
        if_version = {"any": None, "current": current, "absent": 0, "wrong": current + 1}[wanted]
        if if_version is not None and if_version != current:
            with pytest.raises(VersionConflict) as caught:
                self.memory().set(key, value, ttl=ttl, if_version=if_version)
            assert caught.value.current == current
        else:
            version = self.memory().set(key, value, ttl=ttl, if_version=if_version)
            assert version == self.model.put(key, value, ttl=ttl)

    @rule(given=st.dictionaries(keys, values, max_size=4), ttl=ttls)
    def set_many(self, given, ttl):
        assert self.memory().set_many(given, ttl=ttl) == {key: self.model.put(key, value, ttl=ttl) for key, value in given.items()}

    @rule(key=keys)
    def delete(self, key):
        assert self.memory().delete(key) is (self.model.entries.pop(key, None) is not None)

    @rule(some=st.lists(keys, max_size=4))
    def delete_many(self, some):
        there = {key for key in some if self.model.entries.pop(key, None)}
        assert self.memory().delete_many(some) == len(there)

    @rule(prefix=st.sampled_from(["", "a", "a/", "%", "\U0001f600", "none"]))
    def clear(self, prefix):
        gone = [key for key in self.model.entries if key.startswith(prefix)]
        assert self.memory().clear(prefix) == len(gone)
        for key in gone:
            del self.model.entries[key]

    @rule(key=keys, by=st.sampled_from([1, -2, 0.5, 10**30]), request=requests)
    def increment(self, key, by, request):
        def apply():
            present = self.model.entries.get(key)
            value = 0 if present is None else present.value
            if type(value) not in (int, float) or (isinstance(by, float) and abs(value) > 1e300):
                return InvalidValue
            self.model.put(key, value + by, keep_ttl=True)
            return value + by

        self.once(request, ("increment", key, by), apply, lambda: self.memory().increment(key, by, request_id=request))

    @rule(key=keys, items=st.lists(values, max_size=3), most=st.sampled_from([None, None, 2]), request=requests)
    def append(self, key, items, most, request):
        def apply():
            present = self.model.entries.get(key)
            value = [] if present is None else present.value
            if type(value) is not list:
                return InvalidValue
            value = [*value, *items][-most:] if most else [*value, *items]
            self.model.put(key, value, keep_ttl=True)
            return len(value)

        self.once(
            request,
            ("append", key, repr(items)[:200], most),
            apply,
            lambda: self.memory().append(key, *items, max_items=most, request_id=request),
        )

    @rule(key=keys, patch=patches)
    def merge(self, key, patch):
        present = self.model.entries.get(key)
        merged = merge_patch({} if present is None else copy.deepcopy(present.value), patch)
        self.model.put(key, merged, keep_ttl=True)
        assert exactly(self.memory().merge(key, patch), merged)

    @rule(key=keys)
    def update(self, key):
        present = self.model.entries.get(key)
        value = ["new"] if present is None else [present.value]
        if len(repr(value)) < 60:  # each time it is a list around the last
            self.model.put(key, value, keep_ttl=True)
            assert exactly(self.memory().update(key, lambda old: [old], default="new"), value)

    def once(self, request, write, apply, call):
        """Make a call of which the model knows what it does, or that it was made before."""
        scope = (request, write[1] if write[0] == "message" else None)
        if request is None or scope not in self.model.requests:
            expected = apply()
            if expected is InvalidValue:
                self.expect(InvalidValue, call)
                return
            if request is not None:
                self.model.requests[scope] = (write, expected)
        elif self.model.requests[scope][0] != write:
            self.expect(RequestConflict, call)
            return
        else:
            expected = self.model.requests[scope][1]
        assert exactly(call(), expected)

    # ------------------------------------------------------------------------------------- sessions

    def handle(self, session, agent, ttl=None):
        return self.memory().session(session, agent=agent, ttl=ttl)

    @rule(session=sessions, agent=agents, count=st.integers(1, 3), ttl=ttls, request=requests)
    def append_messages(self, session, agent, count, ttl, request):
        def apply():
            log = self.model.session((session, agent), ttl)
            first = log.head + 1
            log.head += count
            log.rows += [(seq, f"message {seq - first}") for seq in range(first, log.head + 1)]
            return list(range(first, log.head + 1))

        messages = [("user", f"message {number}") for number in range(count)]
        write = ("message", (session, agent), count, ttl)
        self.once(request, write, apply, lambda: self.handle(session, agent, ttl).append(*messages, request_id=request))

    @rule(session=sessions, agent=agents)
    def pop(self, session, agent):
        log = self.model.logs.get((session, agent))
        popped = self.handle(session, agent).pop()
        if log is None or not log.rows:
            assert popped is None
        else:
            assert (popped.seq, popped.content) == log.rows.pop()
            self.model.touch(log)

    @rule(session=sessions, agent=agents, keep=st.integers(0, 3))
    def trim(self, session, agent, keep):
        log = self.model.logs.get((session, agent))
        surplus = 0 if log is None else max(0, len(log.rows) - keep)
        assert self.handle(session, agent).trim(keep) == surplus
        if surplus:
            log.rows = log.rows[surplus:]
            self.model.touch(log)

    @rule(session=sessions, agent=agents)
    def clear_session(self, session, agent):
        log = self.model.logs.get((session, agent))
        assert self.handle(session, agent).clear() == (0 if log is None else len(log.rows))
        if log is not None:
            log.rows, log.head, log.epoch = [], 0, ("not", log.epoch)
            self.model.touch(log)

    @rule(session=sessions, agent=agents)
    def delete_transcript(self, session, agent):
        assert self.handle(session, agent).delete() is (self.model.logs.pop((session, agent), None) is not None)

    @rule(session=sessions)
    def delete_session(self, session):
        gone = [name for name in self.model.logs if name[0] == session]
        assert self.memory().delete_session(session) is bool(gone)
        for name in gone:
            del self.model.logs[name]

    @rule(session=sessions, agent=agents, patch=objects, replace=st.booleans())
    def metadata(self, session, agent, patch, replace):
        log = self.model.session((session, agent))
        log.metadata = copy.deepcopy(patch) if replace else merge_patch(log.metadata, patch)
        handle = self.handle(session, agent)
        assert (handle.set_metadata(patch) if replace else handle.merge_metadata(patch)) == log.metadata

    @rule(session=sessions, agent=agents, ttl=ttls)
    def set_ttl(self, session, agent, ttl):
        log = self.model.session((session, agent))
        log.ttl = ttl
        self.model.touch(log)
        self.handle(session, agent).set_ttl(ttl)

    @rule(session=sessions, agent=agents, last=st.none() | st.integers(0, 3), bounds=st.tuples(*[st.none() | st.integers(0, 6)] * 2))
    def read(self, session, agent, last, bounds):
        log = self.model.logs.get((session, agent))
        after, before = bounds
        rows = [row for row in (log.rows if log else []) if (after is None or row[0] > after) and (before is None or row[0] < before)]
        expected = rows if last is None else rows[len(rows) - min(last, len(rows)) :]
        found = self.handle(session, agent).messages(last=last, after=after, before=before)
        assert [(message.seq, message.content) for message in found] == expected

    # ------------------------------------------------------------------------------ time, restarts

    @rule(seconds=st.sampled_from([0.5, 1, 2, 6]))
    def time_passes(self, seconds):
        self.clock.now += round(seconds * 1_000_000)
        self.model.sweep()

    def reopen(self):
        """Close the store and open it again; None where that loses everything."""
        raise NotImplementedError

    @precondition(lambda self: type(self).reopen is not Comparison.reopen)
    @rule()
    def restart(self):
        self.reopen()

    # ------------------------------------------------------------------------------------ the same?

    @invariant()
    def entries_are_the_same(self):
        memory, entries = self.memory(), self.model.entries
        rows = self.store.scan(self.namespace, "", None, 100)
        assert [row.key for row in rows] == sorted(entries)
        for row in rows:
            entry = entries[row.key]
            assert exactly(decode(row.value, row.key), entry.value), row.key
            assert (row.version, row.expires_at) == (entry.version, entry.expires_at), row.key
        assert memory.count("a") == sum(key.startswith("a") for key in entries)

    @invariant()
    def sessions_are_the_same(self):
        infos = self.memory().sessions()
        assert [(info.session_id, info.agent or "") for info in infos] == sorted((name, agent or "") for name, agent in self.model.logs)
        for info in infos:
            log = self.model.logs[info.session_id, info.agent]
            assert (info.head, info.count, info.ttl, info.metadata) == (log.head, len(log.rows), log.ttl, log.metadata)
            assert _us(info.expires_at) == log.expires_at
            if isinstance(log.epoch, tuple) or log.epoch is None:
                assert log.epoch is None or info.epoch != log.epoch[1]
                log.epoch = info.epoch
            assert info.epoch == log.epoch
        if infos:
            info = infos[next(self.turn) % len(infos)]
            messages = self.handle(info.session_id, info.agent).messages()
            assert [(message.seq, message.content) for message in messages] == self.model.logs[info.session_id, info.agent].rows

    @rule()
    def the_namespace_is_there_while_it_holds_anything(self):
        assert (self.namespace in self.memory().namespaces()) is bool(self.model.entries or self.model.logs)


def _us(moment):
    return None if moment is None else round(moment.timestamp() * 1_000_000)


# --------------------------------------------------------------------------------------- the stores


class OnRAM(Comparison):
    def start(self):
        clock = Clock()
        self.store = open_store("memory://", clock=clock)
        self.exit.callback(self.store.close)
        return clock


class OnFile(Comparison):
    def start(self):
        folder = tempfile.mkdtemp()
        self.exit.callback(shutil.rmtree, folder)
        self.url, clock = f"sqlite://{folder}/memory.db?durability=normal", Clock()
        self.store = open_store(self.url, clock=clock)
        self.exit.callback(lambda: self.store.close())  # noqa: PLW0108 - the store of that time
        return clock

    def reopen(self):
        self.store.close()
        self.store = open_store(self.url, clock=self.clock)


class Served:
    """One server for all runs: each has a namespace of its own."""

    def __enter__(self):
        self.exit, self.clock = ExitStack(), Clock()
        store = self.exit.enter_context(closing(open_store("memory://", clock=self.clock)))
        self.url = self.exit.enter_context(serve_in_thread(store))
        self.thread = self.exit.enter_context(LoopThread())
        return self

    def __exit__(self, *_):
        self.exit.close()


_served = None


@pytest.fixture(scope="module", autouse=True)
def _server():
    global _served
    with Served() as _served:
        yield


class OnHTTP(Comparison):
    def start(self):
        self.store = open_store(_served.url)
        self.exit.callback(lambda: self.store.close())  # noqa: PLW0108 - the store of that time
        return _served.clock

    def reopen(self):
        self.store.close()
        self.store = open_store(_served.url)


class OnAsync(OnRAM):
    """AsyncMemory over a store without native async."""

    def start(self):
        self.fronts = []
        self.exit.callback(self.close_fronts)
        return super().start()

    def memory(self):
        if not self.fronts:
            self.fronts.append(Synced(AsyncMemory(self.namespace, store=self.store), _served.thread))
        return self.fronts[0]

    def close_fronts(self):
        while self.fronts:
            self.fronts.pop().close()


class OnAsyncHTTP(OnAsync):
    """AsyncMemory over HTTP's native async."""

    start_store = OnHTTP.start

    def start(self):
        self.fronts = []
        clock = self.start_store()
        self.exit.callback(self.close_fronts)
        return clock

    def reopen(self):
        self.close_fronts()
        self.store.close()
        self.store = open_store(_served.url)


TestOnRAM = OnRAM.TestCase
TestOnFile = OnFile.TestCase
TestOnHTTP = OnHTTP.TestCase
TestOnAsync = OnAsync.TestCase
TestOnAsyncHTTP = OnAsyncHTTP.TestCase

for _case, _examples in ((TestOnRAM, 100), (TestOnFile, 50), (TestOnHTTP, 25), (TestOnAsync, 30), (TestOnAsyncHTTP, 12)):
    _case.settings = settings(max_examples=_examples, stateful_step_count=40, suppress_health_check=list(HealthCheck))
del _case
