"""Names: any text is data, neighbours are strangers, and a namespace is a hard wall."""

from __future__ import annotations

from typing import Any

import pytest

from botwire._errors import InvalidName
from botwire._memory import Memory
from botwire.testing._base import ContractBase
from botwire.testing._samples import AWKWARD_NAMES, BAD_NAMES

_bad_names = pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)


class NameContract(ContractBase):
    """What names promise."""

    def test_every_allowed_text_is_a_key_of_its_own(self) -> None:
        """Keys with awkward characters are told apart, listed, prefixes of themselves, and deleted one by one."""
        memory = self.memory()
        for index, key in enumerate(AWKWARD_NAMES):
            assert memory.set(key, index) == 1, key
        assert memory.list_keys() == sorted(AWKWARD_NAMES)
        for index, key in enumerate(AWKWARD_NAMES):
            assert memory.get(key) == index, key
            assert memory.count(key) == sum(other.startswith(key) for other in AWKWARD_NAMES), key
        for key in AWKWARD_NAMES:
            assert memory.delete(key) is True, key
            assert memory.get(key) is None, key
        assert memory.count() == 0

    def test_many_awkward_keys_at_once(self) -> None:
        """The calls for many keys take the same names as those for one."""
        memory = self.memory()
        values = {key: index for index, key in enumerate(AWKWARD_NAMES)}
        assert memory.set_many(values) == dict.fromkeys(values, 1)
        assert memory.get_many(values) == values
        assert memory.delete_many(values) == len(values)

    def test_every_allowed_text_is_a_namespace_of_its_own(self) -> None:
        """Namespaces with awkward characters share nothing."""
        names = [name for name in AWKWARD_NAMES if len(name.encode()) < 400]
        for index, name in enumerate(names):
            self.memory(self.namespace + name).set("k", index)
            self.memory(self.namespace + name).session("s").append(("user", str(index)))
        for index, name in enumerate(names):
            memory = self.memory(self.namespace + name)
            assert dict(memory.items()) == {"k": index}, name
            assert [message.content for message in memory.session("s").messages()] == [str(index)], name
        ours = [name for name in self.memory().namespaces() if name.startswith(self.namespace)]
        assert ours == sorted(self.namespace + name for name in names)

    def test_every_allowed_text_names_a_session(self) -> None:
        """Sessions and agents with awkward names are told apart, listed and deleted one by one."""
        memory = self.memory()
        for name in AWKWARD_NAMES:
            memory.session(name).append(("user", "session " + name))
            memory.session("s", agent=name).append(("user", "agent " + name))
        listed = [(info.session_id, info.agent or "") for info in memory.sessions()]
        assert listed == sorted([(name, "") for name in AWKWARD_NAMES] + [("s", name) for name in AWKWARD_NAMES])
        for name in AWKWARD_NAMES:
            assert [message.content for message in memory.session(name).messages()] == ["session " + name], name
            assert [message.content for message in memory.session("s", agent=name).messages()] == ["agent " + name], name
        for name in AWKWARD_NAMES:
            assert memory.session(name).delete() is True, name
        assert memory.delete_session("s") is True
        assert memory.sessions() == []

    @pytest.mark.parametrize("namespace", ["app", "a", "app*", "a_p", "a%", "%", "*", "app::", "APP", "app\U0010ffff"])
    def test_clearing_a_namespace_spares_its_neighbours(self, namespace: str) -> None:
        """However near another namespace's name is, clear reaches only its own."""
        names = ["app", "app2", "ap", "a", "app*", "app::b", "app::", "APP", "a_p", "a%", "%", "*", "app\U0010ffff", "apq"]
        for name in names:
            self.memory(self.namespace + name).set_many({"k": name, "::k": name})
        assert self.memory(self.namespace + namespace).clear() == 2
        for name in names:
            assert self.memory(self.namespace + name).count() == (0 if name == namespace else 2), name

    def test_namespace_and_key_are_two_values(self) -> None:
        """("a::b", "c") is not ("a", "b::c"), by any of the usual separators."""
        for separator in ("::", ":", "/", "\\", "|", ".", "-", "_", " ", "%00", "%2F"):
            one, other = self.memory(self.namespace + "a" + separator + "b"), self.memory(self.namespace + "a")
            one.set("c", "one")
            assert other.get("b" + separator + "c") is None
            other.set("b" + separator + "c", "other")
            assert one.get("c") == "one"
            assert one.list_keys() == ["c"]
            other.delete("b" + separator + "c")
            assert one.get("c") == "one"

    def test_keys_and_sessions_never_collide(self) -> None:
        """An entry and a session of the same name know nothing of each other."""
        memory = self.memory()
        memory.set("same", "entry")
        memory.session("same").append(("user", "message"))
        assert memory.list_keys() == ["same"]
        assert memory.count() == 1
        assert memory.clear() == 1
        assert [message.content for message in memory.session("same").messages()] == ["message"]
        memory.set("same", "entry")
        assert memory.session("same").delete() is True
        assert memory.get("same") == "entry"

    def test_agents_are_apart_from_each_other_and_from_their_session(self) -> None:
        """A session's transcript and its agents' hold their own messages, and session and agent are two values."""
        memory = self.memory()
        memory.session("s").append(("user", "shared"))
        memory.session("s", agent="a").append(("user", "a's"))
        memory.session("s", agent="b").append(("user", "b's"))
        assert [message.content for message in memory.session("s").messages()] == ["shared"]
        assert [message.content for message in memory.session("s", agent="a").messages()] == ["a's"]
        assert memory.session("s", agent="a").clear() == 1
        assert memory.session("s", agent="b").count() == 1
        assert memory.session("s").count() == 1
        memory.session("x:y", agent="z").append(("user", "1"))
        assert memory.session("x", agent="y:z").count() == 0

    @_bad_names
    def test_what_cannot_be_a_name_is_refused(self, name: Any) -> None:
        """Every call that takes a name refuses the same ones, and nothing is written."""
        memory = self.memory()
        memory.set("k", 1)
        before = self.contents()
        with pytest.raises(InvalidName):
            Memory(name, store=self.subject)
        for call in (
            lambda: memory.set(name, 1),
            lambda: memory.get(name),
            lambda: memory.get_entry(name),
            lambda: memory.exists(name),
            lambda: memory.delete(name),
            lambda: memory.increment(name),
            lambda: memory.append(name, 1),
            lambda: memory.merge(name, {}),
            lambda: memory.update(name, lambda value: value),
            lambda: memory.set_many({"a": 1, name: 2} if isinstance(name, str) else {"a": 1, 5: 2}),  # type: ignore[dict-item]
            lambda: memory.get_many(["a", name]),
            lambda: memory.delete_many(["k", name]),
            lambda: memory.session(name).append(("user", "hi")),
            lambda: memory.delete_session(name),
        ):
            with pytest.raises(InvalidName):
                call()
        if name is not None:
            with pytest.raises(InvalidName):
                memory.session("s", agent=name)
            with pytest.raises(InvalidName):
                memory.set("k", 2, request_id=name)
            with pytest.raises(InvalidName):
                memory.session("s").append(("user", "hi"), request_id=name)
        assert self.contents() == before

    @pytest.mark.parametrize("prefix", ["a\0", "a\n", "\ud800", "x" * 513, None, 42, b"a", ["a"]], ids=repr)
    def test_a_prefix_that_no_key_can_have_is_refused(self, prefix: Any) -> None:
        """Asking for what cannot be is a mistake to be told of, and clears nothing."""
        memory = self.memory()
        memory.set("a", 1)
        for call in (memory.list_keys, memory.count, memory.clear, memory.iter_keys, memory.items):
            with pytest.raises(InvalidName):
                call(prefix)
        assert memory.get("a") == 1

    def test_dots_may_begin_a_key_so_they_are_prefixes(self) -> None:
        """ "." and ".." cannot be keys, but keys may start with them."""
        memory = self.memory()
        memory.set_many({".a": 1, "..b": 2, "c": 3})
        assert memory.list_keys(".") == ["..b", ".a"]
        assert memory.list_keys("..") == ["..b"]
        assert memory.clear("..") == 1
        assert memory.list_keys() == [".a", "c"]
