"""Where CrewAI comes from, and what happens where it does not."""

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
"""


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_botwire_does_not_import_crewai():
    assert run("import sys, botwire; print('crewai' in sys.modules, 'numpy' in sys.modules)") == "False False\n"


def test_without_crewai_the_error_says_what_to_install():
    code = WITHOUT.format(name="crewai") + (
        "import botwire\ntry:\n    from botwire.integrations.crewai import BotWireStorage\n"
        "except botwire.MissingExtra as error:\n    print(error, '|', error.name)"
    )
    assert "pip install 'botwire[crewai]' | crewai" in run(code)


def test_what_crewai_itself_lacks_is_not_called_missing_crewai():
    code = WITHOUT.format(name="openai") + (
        "import botwire\ntry:\n    import botwire.integrations.crewai\n"
        "except ModuleNotFoundError as error:\n    print(error.name, isinstance(error, botwire.MissingExtra))"
    )
    assert run(code) in ("openai False\n", "")  # CrewAI may do without it


def test_every_public_name_is_there_and_no_other():
    from botwire.integrations import crewai

    for name in crewai.__all__:
        assert getattr(crewai, name).__module__.startswith("botwire.integrations.crewai")
    assert set(crewai.__all__) == set(crewai._LATE)
    assert set(crewai.__all__) <= set(dir(crewai))
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        crewai.Missing  # noqa: B018 - asking is what fails
