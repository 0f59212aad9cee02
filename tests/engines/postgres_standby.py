"""A PostgreSQL primary with a synchronous standby, on loopback.

with replicated() as pair:
    store = PostgresStore(pair.url())     # names both servers; libpq looks for the one that takes writes
    pair.primary.kill()
    pair.promote()
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.postgres import USER, Postgres, programs, run_as_user

_STREAMING = {"wal_level": "replica", "max_wal_senders": "8", "wal_keep_size": "256MB", "hot_standby": "on"}
_DURABLE_ENOUGH = {"synchronous_commit": "on", "fsync": "off", "full_page_writes": "off"}  # processes are killed here, not machines


class Pair:
    """Two servers. A commit on the primary is answered when the standby has it, too."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary = primary
        self.standby = standby

    def url(self, database: str = "postgres", **options: str) -> str:
        """A URL of both servers."""
        given = {"target_session_attrs": "read-write", "connect_timeout": "2", **options}
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return f"postgresql://{USER}@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/{database}?{query}"

    def is_synchronous(self) -> bool:
        """Whether the primary waits for the standby now."""
        return self.primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") != []

    def wait_synchronous(self, seconds: float = 30) -> None:
        """Until it does."""
        _until(self.is_synchronous, seconds)

    def wait_replayed(self, seconds: float = 30) -> None:
        """Until the standby shows what it has received by now: it keeps that first, which is what a commit waits for."""
        ((received,),) = self.standby.execute("SELECT pg_last_wal_receive_lsn()")
        _until(lambda: self.standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (received,)) == [(True,)], seconds)

    def promote(self, seconds: float = 30) -> None:
        """Make the standby a primary that waits for nobody; returns when it takes writes."""
        # To wait in the statement would keep its snapshot, which can be in the way of what is yet to be replayed.
        self.standby.execute("SELECT pg_promote(false)")
        _until(lambda: self.standby.execute("SELECT pg_is_in_recovery()") == [(False,)], seconds)

    def freeze_standby(self) -> None:
        """Let the standby go silent, as one that was cut off: all its processes stop where they are."""
        self._signal_standby(signal.SIGSTOP)

    def thaw_standby(self) -> None:
        """Let it go on."""
        self._signal_standby(signal.SIGCONT)

    def _signal_standby(self, number: signal.Signals) -> None:
        assert self.standby.process is not None
        group = self.standby.process.pid
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ProcessLookupError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == group:  # each child has a session of its own
                    os.kill(int(folder.name), number)
        os.kill(group, number)


def _until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not come about within {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def replicated(*, synchronous: bool = True, settings: dict[str, str] | None = None) -> Iterator[Pair]:
    """A primary and a standby that has all of it and is waited for; both are gone afterwards."""
    given = {**_DURABLE_ENOUGH, **_STREAMING, **(settings or {})}
    primary, standby = Postgres(settings=given), Postgres(settings=given)
    try:
        primary.create().start()
        source = f"host=127.0.0.1 port={primary.port} user={USER}"
        run_as_user([programs() / "pg_basebackup", "-D", standby.data, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"])
        standby.start()
        _until(lambda: primary.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'") != [], 30)
        pair = Pair(primary, standby)
        if synchronous:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
            pair.wait_synchronous()
        yield pair
    finally:
        standby.remove()
        primary.remove()
