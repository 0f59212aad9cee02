"""What ``import botwire`` and ``Memory(...)`` may cost, by what they load and touch. Times are in benchmarks/."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

HEAVY = {"asyncio", "concurrent.futures", "ctypes", "email", "http", "multiprocessing", "socket", "sqlite3", "ssl", "unittest"}
"""Of the standard library, what takes its time, or what a library that only keeps a file has no business with."""


def fresh_process(code: str) -> Any:
    """What code prints as JSON in a new interpreter."""
    answer = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\nbefore = set(sys.modules)\n{statement}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    return set(fresh_process(code))


def test_import_botwire_loads_nothing_but_itself_and_the_standard_library():
    outside = {name.partition(".")[0] for name in modules_loaded_by("import botwire")} - sys.stdlib_module_names - {"botwire"}

    assert outside == set()


def test_import_botwire_loads_no_heavy_part_of_the_standard_library():
    assert modules_loaded_by("import botwire") & HEAVY == set()


def test_the_command_line_and_the_server_are_loaded_only_when_asked_for():
    loaded = modules_loaded_by("import botwire")

    assert not [name for name in loaded if name.startswith(("botwire.cli", "botwire.server", "botwire.integrations", "botwire.testing"))]
    assert not [name for name in loaded if name.startswith(("botwire.stores.sqlite", "botwire.stores.http"))]


def test_a_memory_and_a_session_do_no_io():
    code = """
import json, sys
import botwire
botwire.Memory("warm").session("up")
events = []
sys.addaudithook(lambda event, arguments: events.append(event))
memory = botwire.Memory("agent", url="http://127.0.0.1:1")
memory.session("user-42", agent="writer", ttl=60)
botwire.Memory("agent")
seen = [event for event in events if event.split(".")[0] in ("open", "os", "socket", "sqlite3", "import", "subprocess")]
print(json.dumps(seen))
"""

    assert fresh_process(code) == []


def test_a_local_memory_never_loads_the_http_client():
    loaded = modules_loaded_by(
        "import botwire; m = botwire.Memory(url='memory://'); m.set('k', 1); m.session('s').append('hi', role='user')"
    )

    assert "apsw" in loaded
    assert loaded & {"httpx", "pydantic", "starlette", "uvicorn", "typer", "rich"} == set()
