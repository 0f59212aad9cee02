"""Where agentchat comes from, and what happens where it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={name!r})
sys.meta_path.insert(0, Missing())
import botwire
"""


def in_process(code: str) -> str:
    """What a program prints that begins with nothing imported."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_importing_botwire_loads_no_framework():
    frameworks = "('autogen_core', 'autogen_agentchat', 'autogen', 'ag2', 'agent_framework')"
    assert in_process(f"import sys, botwire\nprint([name for name in {frameworks} if name in sys.modules])") == "[]\n"


@pytest.mark.parametrize("name", ["autogen_core", "autogen_agentchat"])
def test_without_agentchat_the_error_says_what_to_install(name: str):
    code = WITHOUT.format(name=name) + (
        "try:\n    import botwire.integrations.autogen\nexcept botwire.MissingExtra as error:\n    print(error, '|', error.name)"
    )
    assert (
        f"pip install 'botwire[autogen]' (for agents of 'import autogen' there is botwire.integrations.autogen_classic) | {name}"
        in in_process(code)
    )


def test_what_agentchat_itself_lacks_is_not_called_missing_agentchat():
    code = WITHOUT.format(name="jsonref") + (
        "try:\n    import botwire.integrations.autogen\n"
        "except ModuleNotFoundError as error:\n    print(error.name, isinstance(error, botwire.MissingExtra))"
    )
    assert in_process(code) == "jsonref False\n"
