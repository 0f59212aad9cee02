"""docs/postgres.md does what it says."""

from __future__ import annotations

import re
import subprocess
import sys

URL = "postgresql://me:secret@db.example.com/agents"


def blocks(root, kind):
    text = (root / "docs" / "postgres.md").read_text(encoding="utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_code_runs(root, url):
    code = "".join(blocks(root, "python"))
    assert URL in code
    done = subprocess.run([sys.executable, "-W", "error", "-c", code.replace(URL, url)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_sql_runs(root, server, open_store, database):
    store = open_store(server.url(database, partitions="2"))
    store.get("ns", "k")
    statements = [line for block in blocks(root, "sql") for line in block.splitlines() if line and not line.startswith("--")]
    assert len(statements) == 3
    try:
        assert [server.execute(statement, database=database) for statement in statements][1:] == [[], [("entry_0",)]]
    finally:
        server.execute("ALTER SYSTEM RESET synchronous_commit")


def test_the_doctor_names_what_endangers_data(root, url):
    (command,) = [block.strip() for block in blocks(root, "sh") if "doctor" in block]
    words = command.replace(URL, url).split()
    done = subprocess.run([sys.executable, "-m", "botwire", *words[1:]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1  # the tests' server waits for no disk
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert name in done.stdout
    assert "PROBLEM" in done.stdout
