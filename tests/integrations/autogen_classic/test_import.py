"""Which distribution owns ``autogen``, and what happens where none does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from botwire.integrations.autogen_classic._owner import check_autogen, owners

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={name!r})
sys.meta_path.insert(0, Missing())
"""
TRY = """
import botwire
try:
    import botwire.integrations.autogen_classic
except botwire.MissingExtra as error:
    print(error, '|', error.name)
except ModuleNotFoundError as error:
    print('not ours:', error.name)
"""


def install(folder: Path, name: str, version: str) -> None:
    """The metadata of a distribution, which comes before what is installed."""
    (folder / f"{name}-{version}.dist-info").mkdir()
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")


ONLY = """
import importlib.metadata as metadata
found = metadata.version
def version(name):
    if name not in {names!r}:
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
"""


def run(code: str, path: Path) -> str:
    """What a program prints that has the packages of this environment, but of their metadata only those in ``path``."""
    names = [folder.name.partition("-")[0] for folder in path.glob("*.dist-info")]
    settings = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-W", "ignore", "-c", ONLY.format(names=names) + code]
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_distribution_that_owns_autogen_is_known():
    assert len(owners()) == 1
    assert owners()[0].split()[0] in ("autogen", "ag2", "pyautogen")


def test_without_autogen_the_error_says_what_to_install(tmp_path: Path):
    told = run(WITHOUT.format(name="autogen") + TRY, tmp_path)
    assert "not installed; install the classic line with: pip install 'autogen>=0.14' | autogen" in told


def test_where_only_a_new_ag2_is_the_error_points_to_its_adapter(tmp_path: Path):
    install(tmp_path, "ag2", "1.2.1")
    assert "ag2 1.2.1 no longer has it: use botwire.integrations.ag2" in run(WITHOUT.format(name="autogen") + TRY, tmp_path)


def test_where_only_the_new_pyautogen_is_the_error_points_to_agentchats_adapter(tmp_path: Path):
    install(tmp_path, "pyautogen", "0.10.0")
    told = run(WITHOUT.format(name="autogen") + TRY, tmp_path)
    assert "pyautogen 0.10.0 stands for autogen-agentchat: use botwire.integrations.autogen" in told


def test_a_package_of_that_name_that_is_not_whole_is_told_with_who_claims_it(tmp_path: Path):
    install(tmp_path, "ag2", "0.9.10")
    (tmp_path / "autogen").mkdir()  # as uninstalling one of two that overwrote each other may leave it
    (tmp_path / "autogen" / "__init__.py").touch()
    assert "not whole (claimed by: ag2 0.9.10): uninstall all that claim it" in run(TRY, tmp_path)


def test_what_autogen_itself_lacks_is_not_called_a_missing_autogen(tmp_path: Path):
    (tmp_path / "autogen").mkdir()
    (tmp_path / "autogen" / "__init__.py").write_text("import what_autogen_needs", "utf-8")
    assert run(TRY, tmp_path) == "not ours: what_autogen_needs\n"


def test_two_that_overwrite_each_other_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    for name in ("autogen", "ag2"):
        install(tmp_path, name, "0.14.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING, "botwire"):
        check_autogen()
    assert "autogen 0.14.0 and ag2 0.14.0" in caplog.text
    assert "overwrite each other" in caplog.text


def test_importing_botwire_imports_no_autogen(tmp_path: Path):
    assert run("import sys, botwire; print('autogen' in sys.modules)", tmp_path) == "False\n"
