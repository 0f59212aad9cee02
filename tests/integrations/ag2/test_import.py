"""Where AG2 comes from, and what happens where it does not."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={name!r})
sys.meta_path.insert(0, Missing())
import botwire
try:
    import botwire.integrations.ag2
except botwire.MissingExtra as error:
    print(error, '|', error.name)
except ModuleNotFoundError as error:
    print('not ours:', error.name)
"""


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_botwire_does_not_import_ag2():
    assert run("import sys, botwire; print('ag2' in sys.modules)") == "False\n"


def test_without_ag2_the_error_says_what_to_install():
    told = run(WITHOUT.format(name="ag2"))
    assert "install it with: pip install 'botwire[ag2]'" in told
    assert "there is botwire.integrations.autogen_classic | ag2" in told


def test_what_ag2_itself_lacks_is_not_called_a_missing_ag2():
    assert run(WITHOUT.format(name="fast_depends")) == "not ours: fast_depends\n"
