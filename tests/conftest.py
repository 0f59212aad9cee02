"""What holds for every test: nobody's real memory is touched, nothing but loopback is called, no skip goes unseen in CI.

Tests that measure time carry ``@pytest.mark.alone``: while one runs, no other worker of the run has a test going.
A test skips what can never run on this platform or store with a reason that begins with ``not applicable:``; every other skip says
that something is not installed, and is a failure where ``CI`` is set.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

try:
    import fcntl
except ModuleNotFoundError:  # Windows: run without -n there
    fcntl = None

pytest.register_assert_rewrite("botwire.testing")

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what it runs in the background, and all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

# ------------------------------------------------------------------------- nobody's real memory

_HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")


def _point_homes_at(folder: Path, set_variable: Any) -> None:
    for name in _HOMES:
        home = folder if name in ("HOME", "USERPROFILE") else folder / name.lower()
        home.mkdir(parents=True, exist_ok=True)
        set_variable(name, str(home))


def pytest_configure(config: pytest.Config) -> None:
    """Before any fixture, also one of a whole session: homes in a temporary folder, nothing from the caller's settings."""
    kept = ("BOTWIRE_TEST_", "BOTWIRE_ENV")  # of the latter, the adapters' tests read whose environment this is
    for name in [name for name in os.environ if name.startswith("BOTWIRE_") and not name.startswith(kept)]:
        del os.environ[name]
    os.environ.pop("PYTHONUNBUFFERED", None)  # what a program forgets to flush, its reader at a pipe's end waits for
    home = tempfile.mkdtemp(prefix="botwire-tests-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    _point_homes_at(Path(home), os.environ.__setitem__)
    # How long an example takes says more about the machine than about the code.
    hypothesis.settings.register_profile("botwire", hypothesis.settings.get_profile("ci" if IN_CI else "default"), deadline=None)
    hypothesis.settings.load_profile("botwire")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A default store of its own for every test."""
    _point_homes_at(tmp_path_factory.mktemp("home"), monkeypatch.setenv)
    yield
    _close_default_store()


def _close_default_store() -> None:
    """Stores are shared by URL within a process: the next test's default URL means another file."""
    source = sys.modules.get("botwire._source")
    if source is None:
        return
    for key in [key for key in source._stores if key[0] == "sqlite://"]:
        source._stores.pop(key).store.close()


# --------------------------------------------------------------------------------- only loopback


def _refuse_strangers(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = str(cast("tuple[Any, ...]", arguments[1])[0])
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise ConnectionRefusedError(f"a test tried to connect to {host!r}: tests use loopback only")


sys.addaudithook(_refuse_strangers)

# ---------------------------------------------------------------------------- alone on the machine


def _lock_path(config: pytest.Config, name: str) -> str | None:
    worker = getattr(config, "workerinput", None)
    return None if worker is None or fcntl is None else str(Path(tempfile.gettempdir(), f"botwire-tests-{worker['testrunuid']}.{name}"))


@contextmanager
def _held(path: str, *, shared: bool) -> Iterator[None]:
    assert fcntl is not None
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-timeout's, so that waiting does not count
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    room, door = _lock_path(item.config, "room"), _lock_path(item.config, "door")
    if room is None or door is None:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with _held(door, shared=False):  # whoever waits for the room holds the door, so that others cannot starve it
        hold = _held(room, shared=not alone)
        hold.__enter__()
    try:
        return (yield)
    finally:
        hold.__exit__(None, None, None)


# ------------------------------------------------------------------------------ no skip in silence


def _fail_if_skipped(report: Any) -> None:
    if not IN_CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(cast("tuple[Any, ...]", report.longrepr)[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith("not applicable:"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped where CI is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


class Need:
    """Skips a test, with the reason, where something that it uses is not installed."""

    def command(self, name: str) -> str:
        """The path of a program."""
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        return path

    def module(self, name: str) -> Any:
        """An importable module."""
        return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(scope="session")
def need() -> Need:
    return Need()


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


# ------------------------------------------------------------------------------- figures, to be seen


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests recorded as ``figure``, whichever process ran them."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = sorted({str(value) for report in reports for name, value in report.user_properties if name == "figure"})
    for figure in figures:
        terminalreporter.write_line(f"figure: {figure}")
