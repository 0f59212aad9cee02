"""Every block of docs/redis.md does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from engines.valkey_cluster import ValkeyCluster

from botwire import Memory, Unauthorized

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_SNIPPET = Path(__file__).parent.parent / "run_snippet.py"


@pytest.fixture(scope="module")
def blocks(root):
    page = root / "docs" / "redis.md"
    if not page.exists():
        pytest.skip("not applicable: the documents are in the repository, not in the source distribution")
    return [(language, code) for language, code in BLOCK.findall(page.read_text(encoding="utf-8"))]


def run_python(code, tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, str(RUN_SNIPPET), str(file), "redis.md", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_blocks_for_one_server(blocks, own, tmp_path):
    server = own()
    for language, written in blocks:
        code = written.replace("localhost:6379", f"127.0.0.1:{server.port}")
        if language == "python" and "redis+cluster" not in code:
            run_python(code, tmp_path)
        elif language == "console":
            command, *expected = code.removeprefix("$ ").splitlines()
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "300"}
            done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=environment)
            pattern = ".*".join(re.escape(part) for part in "\n".join(expected).split("..."))
            assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), done.stdout + done.stderr


def test_the_block_for_a_cluster(blocks, tmp_path):
    (code,) = [code for language, code in blocks if "redis+cluster" in code and language == "python"]
    with ValkeyCluster(tmp_path / "cluster", replicas=0) as cluster:
        first, second = (f"127.0.0.1:{node.port}" for node in cluster.nodes[:2])
        run_python(code.replace("localhost:7000", first).replace("localhost:7001", second), tmp_path)


def test_the_user_of_the_page_may_do_all_that_is_needed_and_no_more(blocks, own, open_at):
    server = own()
    (line,) = [code.strip() for language, code in blocks if language == "text"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *line.split()[1:])
        client.set("other", 1)
    memory = Memory("n", store=open_at(f"redis://botwire:password@127.0.0.1:{server.port}"))
    memory.set("k", 1, ttl=100, request_id="r")
    memory.session("s").append(("user", "hi"))
    memory.session("s").pop()
    listener = memory.store.listen("n")
    memory.delete("k")
    memory.delete_session("s")
    assert listener.wait(5) is not None
    listener.close()
    assert memory.namespaces() == []
    with pytest.raises(Unauthorized):
        Memory("n", store=open_at(f"redis://botwire:password@127.0.0.1:{server.port}?prefix=other:")).set("k", 1)


def test_the_extra_of_the_page_is_there(root):
    assert re.search(r"^redis = \[$", (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
