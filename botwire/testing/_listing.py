"""Listing: by prefix, in code point order, a page at a time, all of it."""

from __future__ import annotations

import pytest

from botwire._errors import InvalidValue
from botwire.testing._base import ContractBase

MANY = 10_001


class ListingContract(ContractBase):
    """What list_keys, iter_keys, items, count and clear promise."""

    def test_keys_come_in_code_point_order(self) -> None:
        """Not by locale, not by UTF-16, and whatever the order of writing."""
        keys = ["\U00010000", "\uffff", "\ue000", "\ud7ff", "é", "z", "a", "aa", "B", "A", "10", "9", "_", "a b", "a/b", "ab"]
        memory = self.memory()
        for key in keys:
            memory.set(key, 1)
        assert memory.list_keys() == sorted(keys)
        assert list(memory.iter_keys(page_size=1)) == sorted(keys)
        assert [key for key, _ in memory.items(page_size=3)] == sorted(keys)

    def test_a_prefix_takes_what_starts_with_it_and_nothing_else(self) -> None:
        """A prefix is compared letter by letter: case, pattern characters and neighbours count as they are."""
        keys = [
            "/user/1",
            "/user/10",
            "/user/2",
            "/User/1",
            "user",
            "u_er",
            "u%er",
            "u*er",
            "uxer",
            "[a]",
            "a",
            "é",
            "e\u0301",
            "\U0010ffff",
            "\U0010ffff\U0010ffff",
        ]
        memory = self.memory()
        memory.set_many(dict.fromkeys(keys, 1))
        for prefix in [
            "",
            "/user/1",
            "/user/",
            "/",
            "u",
            "u_",
            "u%",
            "[",
            "[a",
            "e",
            "é",
            "\U0010ffff",
            "\U0010ffff\U0010ffff",
            "none",
            "A",
        ]:
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert list(memory.iter_keys(prefix)) == expected, prefix
            assert [key for key, _ in memory.items(prefix, page_size=1)] == expected, prefix
            assert memory.count(prefix) == len(expected), prefix
            assert memory.list_keys(prefix) == expected, prefix
        assert list(memory.iter_keys("u*")) == ["u*er"]

    @pytest.mark.parametrize("last", ["\ud7ff", "\U0010ffff", "\x7e", "\uffff"])
    def test_a_prefix_that_ends_where_code_points_have_a_gap(self, last: str) -> None:
        """The key after the last one with a prefix is found right, also before the surrogates and at the very end."""
        inside = ["p" + last, "p" + last + "x", "p" + last + "\U0010ffff"]
        outside = ["p", "o\U0010ffff", "q", "p\x20", "p" + ("\ue000" if last == "\ud7ff" else "\x21")]
        memory = self.memory()
        memory.set_many(dict.fromkeys(inside + outside, 1))
        assert list(memory.iter_keys("p" + last)) == sorted(inside)
        assert memory.clear("p" + last) == len(inside)
        assert memory.list_keys() == sorted(outside)

    def test_clear_takes_only_its_prefix(self) -> None:
        """clear(prefix) removes what starts with it, tells how many, and spares neighbours, sessions and the rest."""
        memory = self.memory()
        memory.set_many(dict.fromkeys(["/user/1", "/user/10", "/user/2", "/users", "x"], 1))
        memory.session("/user/1").append(("user", "stays"))
        assert memory.clear("/user/1") == 2
        assert memory.list_keys() == ["/user/2", "/users", "x"]
        assert memory.clear("none") == 0
        assert memory.clear() == 3
        assert memory.clear() == 0
        assert memory.session("/user/1").count() == 1

    def test_ten_thousand_and_one_keys_are_listed(self) -> None:
        """No silent cap: all keys are listed, counted, paged through and cleared."""
        memory = self.memory()
        keys = [f"key-{index:05}" for index in range(MANY)]
        for start in range(0, MANY, 1_000):
            memory.set_many(dict.fromkeys(keys[start : start + 1_000], 1))
        assert memory.list_keys() == keys
        assert list(memory.iter_keys("key-", page_size=777)) == keys
        assert sum(1 for _ in memory.items()) == MANY
        assert memory.count() == MANY
        assert self.subject.scan_keys(self.namespace, "", None, MANY + 5) == keys
        assert memory.clear() == MANY

    def test_pages_go_on_after_the_last_key_seen(self) -> None:
        """A key that is there all the while is seen once, whatever others write and remove meanwhile."""
        memory = self.memory()
        lasting = [f"m{index:02}" for index in range(20)]
        memory.set_many(dict.fromkeys(lasting, 1))
        seen: list[str] = []
        for count, key in enumerate(memory.iter_keys(page_size=3)):
            seen.append(key)
            memory.set(f"a{count:02}", "before the place reached")
            memory.set(key + "x", "after the place reached")
            if key in lasting:
                memory.set(key, "again")
                memory.delete(f"a{count - 1:02}")
            assert count < 100, "the listing follows its own writes"
        assert [key for key in seen if key in lasting] == lasting
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen)

    def test_a_key_removed_under_the_cursor_stops_nothing(self) -> None:
        """The key that a page ended with may be gone when the next page is asked for."""
        memory = self.memory()
        memory.set_many(dict.fromkeys("abcdef", 1))
        seen: list[str] = []
        for key in memory.iter_keys(page_size=2):
            memory.delete(key)
            seen.append(key)
        assert seen == list("abcdef")

    @pytest.mark.parametrize("size", [0, -1, 1.0, "10", None, True])
    def test_a_page_has_at_least_one_row(self, size: object) -> None:
        """A page size that is none is refused at the call, not at the first row."""
        memory = self.memory()
        with pytest.raises(InvalidValue, match="page_size"):
            memory.iter_keys(page_size=size)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidValue, match="page_size"):
            memory.items(page_size=size)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def test_namespaces_are_those_that_hold_anything(self) -> None:
        """A namespace is listed while it has an entry or a session, in code point order."""
        names = [self.namespace + name for name in ("b", "a", "é", "B")]
        self.memory(names[0]).set("k", 1)
        self.memory(names[1]).session("s").append(("user", "hi"))
        self.memory(names[2]).session("s").set_metadata({"a": 1})
        self.memory(names[3]).set("k", 1)
        assert self._own_namespaces() == sorted(names)
        self.memory(names[0]).delete("k")
        self.memory(names[1]).delete_session("s")
        assert self._own_namespaces() == sorted(names[2:])

    def _own_namespaces(self) -> list[str]:
        return [name for name in self.memory().namespaces() if name.startswith(self.namespace)]

    def test_pages_of_the_store_itself(self) -> None:
        """scan, scan_keys, namespaces and scan_logs give the first so many after a place."""
        memory = self.memory()
        memory.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
        assert self.subject.scan_keys(self.namespace, "", None, 2) == ["a", "b"]
        assert self.subject.scan_keys(self.namespace, "", "b", 5) == ["c", "d"]
        assert self.subject.scan_keys(self.namespace, "", "bb", 1) == ["c"]
        assert self.subject.scan_keys(self.namespace, "c", "a", 5) == ["c"]
        assert self.subject.scan_keys(self.namespace, "", "d", 5) == []
        assert [row.value for row in self.subject.scan(self.namespace, "", "a", 2)] == ["2", "3"]
        for name, agent in (("s", None), ("s", "x"), ("t", None)):
            memory.session(name, agent=agent).append(("user", "hi"))
        pages = [self.subject.scan_logs(self.namespace, after, 2) for after in (None, ("s", ""), ("s", "x"), ("t", ""))]
        assert [[(info.session, info.agent) for info in page] for page in pages] == [
            [("s", ""), ("s", "x")],
            [("s", "x"), ("t", "")],
            [("t", "")],
            [],
        ]
