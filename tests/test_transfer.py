"""Export and import: nothing is lost between any two stores, nothing wrong goes unnoticed."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botwire import InvalidValue, Memory, StoreIncompatible
from botwire._transfer import Imported, compare_store, export_store, import_store
from botwire.stores import Append, Batch, EntryRow, LogInfo, LogRow, Pop, Restore, RestoreLog, Set, Store, Trim, open_store

HOSTILE_TEXTS = [
    "1e5",
    "1E400",  # no value a store writes, but a text that one may hold
    "-0.0",
    "0.10",
    "9" * 5_000,
    '"\\ud800 alone"',
    '"\x7f \x85 \u2028 \u202e \U0001f600"',
    '"\\u001b[31m"',
    '{"a":1,"a":2}',
    ' {"spaced" : [1 , 2]} ',
    "[1,\n 2]",
    "[1,\r\n 2]",
    "not JSON at all",
    "",
    "[" * 150 + "]" * 150,
    "[" * 300 + "]" * 300,
    '"' + "x" * 300_000 + '"',
]
HOSTILE_NAMES = ["a/b", "user:42", "..x", "whatsapp:+1 23?x#y", '"quoted"', "back\\slash", "\U0001f600", "ü", "a,b", "{}", "\u202e"]


def fill(store: Store) -> None:
    """Everything that a store can hold, in two namespaces."""
    for namespace in ("default", "other/one"):
        texts = [Set(f"text-{number:02}", text) for number, text in enumerate(HOSTILE_TEXTS)]
        names = [Set(name, json.dumps(name)) for name in HOSTILE_NAMES]
        more = [Set("text-00", "2e5"), Set("short-lived", "1", ttl=3_600_000_123)]
        store.write([Batch(namespace, (*texts, *names, *more))])
        with_ttl = Append("with ttl", "", ('{"role":"user","content":"hi"}',), 7_200_000_001)
        agents = [Append("shared", agent, tuple(f"[{seq}]" for seq in range(5))) for agent in ("", "writer", "critic")]
        bodies = Append("bodies", "", tuple(HOSTILE_TEXTS))
        store.write([Batch(namespace, (with_ttl, *agents, bodies))])
        trimmed = (Append("trimmed", "", ("1", "2", "3", "4")), Trim("trimmed", "", 2), Append("trimmed", "", ("5",)))
        store.write([Batch(namespace, trimmed)])
        empty = LogInfo("empty", "", "abc", 9, 0, 1_700_000_000_000_001, 1_700_000_000_000_002, None, None, '{"a":1e5}')
        gaps = empty._replace(session="gaps", epoch="def", metadata='{"b": [1]}')
        rows = (LogRow(3, '"three"', 5), LogRow(8, '"eight"', 6))
        store.write([Batch(namespace, (RestoreLog(empty, ()), RestoreLog(gaps, rows)))])


def content(store: Store) -> dict[object, object]:
    """All that a store holds."""
    found: dict[object, object] = {}
    for namespace in store.namespaces(None, 1_000):
        found |= {(namespace, row.key): row for row in store.scan(namespace, "", None, 10_000)}
        for log in store.scan_logs(namespace, None, 1_000):
            found[namespace, log.session, log.agent] = store.read_log(namespace, log.session, log.agent)
    return found


def exported(store: Store, **choice: object) -> bytes:
    file = io.BytesIO()
    export_store(store, file, **choice)  # type: ignore[arg-type]
    return file.getvalue()


def imported(store: Store, raw: bytes, **choice: object) -> Imported:
    return import_store(store, io.BytesIO(raw), **choice)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path):
    store = open_store(f"sqlite://{tmp_path / 'source.db'}")
    yield store
    store.close()


@pytest.fixture
def target(tmp_path: Path):
    store = open_store(f"sqlite://{tmp_path / 'target.db'}")
    yield store
    store.close()


@pytest.fixture
def ram():
    store = open_store("memory://")
    yield store
    store.close()


# ---------------------------------------------------------------------------------------- lossless


def test_nothing_is_lost_between_two_files(source: Store, target: Store) -> None:
    fill(source)
    raw = exported(source)
    done = imported(target, raw)
    assert done.ok
    assert content(target) == content(source)
    messages = 2 * (1 + 15 + len(HOSTILE_TEXTS) + 3 + 2)
    assert (done.entries, done.sessions, done.messages) == (len(HOSTILE_TEXTS + HOSTILE_NAMES) * 2 + 2, 16, messages)


def test_nothing_is_lost_between_a_file_and_ram(source: Store, ram: Store) -> None:
    fill(source)
    imported(ram, exported(source))
    assert content(ram) == content(source)


def test_an_export_of_an_import_is_the_same_export(source: Store, target: Store) -> None:
    fill(source)
    raw = exported(source)
    imported(target, raw)
    assert exported(target).splitlines()[1:-1] == raw.splitlines()[1:-1]


def test_nothing_is_lost_on_the_way_through_a_server(source: Store, target: Store, ram: Store, need) -> None:
    need.module("uvicorn")
    from botwire.server import serve_in_thread

    fill(source)
    for namespace in source.namespaces(None, 10):  # over the wire a text has to be JSON
        for number, text in enumerate(HOSTILE_TEXTS):
            if text in ("", "not JSON at all", "1E400") or text.startswith("[" * 300):
                source.write([Batch(namespace, (Set(f"text-{number:02}", "0"),))])
    for namespace in source.namespaces(None, 10):
        source.write([Batch(namespace, (Trim("bodies", "", 0),))])
    with serve_in_thread(ram, max_value_bytes=10_000_000) as url:
        served = open_store(url)
        done = imported(served, exported(source))
        assert done.ok
        assert content(ram) == content(source)
        imported(target, exported(served))
        served.close()
    assert content(target) == content(source)


def test_every_line_is_json_that_says_what_it_is(source: Store) -> None:
    fill(source)
    records = [json.loads(line, parse_int=len) for line in exported(source).split(b"\n")[:-1]]
    assert {record["type"] for record in records} == {"header", "entry", "session", "message", "end"}
    plan = next(record for record in records if record.get("key") == "text-08")
    assert plan["value"] == {"a": 1}  # the value itself, for jq; of two members of one name Python takes the last, "2", one digit long


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=50), st.text(max_size=200)))
def test_any_text_under_any_key_survives(values: dict[str, str]) -> None:
    values.pop(".", None)
    values.pop("..", None)
    first, second = open_store("memory://"), open_store("memory://")
    rows = [EntryRow(key, json.dumps(value, ensure_ascii=bool(len(value) % 2)), 7, 1, 2, None) for key, value in values.items()]
    storable = tuple(Restore(row) for row in rows if row.value.isascii() or row.value.encode("utf-8", "replace").decode() == row.value)
    first.write([Batch("default", storable)])
    imported(second, exported(first))
    assert content(second) == content(first)


def test_export_and_import_take_a_part(source: Store, target: Store) -> None:
    fill(source)
    imported(target, exported(source, namespaces=("default",), prefix="text-0"))
    assert {key[:7] for _, key in content(target)} == {f"text-0{n}" for n in range(10)}
    imported(target, exported(source, prefix="shared"), namespaces=("other/one",))
    assert [log.agent for log in target.scan_logs("other/one", None, 10)] == ["", "critic", "writer"]
    assert target.namespaces(None, 10) == ["default", "other/one"]


def test_large_values_come_in_small_pages(source: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    big = json.dumps("x" * 1_000_000)
    source.write([Batch("default", tuple(Set(f"k{number:03}", big) for number in range(60)))])
    asked: list[int] = []
    scan = source.scan
    monkeypatch.setattr(source, "scan", lambda *args: asked.append(args[3]) or scan(*args))
    assert exported(source).count(b"\n") == 62
    assert max(asked[1:]) <= 5


# ------------------------------------------------------------------------------------ what is there


def test_an_import_replaces_what_has_the_same_name_and_leaves_the_rest(source: Store, target: Store) -> None:
    Memory(store=source).set("a", "from the export")
    Memory(store=source).session("s").append(("user", "from the export"))
    here = Memory(store=target)
    here.set("a", "here")
    here.set("b", "here")
    here.session("s").append(("user", "here"))
    imported(target, exported(source))
    assert dict(here.items()) == {"a": "from the export", "b": "here"}
    assert [message.text for message in here.session("s").messages()] == ["from the export"]


def test_keep_leaves_everything_that_is_there(source: Store, target: Store) -> None:
    there, here = Memory(store=source), Memory(store=target)
    there.set_many({"a": "from the export", "c": "from the export"})
    there.session("s").append(("user", "from the export"))
    here.set("a", "here")
    here.session("s").append(("user", "here"))
    done = imported(target, exported(source), keep=True)
    assert dict(here.items()) == {"a": "here", "c": "from the export"}
    assert [message.text for message in here.session("s").messages()] == ["here"]
    assert (done.entries, done.kept) == (1, 2)


def test_keep_completes_a_session_that_is_the_same(source: Store, target: Store) -> None:
    there = Memory(store=source).session("s")
    there.append(("user", "one"))
    imported(target, exported(source))
    there.append(("user", "two"))
    imported(target, exported(source), keep=True)
    here = Memory(store=target).session("s")
    assert [message.text for message in here.messages()] == ["one", "two"]
    assert here.append(("user", "three")) == [3]


def test_a_session_that_went_on_after_its_import_can_be_imported_again(source: Store, target: Store) -> None:
    Memory(store=source).session("s").append(("user", "one"))
    raw = exported(source)
    imported(target, raw)
    here = Memory(store=target).session("s")
    here.append(("user", "two"))
    imported(target, raw)
    assert here.append(("user", "three")) == [3]
    assert [message.text for message in here.messages()] == ["one", "two", "three"]


def test_what_has_expired_since_does_not_remove_what_lives_now(source: Store, target: Store) -> None:
    now = time.time_ns() // 1_000
    line = exported(source)
    row = EntryRow("a", "1", 1, now - 10, now - 10, now + 3_600_000_000)
    info = LogInfo("s", "", "abc", 1, 0, now, now, 10, now + 3_600_000_000, "{}")
    source.write([Batch("default", (Restore(row), RestoreLog(info, (LogRow(1, "1", now),))))])
    line = exported(source).replace(b'"expires_at":"2', b'"expires_at":"1')  # a thousand years ago
    here = Memory(store=target)
    here.set("a", "lives")
    here.session("s").append(("user", "lives"))
    done = imported(target, line)
    assert (done.entries, done.messages, done.expired) == (0, 0, 3)
    assert here.get("a") == "lives"
    assert len(here.session("s")) == 1


# -------------------------------------------------------------------------------------- comparing


def test_comparing_finds_every_difference(source: Store, target: Store) -> None:
    fill(source)
    raw = exported(source)
    imported(target, raw)
    same = compare_store(target, io.BytesIO(raw))
    assert (same.different, same.compared) == (0, raw.count(b"\n") - 2)
    memory = Memory("default", store=target)
    memory.set("a/b", "changed")
    memory.delete("{}")
    target.write([Batch("default", (Pop("shared", "critic"),))])
    found = compare_store(target, io.BytesIO(raw))
    assert sorted(found.differences) == [
        "entry 'a/b' in namespace 'default'",
        "entry '{}' in namespace 'default'",
        "message 5 of session 'shared' (agent 'critic') in namespace 'default'",
        "session 'shared' (agent 'critic') in namespace 'default'",
    ]


# --------------------------------------------------------------------------------- files that are bad


@pytest.fixture
def raw(source: Store) -> bytes:
    memory = Memory(store=source)
    memory.set_many({f"key-{number:03}": number for number in range(20)})
    memory.session("s").append(*(("user", f"message {number}") for number in range(20)))
    return exported(source)


def test_a_bad_line_is_refused_with_its_number_and_nothing_of_its_batch_is_written(raw: bytes, target: Store) -> None:
    lines = raw.splitlines(keepends=True)
    lines[7] = lines[7].replace(b'"version":1', b'"version":"one"')
    with pytest.raises(InvalidValue, match="line 8: version must be an int"):
        imported(target, b"".join(lines))
    assert content(target) == {}


def test_batches_before_a_bad_line_stay_and_the_mended_file_can_be_imported_again(
    raw: bytes, source: Store, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botwire._transfer_import.MOST_ROWS", 5)
    lines = raw.splitlines(keepends=True)
    with pytest.raises(InvalidValue, match="line 9: the line is not JSON"):
        imported(target, b"".join([*lines[:8], b'{"type":"entry",\n', *lines[9:]]))
    assert Memory(store=target).list_keys() == [f"key-{number:03}" for number in range(5)]
    assert imported(target, raw).ok
    assert content(target) == content(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b'"key":"key-003"', b'"key":""'), "key must not be empty"),
        ((b'"key":"key-003"', b'"key":"a\\u0000b"'), "control character"),
        ((b'"key":"key-003"', b'"kei":"key-003"'), "the member 'key' is missing"),
        ((b'"value":3}', b'"value":NaN}'), "not JSON"),
        ((b'"namespace":"default","key":"key-003"', b'"namespace":7,"key":"key-003"'), "namespace must be a str"),
        ((b'"type":"entry","namespace":"default","key":"key-003"', b'"type":"entri","key":"key-003"'), "unknown type 'entri'"),
        ((b'"key":"key-003","version":1', b'"key":"key-003","version":' + b"1" * 5_000), "version"),
        ((b'"key":"key-003"', b'"key":"\xff"'), "not UTF-8"),
        ((b'"seq":3', b'"seq":99'), "message 99 of session 's', whose last one is 20"),
        ((b'"session":"s","agent":"","epoch":"', b'"session":"s","agent":"","epoch":"other'), "whose own line is not before it"),
    ],
)
def test_skip_bad_passes_over_a_bad_line_and_counts_it(raw: bytes, target: Store, change: tuple[bytes, bytes], message: str) -> None:
    head, _, tail = raw.rpartition(change[0])
    done = imported(target, head + change[1] + tail, skip_bad=True)
    assert done.bad == 1
    assert message in done.bad_lines[0]
    assert done.bad_lines[0].startswith("line ")
    assert done.entries + done.messages == 39
    assert not done.ok


def test_a_message_whose_session_line_is_bad_never_lands_in_another_session(raw: bytes, target: Store) -> None:
    lines = raw.splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith(b'{"type":"session"'))
    other = lines[place].replace(b'"session":"s"', b'"session":"r"')
    done = imported(target, b"".join([*lines[:place], other, b"garbage\n", *lines[place + 1 :]]), skip_bad=True)
    assert done.bad == 21
    assert len(Memory(store=target).session("r")) == 0


def test_a_file_that_was_cut_off_is_imported_as_far_as_it_goes_and_says_so(raw: bytes, target: Store) -> None:
    for cut in (len(raw) - 1, raw.rindex(b'{"type":"end"'), len(raw) // 2):
        done = imported(target, raw[:cut])
        if cut == len(raw) - 1:
            assert done.ok  # only the last line end is missing
        else:
            assert not done.ok
            assert "no end" in done.problems[0]
            assert done.entries == 20


def test_lost_and_changed_lines_are_noticed(raw: bytes, target: Store) -> None:
    lines = raw.splitlines(keepends=True)
    assert "lines were lost or added" in imported(target, b"".join(lines[:5] + lines[6:])).problems[0]
    changed = raw.replace(b'"key":"key-003","version":1', b'"key":"key-003","version":2')
    assert "checksum" in imported(target, changed).problems[0]
    with pytest.raises(InvalidValue, match="after the end"):
        imported(target, raw + lines[3])


@pytest.mark.parametrize("raw", [b"", b"hello\n", b'{"a":1}\n', b'{"type":"entry"}\n', b"\x00\xff", b"[]\n"])
def test_what_is_no_export_is_refused(target: Store, raw: bytes) -> None:
    with pytest.raises(InvalidValue, match="this is no export"):
        imported(target, raw, skip_bad=True)


def test_a_newer_format_is_refused(raw: bytes, target: Store) -> None:
    with pytest.raises(StoreIncompatible, match="format 2.*upgrade botwire"):
        imported(target, raw.replace(b'"format":1', b'"format":2', 1), skip_bad=True)
    assert content(target) == {}


def test_what_the_store_refuses_spoils_only_itself_when_bad_lines_are_skipped(source: Store, ram: Store, need) -> None:
    need.module("uvicorn")
    from botwire.server import serve_in_thread

    memory = Memory(store=source)
    memory.set_many({"a": 1, "large": "x" * 5_000, "z": 2})
    memory.session("s").append(("user", "small"), ("user", "x" * 5_000), ("user", "small too"))
    with serve_in_thread(ram, max_value_bytes=2_000) as url:
        served = open_store(url)
        with pytest.raises(InvalidValue, match="lines 2 to 8: the store refuses one of them.*nothing of these lines was written"):
            imported(served, exported(source))
        assert content(ram) == {}
        done = imported(served, exported(source), skip_bad=True)
        served.close()
    assert (done.entries, done.messages, done.bad) == (2, 2, 2)
    assert [message.seq for message in Memory(store=ram).session("s").messages()] == [1, 3]


# ---------------------------------------------------------------------------------------- resuming


def test_an_export_goes_on_from_any_place_at_which_it_was_cut(source: Store, target: Store, tmp_path: Path) -> None:
    fill(source)
    whole = exported(source)
    step = 997 if len(whole) > 100_000 else 1
    ends = [number for number in range(len(whole)) if whole[number : number + 1] == b"\n"]
    file = tmp_path / "export.jsonl"
    for cut in [0, 1, *ends[:-1:3], *(end + 1 for end in ends[:-1:2]), *range(100, len(whole), max(step, len(whole) // 40))]:
        file.write_bytes(whole[:cut])
        with file.open("r+b") as stream:
            done = export_store(source, stream, resume=True)
        result = file.read_bytes()
        assert result.endswith(b"\n")
        if cut:
            assert result.startswith(whole[: whole[:cut].rfind(b"\n") + 1])
        assert (done.entries, done.sessions) == (len(HOSTILE_TEXTS + HOSTILE_NAMES) * 2 + 2, 16)
    assert imported(target, result).ok
    assert content(target) == content(source)


def test_resuming_a_complete_export_changes_nothing(source: Store, tmp_path: Path) -> None:
    fill(source)
    file = tmp_path / "export.jsonl"
    file.write_bytes(exported(source))
    before = file.read_bytes()
    with file.open("r+b") as stream:
        assert export_store(source, stream, resume=True).already
    assert file.read_bytes() == before


@pytest.mark.parametrize("other", [{"prefix": "x"}, {"namespaces": ("default",)}])
def test_resuming_with_another_choice_is_refused(raw: bytes, source: Store, other: dict[str, object]) -> None:
    file = io.BytesIO(raw[:-5])
    with pytest.raises(InvalidValue, match="was begun with"):
        export_store(source, file, resume=True, **other)  # type: ignore[arg-type]
    assert file.getvalue() == raw[:-5]


def test_resuming_a_file_that_is_something_else_leaves_it_alone(source: Store) -> None:
    for content_before in (b"precious notes\nmore\n", b'{"type":"entry"}\n'):
        file = io.BytesIO(content_before)
        with pytest.raises(InvalidValue, match="cannot go on with this file"):
            export_store(source, file, resume=True)
        assert file.getvalue() == content_before


def test_a_session_that_was_cleared_between_the_halves_is_begun_anew(source: Store, target: Store) -> None:
    session = Memory(store=source).session("s")
    session.append(*(("user", f"old {number}") for number in range(10)))
    whole = exported(source)
    half = io.BytesIO(b"".join(whole.splitlines(keepends=True)[:6]))
    session.clear()
    session.append(("user", "new"))
    export_store(source, half, resume=True)
    done = imported(target, half.getvalue())
    assert done.ok
    assert [message.text for message in Memory(store=target).session("s").messages()] == ["new"]


def test_a_session_that_is_cleared_during_its_export_is_begun_anew(source: Store, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botwire._transfer_export.MOST_ROWS", 4)
    session = Memory(store=source).session("s")
    session.append(*(("user", f"old {number}") for number in range(40)))
    pages = 0
    read_log = source.read_log

    def clear_on_the_way(*args: object, **kwargs: object) -> object:
        nonlocal pages
        pages += 1
        if pages == 4:
            session.clear()
            session.append(("user", "new"))
        return read_log(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(source, "read_log", clear_on_the_way)
    raw = exported(source)
    assert raw.count(b'"type":"session"') == 2
    done = imported(target, raw)
    assert (done.ok, done.sessions) == (True, 1)
    assert [message.text for message in Memory(store=target).session("s").messages()] == ["new"]


def test_an_export_amid_writers_is_whole_and_fits_what_it_says(source: Store, target: Store) -> None:
    stop = threading.Event()

    def write(number: int) -> None:
        memory = Memory(store=source)
        session = memory.session(f"s{number}")
        for step in itertools.count(1):
            session.append(("user", f"{number} {step}"))
            memory.set(f"k{number}:{step % 50}", step)
            if step % 40 == 0:
                session.trim(10)
            if step % 100 == 0:
                session.clear()
            if stop.is_set():
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            raw = exported(source)
            assert imported(target, raw).ok
            assert compare_store(target, io.BytesIO(raw)).different == 0
    finally:
        stop.set()
        for writer in writers:
            writer.join()


WRITE_SLOWLY = """
import sys, time
from botwire._transfer import {name}
from botwire.stores import open_store
store, file = open_store(sys.argv[1]), open(sys.argv[2], {mode!r})
def tell(_):
    print("line", flush=True)
{call}
"""
EXPORT_SLOWLY = WRITE_SLOWLY.format(name="export_store", mode="r+b", call="export_store(store, file, on_line=tell)")
IMPORT_SLOWLY = WRITE_SLOWLY.format(name="import_store", mode="rb", call="import_store(store, file, on_line=tell)")


def kill_after(lines: int, code: str, *arguments: str) -> None:
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.kill()


def test_an_export_that_was_killed_goes_on(source: Store, target: Store, tmp_path: Path) -> None:
    Memory(store=source).set_many({f"key-{number:04}": "x" * 1_000 for number in range(2_000)})
    Memory(store=source).session("s").append(*(("user", f"message {number}") for number in range(2_000)))
    file = tmp_path / "export.jsonl"
    file.touch()
    kill_after(1_500, EXPORT_SLOWLY, source.url, str(file))
    size = file.stat().st_size
    assert size > 0
    assert not file.read_bytes().endswith(b"}\n") or b'"type":"end"' not in file.read_bytes()
    with file.open("r+b") as stream:
        done = export_store(source, stream, resume=True)
    assert (done.entries, done.messages) == (2_000, 2_000)
    assert imported(target, file.read_bytes()).ok
    assert content(target) == content(source)


def test_an_import_that_was_killed_is_run_again(source: Store, target: Store, tmp_path: Path) -> None:
    Memory(store=source).set_many({f"key-{number:04}": number for number in range(2_000)})
    Memory(store=source).session("s").append(*(("user", f"message {number}") for number in range(2_000)))
    file = tmp_path / "export.jsonl"
    file.write_bytes(exported(source))
    kill_after(2_600, IMPORT_SLOWLY, target.url, str(file))
    assert target.count("default") > 0
    assert content(target) != content(source)
    assert imported(target, file.read_bytes()).ok
    assert content(target) == content(source)
