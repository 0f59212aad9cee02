"""Without an optional package: an error that is botwire's and has the command that installs it; the rest works."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""

CATCH = """
import json
import botwire
try:
    import {module}
except botwire.MissingExtra as error:
    print(json.dumps([str(error), error.name, type(error.__cause__).__name__, isinstance(error, ImportError)]))
"""


def run_without(packages: list[str], code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT.format(packages=packages) + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_the_server_without_its_extra_says_what_to_install(package: str):
    ended = run_without([package], CATCH.format(module="botwire.server"))

    assert ended.returncode == 0, ended.stderr
    message, name, cause, is_import_error = json.loads(ended.stdout)
    assert "pip install 'botwire[server]'" in message
    assert (name, cause, is_import_error) == (package, "ModuleNotFoundError", True)


@pytest.mark.parametrize("package", ["psycopg", "psycopg_pool"])
def test_a_postgresql_url_without_its_extra_says_what_to_install(package: str):
    code = CATCH.format(module="botwire").replace(
        "    import botwire\n", "    botwire.Memory(url='postgresql://me@127.0.0.1/x').get('k')\n"
    )
    ended = run_without([package], code)

    assert ended.returncode == 0, ended.stderr
    message, name, cause, is_import_error = json.loads(ended.stdout)
    assert "pip install 'botwire[postgres]'" in message
    assert (name, cause, is_import_error) == (package, "ModuleNotFoundError", True)


def test_the_contract_without_pytest_says_what_to_install():
    ended = run_without(["pytest"], CATCH.format(module="botwire.testing"))

    assert ended.returncode == 0, ended.stderr
    message, name, cause, is_import_error = json.loads(ended.stdout)
    assert "pip install pytest" in message
    assert (name, cause, is_import_error) == ("pytest", "ModuleNotFoundError", True)


def test_a_dependency_that_is_broken_inside_is_not_called_missing():
    ended = run_without(["anyio"], "import starlette.requests, botwire.server")  # starlette itself is there

    assert ended.returncode != 0
    assert "No module named 'anyio'" in ended.stderr
    assert "MissingExtra" not in ended.stderr


def test_botwire_serve_without_its_extra_says_what_to_install_and_shows_no_traceback():
    ended = run_without(["starlette"], "import sys\nfrom botwire.cli import main\nsys.exit(main(['serve', '--port', '0']))")

    assert ended.returncode not in (0, 1)
    assert "pip install 'botwire[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_memory_works_without_any_extra():
    code = "from botwire import Memory\nmemory = Memory(url='memory://')\nmemory.set('key', [1])\nassert memory.get('key') == [1]"

    assert run_without(["starlette", "uvicorn", "httptools", "uvloop", "pytest"], code).returncode == 0
