"""What a log gives back is what was added to it, however one value grew out of another; and keys sort as they must."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from botwire.integrations.langgraph import _keys, _pages
from botwire.integrations.langgraph._pages import Log, add

KINDS = st.sampled_from(["msgpack", "bytes"])
PIECES = st.lists(
    st.binary(min_size=0, max_size=9_000) | st.sampled_from([b"a" * 700, b"b" * 7_000, b"\xdc\x00\x05" + b"c" * 90]), max_size=5
)


class Pages:
    """The pages written so far, as a store's rows."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int):
        from botwire.stores import EntryRow

        first = 0 if after is None else int(after[len(prefix) :]) + 1
        numbers = sorted(number for number in self.rows if number >= first)[:limit]
        return [EntryRow(f"{prefix}{number:08d}", _pages.encode_page(self.rows[number]), 1, 0, 0, None) for number in numbers]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KINDS, PIECES, st.booleans(), st.booleans()), max_size=8))
def test_every_value_of_a_log_can_be_read_after_all_were_added(steps: list[tuple[str, list[bytes], bool, bool]]):
    log, store, last, values = Log(), Pages(), b"", []
    for kind, pieces, grows, tail_is_known in steps:
        data = last + b"".join(pieces) if grows else b"".join(pieces)[:4_000] + last[len(last) // 3 :] + b"".join(pieces)
        if not tail_is_known:
            log = Log(log.length, None if log.length % _pages.PAGE else b"", log.base)
        log, value, pages = add(log, kind, data)
        store.rows.update(pages)
        values.append((data, value))
        last = data

    for data, value in values:
        reader = _pages.Reader(store, "namespace", "prefix/")
        assert value.head + reader.read("channel", value.runs) == data


def test_adding_to_a_value_writes_only_the_last_page_and_what_is_new():
    log, _, pages = add(Log(), "msgpack", b"\xdc\x01\x00" + b"x" * 100_000)
    assert len(pages) == 17
    log, value, pages = add(log, "msgpack", b"\xdc\x01\x01" + b"x" * 100_000 + b"y" * 100)

    assert list(pages) == [16]
    assert value.runs == [[0, 100_100]]


def test_a_value_that_only_lost_its_beginning_writes_nothing():
    old = bytes(range(256)) * 40
    log, _, _ = add(Log(), "bytes", old)
    _, value, pages = add(log, "bytes", old[1_000:])

    assert (pages, value.runs) == ({}, [[1_000, 10_240]])


def test_a_value_in_too_many_pieces_is_written_whole_again():
    data = bytearray(range(256)) * 400
    log, value, _ = add(Log(), "bytes", bytes(data))
    most = 0
    for step in range(120):
        data[(step * 7_919) % len(data)] ^= 0xFF
        log, value, _ = add(log, "bytes", bytes(data))
        most = max(most, len(value.runs))

    assert 10 < most <= _pages.MOST_RUNS + 1


@given(st.lists(st.text(max_size=8) | st.text("ab~ \x1f\x7e\x7f", max_size=5), min_size=2, max_size=12, unique=True))
def test_keys_of_checkpoints_sort_from_the_greatest_id_to_the_least(ids: list[str]):
    assert sorted(ids, key=_keys.descending) == sorted(ids, reverse=True)
    assert not any(_keys.descending(a).startswith(_keys.descending(b)) for a in ids for b in ids if a != b)


@given(st.text(max_size=200))
def test_a_part_of_a_key_is_printable_and_short(name: str):
    part = _keys.part(name)
    assert part.isascii()
    assert part.isprintable()
    assert "/" not in part
    assert 0 < len(part) <= _keys.LONGEST_PART
