"""Search: every word, any case, ranked, with snippets."""

from __future__ import annotations

import pytest

from botwire._errors import InvalidValue
from botwire.testing._base import ContractBase


class SearchContract(ContractBase):
    """What lexical search promises, over entries and over messages."""

    def _found(self, query: str, limit: int = 20) -> set[str]:
        return {hit.key for hit in self.memory().search(query, limit)}

    def test_every_word_must_be_there_in_any_case(self) -> None:
        """A hit has all words, in key or value, wherever and in whatever order and case."""
        self.memory().set_many(
            {
                "user-preferences": {"theme": "dark", "language": "Python"},
                "notes": ["The DARK side of", {"deep": {"deeper": "python programming"}}],
                "dark": "no snakes here",
                "python": 42,
                "empty": None,
            }
        )
        assert self._found("dark") == {"user-preferences", "notes", "dark"}
        assert self._found("PYTHON dark") == {"user-preferences", "notes"}
        assert self._found("dark python theme") == {"user-preferences"}
        assert self._found("python") == {"user-preferences", "notes", "python"}
        assert self._found("42") == {"python"}
        assert self._found("preferences, user!") == {"user-preferences"}
        assert self._found("absent") == set()
        assert self._found("dark absent") == set()

    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("Straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("Ünïcödé", "üNÏCÖDÉ"),
            ("\u212aelvin", "kelvin"),
            ("e\ufb03cient", "EFFICIENT"),
            ("МОСКВА", "москва"),
            ("東京タワー", "東京"),
            ("tab\tand\nlines", "lines"),
            ("with a lone surrogate \ud800 Straße", "strasse"),
        ],
    )
    def test_case_is_that_of_unicode(self, text: str, query: str) -> None:
        """Letters are compared by casefold, in values, in member names and in messages."""
        memory = self.memory()
        memory.set_many({"a": text, "b": {text: 1}, "c": "other"})
        assert self._found(query) == {"a", "b"}
        session = memory.session("s")
        session.append(("user", text), ("user", "other"))
        assert [hit.message.seq for hit in session.search(query)] == [1]

    def test_keys_are_searched_too(self) -> None:
        """A word may be in the key, also one whose case only Unicode knows."""
        self.memory().set_many({"Großstadt/Berlin": 1, "dorf": "Berlin"})
        assert self._found("GROSSSTADT berlin") == {"Großstadt/Berlin"}

    @pytest.mark.parametrize(
        "query", ["100%", "a_b", "it's", 'say "hi"', "back\\slash", "a*b?", "c++", "x' OR '1'='1", "-not", "NEAR(a b)"]
    )
    def test_a_query_is_words_and_no_language(self, query: str) -> None:
        """Signs that mean something to a database are separators here; an underscore belongs to its word."""
        self.memory().set_many({"same": query, "b": "axb 1", "unlike": "zzz"})
        assert "same" in self._found(query)
        assert "unlike" not in self._found(query)
        if query == "a_b":
            assert self._found(query) == {"same"}

    def test_better_matches_come_first(self) -> None:
        """A hit that has the word more often, whole, or in its key scores higher; scores fall from first to last."""
        memory = self.memory()
        memory.set_many(
            {
                "key-with-apple": "something",
                "whole": "an apple a day",
                "part": "a pineapple a day",
                "long": "an apple a day" + " and nothing else to say about it" * 100,
            }
        )
        hits = memory.search("apple")
        assert [hit.key for hit in hits] == ["key-with-apple", "whole", "part", "long"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_a_snippet_shows_the_place(self) -> None:
        """The snippet is a short piece of text around the match, in its own case."""
        memory = self.memory()
        memory.set("k", {"text": "before " * 100 + "the Needle lies here" + " after" * 100})
        (hit,) = memory.search("needle")
        assert "Needle" in hit.snippet
        assert len(hit.snippet) < 250
        assert hit.value == memory.get("k")
        assert hit.entry.version == 1

    def test_the_limit_is_kept_by_the_best(self) -> None:
        """The limit cuts the worst hits off; 0 is none."""
        memory = self.memory()
        memory.set_many({f"k{number:02}": "word " * number for number in range(1, 31)})
        best = [hit.key for hit in memory.search("word", 30)]
        assert len(best) == 30
        assert [hit.key for hit in memory.search("word", 5)] == best[:5]
        assert len(memory.search("word")) == 20
        assert memory.search("word", 0) == []

    @pytest.mark.parametrize("query", ["", "   ", "!?*", None, 42, ["word"]], ids=repr)
    def test_a_query_without_a_word_is_refused(self, query: object) -> None:
        """What has no word in it would find everything or nothing, so it is refused."""
        memory = self.memory()
        with pytest.raises(InvalidValue):
            memory.search(query)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidValue):
            memory.session("s").search(query)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize("limit", [-1, 1.5, "5", None, True], ids=repr)
    def test_a_limit_is_a_number(self, limit: object) -> None:
        """A limit that is none is refused."""
        with pytest.raises(InvalidValue, match="limit"):
            self.memory().search("word", limit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def test_search_stays_in_its_namespace(self) -> None:
        """Nothing of another namespace is found."""
        self.memory(self.namespace + "2").set("k", "word")
        self.memory(self.namespace + "2").session("s").append(("user", "word"))
        assert self.memory().search("word") == []
        assert self.session().search("word") == []

    def test_messages_are_searched_by_text_name_and_tools(self) -> None:
        """A message is found by its content, its parts, its speaker and what it calls; not by ids, times, roles or metadata."""
        session = self.session()
        session.append(
            {"role": "user", "content": "Where is the Harbour?"},
            {"role": "user", "content": [{"type": "text", "text": "a harbour, in parts"}]},
            {"role": "assistant", "content": None, "tool_calls": [_call("find_harbour", '{"city": "Hamburg"}')]},
            {"role": "user", "content": "x", "name": "harbourmaster"},
            {"role": "user", "content": "x", "id": "harbour-1"},
            {"role": "user", "content": "nothing of the kind"},
        )
        assert sorted(hit.message.seq or 0 for hit in session.search("HARBOUR")) == [1, 2, 3, 4]
        assert [hit.message.seq for hit in session.search("harbour hamburg")] == [3]
        assert session.search("user") == []

    def test_a_session_finds_its_own_messages(self) -> None:
        """The search of a session finds messages of that session and agent alone, and says where they are."""
        self.session("s").append(("user", "word in s"))
        self.session("s", agent="a").append(("user", "word of a"))
        self.session("t").append(("user", "word in t"))
        (hit,) = self.session("s").search("word")
        assert (hit.session_id, hit.agent, hit.message.content) == ("s", None, "word in s")
        assert "word in s" in hit.snippet
        (hit,) = self.session("s", agent="a").search("word")
        assert (hit.session_id, hit.agent, hit.message.content) == ("s", "a", "word of a")
        hits = self.subject.search_log(self.namespace, ["word"], 10)
        assert sorted((found.session, found.agent, found.row.seq) for found in hits) == [("s", "", 1), ("s", "a", 1), ("t", "", 1)]
        assert {found.agent for found in self.subject.search_log(self.namespace, ["word"], 10, "s")} == {"", "a"}

    def test_what_was_removed_is_not_found(self) -> None:
        """A search sees the present state: replaced, deleted, popped and cleared text is gone."""
        memory = self.memory()
        memory.set("k", "word")
        memory.set("k", "other")
        assert memory.search("word") == []
        session = memory.session("s")
        session.append(("user", "word"), ("user", "last word"))
        session.pop()
        assert [hit.message.seq for hit in session.search("word")] == [1]
        session.clear()
        assert session.search("word") == []


def _call(name: str, arguments: str) -> dict[str, object]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
