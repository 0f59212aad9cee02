"""``demo``: what botwire is for, shown with real processes that are really killed."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import typer

from botwire.cli import _exit
from botwire.cli._demo_processes import DemoFailed, Processes, Watch, Worker
from botwire.cli._options import Options, command
from botwire.cli._output import Column, complain, console, out, out_json, out_table, plural, stdout_is_terminal, styled
from botwire.cli._store import server_is_installed

WRITES = 60
"""Acknowledged writes after which a process is killed."""
WRITERS = 4
APPENDS = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "demo", without=("url", "token", "namespace", "timeout"))(demo)


@dataclass
class Step:
    """One thing that was shown: what was acknowledged, and what of it another process found."""

    name: str
    store: str
    acknowledged: int
    found: int
    twice: int
    gaps: int
    seconds: float

    @property
    def lost(self) -> int:
        """Acknowledged writes that are not there: the number that must be zero."""
        return self.acknowledged - self.found

    @property
    def ok(self) -> bool:
        """Whether all is as promised."""
        return self.acknowledged > 0 and self.lost == 0 and self.twice == 0 and self.gaps == 0


Tell = Callable[[str], None]


def demo(options: Options) -> int:
    """Show that memory survives: processes that are killed while they write, many writers at once, a server that is killed.

    Takes less than a minute, needs no network and no key, and works on a temporary store: nothing of yours is touched.
    Exits with 1 if anything that was acknowledged is lost.

        botwire demo
        botwire demo --json | jq .ok
    """
    watch, steps = Watch(), list[Step]()
    with_server = server_is_installed()
    tell = _quiet if options.json else _tell
    _say(options, "A temporary store; nothing of yours is touched. Every process below is a real one.")
    with tempfile.TemporaryDirectory(prefix="botwire-demo-") as folder, Processes() as processes:
        for title, show in _shows(Path(folder), processes, with_server):
            _say(options, f"\n{title}")
            try:
                with _working(options):
                    steps.append(show(tell))
            except DemoFailed as error:
                complain(str(error), "demo", as_json=options.json)
                return _exit.PROBLEM
            _say(options, f"  {_verdict(steps[-1])}")
    ok = all(step.ok for step in steps)
    if options.json:
        records = [{**asdict(step), "lost": step.lost, "ok": step.ok} for step in steps]
        out_json({"ok": ok, "seconds": watch.seconds, "server": with_server, "steps": records})
    else:
        _summary(steps, ok, watch.seconds, with_server)
    return _exit.OK if ok else _exit.PROBLEM


def _shows(folder: Path, processes: Processes, with_server: bool) -> Iterator[tuple[str, Callable[[Tell], Step]]]:
    url = f"sqlite://{(folder / 'memory.db').as_posix()}"
    yield "1. A process is killed in the middle of writing", lambda tell: crash(processes, url, tell)
    yield f"2. {WRITERS} processes append to one session at once", lambda tell: crowd(processes, url, "file", tell)
    if not with_server:
        return
    served = f"sqlite://{(folder / 'served.db').as_posix()}"
    server = Server(processes, served)
    yield "3. The same code with a server's URL; the server is killed too", lambda tell: server_crash(processes, server, tell)
    yield f"4. {WRITERS} processes append through the server", lambda tell: crowd(processes, server.url, "server", tell)


# ------------------------------------------------------------------------------------- what is shown


def crash(processes: Processes, url: str, tell: Tell) -> Step:
    """One process is killed while it converses; another one goes on."""
    watch = Watch()
    first = processes.start("converse", url)
    acknowledged = [_acknowledgement(first) for _ in range(WRITES)]
    acknowledged += first.kill()
    tell(f"process {first.pid}: had {len(acknowledged)} writes acknowledged, then came kill -9")
    return _recall(processes, url, acknowledged, "file", "killed writer", watch, tell)


def server_crash(processes: Processes, server: Server, tell: Tell) -> Step:
    """The server is killed under a process that writes, and started again; then that process is killed."""
    watch = Watch()
    server.start()
    tell(f"process {server.pid}: botwire serve at {server.url}")
    first = processes.start("converse", server.url)
    acknowledged = [_acknowledgement(first) for _ in range(WRITES)]
    killed = server.pid
    server.kill()
    server.start()
    before = len(acknowledged)
    acknowledged += [_acknowledgement(first) for _ in range(WRITES)]
    acknowledged += [line for line in first.kill() if line != "waiting"]
    tell(f"process {killed}: kill -9 after {before} writes; process {server.pid} serves the same store")
    tell(f"process {first.pid}: went on by itself, {len(acknowledged)} writes acknowledged, then came kill -9")
    return _recall(processes, server.url, acknowledged, "server", "killed server", watch, tell)


def _acknowledgement(worker: Worker) -> str:
    while (line := worker.line()) == "waiting":
        pass
    return line


def _recall(processes: Processes, url: str, acknowledged: list[str], store: str, name: str, watch: Watch, tell: Tell) -> Step:
    """What another process finds of it."""
    second = processes.start("recall", url)
    memory = json.loads(second.line())
    answers, notes, seqs = memory["answers"], memory["notes"], memory["seqs"]
    there = {f"turn {turn}" for turn in answers} | {f"note {turn}" for turn in notes}
    found = sum(line in there for line in acknowledged)
    gaps = sum(seq != place for place, seq in enumerate(seqs, 1)) + (memory["next"] != len(seqs) + 1)
    tell(f"process {second.pid}: found {found} of {len(acknowledged)}, and goes on after {memory['last']!r}")
    return Step(name, store, len(acknowledged), found, len(answers) - len(set(answers)), gaps, watch.seconds)


def crowd(processes: Processes, url: str, store: str, tell: Tell) -> Step:
    """Several processes append to one session at the same time."""
    from botwire import Memory

    writers = [processes.start("append", url, f"writer-{number}", str(APPENDS)) for number in range(WRITERS)]
    for writer in writers:
        _expect(writer, "ready")
    watch = Watch()
    for writer in writers:
        writer.tell("go")
    for writer in writers:
        _expect(writer, "done")
    seconds = watch.seconds
    with Memory("demo", url=url) as memory:
        messages = memory.session("shared").messages()
    found = [(message.name, int(message.text)) for message in messages]
    wanted = {(f"writer-{number}", index) for number in range(WRITERS) for index in range(APPENDS)}
    gaps = sum(message.seq != place for place, message in enumerate(messages, 1)) + _out_of_order(found)
    changes = sum(one[0] != other[0] for one, other in pairwise(found))
    tell(f"{WRITERS} x {APPENDS} appends in {seconds:.2f} s: {len(messages)} messages, the writer changing {changes} times")
    return Step("writers at once", store, len(wanted), len(wanted & set(found)), len(found) - len(set(found)), gaps, seconds)


def _out_of_order(found: list[tuple[str | None, int]]) -> int:
    """How many messages come before one that their writer wrote earlier."""
    last: dict[str | None, int] = {}
    wrong = 0
    for name, index in found:
        wrong += index <= last.get(name, -1)
        last[name] = index
    return wrong


def _expect(worker: Worker, wanted: str) -> None:
    if (line := _acknowledgement(worker)) != wanted:
        raise DemoFailed(f"process {worker.pid} said {line!r:.80}, not {wanted!r}")


class Server:
    """``botwire serve`` as a process that can be killed and started again under the same URL."""

    def __init__(self, processes: Processes, store: str) -> None:
        self._processes = processes
        self._store = store
        self._worker: Worker | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return 0 if self._worker is None else self._worker.pid

    def start(self) -> None:
        """Start it, the first time at any free port, and wait until it answers."""
        port = self.url.rpartition(":")[2] or "0"
        self._worker = self._processes.start("serve", self._store, port)
        line = self._worker.line()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found is None:
            raise DemoFailed(f"botwire serve said {line!r:.120}")
        self.url = found[0]

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._worker is not None:
            self._worker.kill()


# ------------------------------------------------------------------------------------------ printing


def _say(options: Options, text: str) -> None:
    if not options.json:
        console().print(styled((text, "bold" if text.startswith("\n") else "")))


def _tell(text: str) -> None:
    out(f"  {text}")


def _quiet(_: str) -> None:
    pass


@contextmanager
def _working(options: Options) -> Generator[None]:
    """A sign that something happens, for people."""
    if options.json or not stdout_is_terminal():
        yield
        return
    with console().status("working"):
        yield


def _verdict(step: Step) -> str:
    return f"{plural(step.lost, 'write')} lost, {step.twice} twice, {plural(step.gaps, 'gap')} in the sequence: {_mark(step)}"


def _mark(step: Step) -> str:
    return "ok" if step.ok else "WRONG"


_COLUMNS = (
    Column("SHOWN"),
    Column("STORE"),
    Column("ACKNOWLEDGED", right=True),
    Column("FOUND", right=True),
    Column("LOST", right=True),
    Column("SECONDS", right=True),
    Column(""),
)


def _summary(steps: list[Step], ok: bool, seconds: float, with_server: bool) -> None:
    out()
    rows = [
        (step.name, step.store, str(step.acknowledged), str(step.found), str(step.lost), f"{step.seconds:.2f}", _mark(step))
        for step in steps
    ]
    out_table(_COLUMNS, rows)
    out()
    if not with_server:
        out("Not shown: the server. It needs: pip install 'botwire[server]'")
    wrong = "Acknowledged writes are missing, doubled or out of order: please report this."
    verdict = "Every acknowledged write was found again." if ok else wrong
    console().print(styled((f"{verdict} {seconds:.1f} seconds in all.", "bold green" if ok else "bold red")))
