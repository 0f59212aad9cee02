"""pgbouncer on loopback: it deals out few connections, by the transaction."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engines.postgres import AS_ROOT, NOBODY, USER, free_port


@contextlib.contextmanager
def pgbouncer(program: str, target: int, *, connections: int = 2) -> Iterator[int]:
    """The port of a pgbouncer in transaction mode before the server at port ``target``."""
    folder, port = Path(tempfile.mkdtemp(prefix="botwire-tests-pgbouncer-")), free_port()
    (folder / "users").write_text(f'"{USER}" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={target} user={USER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"auth_type = any\nauth_file = {folder / 'users'}\npool_mode = transaction\ndefault_pool_size = {connections}\n"
        "max_client_conn = 200\nunix_socket_dir =\nserver_round_robin = 1\n"
    )
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if AS_ROOT else {}
    if AS_ROOT:
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([program, str(folder / "ini")], stdout=log, stderr=log, **who)
    try:
        _wait(process, port, folder / "log")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return
