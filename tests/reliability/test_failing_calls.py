"""Every single write and sync of a session fails once: the error says what is sure, and a repetition is applied once."""

from __future__ import annotations

import shutil

import pytest
from hurtful_vfs import HurtfulVFS

from botwire import Memory, OutcomeUnknown, StoreFull, StoreUnavailable
from botwire.stores.sqlite import SQLiteStore

FILL = "x" * 9_000  # several pages


def script(memory):
    """The calls, each with a name; repeating one by its request id changes nothing."""
    session = memory.session("s")
    return [
        ("set", lambda: memory.set("a", {"n": 1, "fill": FILL}, request_id="1")),
        ("append", lambda: session.append({"role": "user", "content": "one"}, {"role": "user", "content": FILL}, request_id="2")),
        ("increment", lambda: memory.increment("count", request_id="3")),
        ("set again", lambda: memory.set("a", {"n": 2, "fill": FILL}, request_id="4")),
        ("append again", lambda: session.append({"role": "user", "content": "two"}, request_id="5")),
        ("increment again", lambda: memory.increment("count", request_id="6")),
        ("set many", lambda: memory.set_many({f"many {n}": FILL for n in range(5)}, request_id="7")),
    ]


def state(memory):
    """All that the script writes, as far as it has come."""
    a = memory.get("a")
    contents = [message.content for message in memory.session("s").messages()]
    return {"a": a and a["n"], "s": contents, "count": memory.get("count"), "many": len(memory.list_keys("many"))}


WHOLE = {"a": 2, "s": ["one", FILL, "two"], "count": 2, "many": 5}


def state_after_a_crash(path, folder):
    """What another process finds that must do without the memory that processes share."""
    folder.mkdir()
    for ending in ("", "-wal"):
        if path.with_name(path.name + ending).exists():
            shutil.copy(path.with_name(path.name + ending), folder / (path.name + ending))
    with Memory("n", url=f"sqlite://{folder / path.name}") as memory:
        return state(memory)


class Failure:
    """One run of the script in which the ``number``-th call of SQLite to its VFS fails."""

    def __init__(self, folder, how, number):
        folder.mkdir()
        self.path, self.errors, self.crashes = folder / "memory.db", [], 0
        self.vfs = HurtfulVFS(f"fail-{how}-{number}")
        self.happened = False
        self.vfs.fail = lambda call, kind: self.failure(how, kind) if call == number else None
        store = SQLiteStore(f"sqlite://{self.path}", vfs=self.vfs.name)
        bystander = SQLiteStore(f"sqlite://{self.path}")  # so that the log is not tidied away when a connection is given up
        with Memory("n", store=store) as memory:
            for name, call in script(memory):
                self.do(memory, name, call)
                bystander.get("n", "a")
            bystander.close()
            self.state = state(memory)
            self.check = store.check()
        store.close()
        self.calls = self.vfs.calls
        self.vfs.unregister()

    def failure(self, how, kind):
        self.happened = True
        return how if how == "io" or kind != "write" else ("full", "short")[self.vfs.calls % 2]

    def do(self, memory, name, call):
        before = state(memory)
        try:
            call()
        except StoreUnavailable as error:
            self.errors.append((name, type(error)))
            if not isinstance(error, OutcomeUnknown):  # so nothing was written: not even for who comes after a crash
                self.crashes += 1
                assert state(memory) == before
                assert state_after_a_crash(self.path, self.path.parent / f"crash {self.crashes}") == before
            writer = memory.store._connections._writer
            assert writer is None or not writer.in_transaction
            call()


@pytest.mark.parametrize("how", ["io", "no space"])
def test_each_write_and_sync_fails_once(tmp_path, how):
    errors, number = [], 0
    while True:
        number += 1
        run = Failure(tmp_path / str(number), how, number)
        if not run.happened:
            break
        errors += run.errors
        assert run.state == WHOLE
        assert run.check["problems"] == []
        with Memory("n", url=f"sqlite://{run.path}") as memory:
            assert state(memory) == WHOLE
    kinds = {kind.__name__: sum(found is kind for _, found in errors) for kind in {found for _, found in errors}}
    print(f"{how}: {number - 1} failing calls, {kinds}")
    assert number > 40
    assert len(errors) >= 20
    if how == "no space":
        assert StoreFull in {kind for _, kind in errors}
