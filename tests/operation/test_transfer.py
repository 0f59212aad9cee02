"""Export and import over HTTP: all of a large namespace, in memory that does not grow with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botwire.server import serve_in_thread
from botwire.stores import Append, Batch, Set, open_store

PROGRAM = r"""
import re, sys
from botwire.cli import main
status = main(sys.argv[1:])
peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())  # what getrusage tells counts whoever started this process too
print(status, int(peak[1]) // 1024, file=sys.stderr)
"""


def measured(*arguments: str) -> tuple[int, int]:
    """The exit status of a command, and the most memory it had, in MiB."""
    ended = subprocess.run([sys.executable, "-P", "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=110)
    status, size = ended.stderr.splitlines()[-1].split()
    assert status == "0", ended.stderr
    return int(status), int(size)


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: memory is counted in other units elsewhere")
def test_thirty_megabytes_go_through_a_server_and_come_back_equal_in_little_memory(tmp_path: Path) -> None:
    store, other = open_store(f"sqlite://{tmp_path}/a.db?durability=normal"), open_store(f"sqlite://{tmp_path}/b.db?durability=normal")
    entry, message = '"' + "x" * 5_000 + '"', '{"role":"user","content":"' + "y" * 5_000 + '"}'
    for start in range(0, 3_000, 1_000):
        store.write([Batch("ns", tuple(Set(f"k{number:05}", entry) for number in range(start, start + 1_000)))])
        store.write([Batch("ns", (Append("long", "", (message,) * 1_000),))])
    file = str(tmp_path / "export.jsonl")
    with serve_in_thread(store) as url:
        _, exporting = measured("export", file, "--url", url)
    assert Path(file).stat().st_size > 30_000_000
    with serve_in_thread(other) as url:
        _, importing = measured("import", file, "--url", url)
    assert (exporting < 100, importing < 100) == (True, True), (exporting, importing)
    assert other.usage("ns") == store.usage("ns")
    assert other.read_log("ns", "long", "", last=1) == store.read_log("ns", "long", "", last=1)
    store.close()
    other.close()


def test_an_import_over_http_keeps_versions_and_times(tmp_path: Path, store: Any, url: str, botwire: Any) -> None:
    source = open_store(f"sqlite://{tmp_path}/a.db")
    source.write([Batch("ns", (Set("a", "1"), Set("a", "2"), Append("s", "writer", ('{"role":"user","content":"hi"}',))))])
    file = str(tmp_path / "export.jsonl")
    assert botwire("export", file, "--url", source.url).returncode == 0
    assert botwire("import", file, "--url", url, "--verify").returncode == 0
    assert store.scan("ns", "", None, 10) == source.scan("ns", "", None, 10)
    assert store.read_log("ns", "s", "writer") == source.read_log("ns", "s", "writer")
    source.close()
