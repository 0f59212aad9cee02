"""Reading an export into a store.

What the export holds takes the place of what the store has under the same name; the rest stays, and what has expired since
is left out. Doing it again changes nothing, so an import that was interrupted is simply run again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from botwire._errors import BotWireError, InvalidName, InvalidValue, Unsupported
from botwire._transfer_lines import EndLine, EntryLine, Header, Line, MessageLine, SessionLine, parse_line
from botwire.stores._protocol import Batch, EntryRow, LogInfo, LogRow, Operation, Restore, RestoreLog, Store

MOST_ROWS = 500
"""Entries and messages written in one batch, at most."""
BATCH_BYTES = 1024 * 1024
"""A batch is written once its lines are about so large."""
MOST_TOLD = 20
"""Bad lines and differences that are told of one by one; all are counted."""


@dataclass
class Imported:
    """What an import did.

    ``problems`` says what is wrong with the file as a whole: its end is missing, or lines were changed.
    """

    entries: int = 0
    sessions: int = 0
    messages: int = 0
    expired: int = 0
    kept: int = 0
    bad: int = 0
    bad_lines: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    _session: tuple[str, str, str] | None = None  # the last one counted: its messages may come in several batches

    @property
    def ok(self) -> bool:
        """Whether all of a whole export was read."""
        return not self.bad and not self.problems

    def count(self, namespace: str, operations: list[Operation]) -> None:
        """Count what was written."""
        for operation in operations:
            if isinstance(operation, RestoreLog):
                session = (namespace, operation.info.session, operation.info.agent)
                self.sessions += session != self._session
                self.messages += len(operation.rows)
                self._session = session
            else:
                self.entries += 1

    def add_bad(self, message: str) -> None:
        """Count a bad line."""
        self.bad += 1
        if len(self.bad_lines) < MOST_TOLD:
            self.bad_lines.append(message)


@dataclass
class Group:
    """Neighbouring lines of one namespace that are written together."""

    namespace: str
    first_line: int
    last_line: int = 0
    size: int = 0
    rows: int = 0
    entries: list[EntryRow] = field(default_factory=list[EntryRow])
    sessions: list[tuple[LogInfo, list[LogRow]]] = field(default_factory=list[tuple[LogInfo, list[LogRow]]])

    @property
    def messages(self) -> int:
        """How many messages."""
        return sum(len(rows) for _, rows in self.sessions)

    def operations(self) -> list[Operation]:
        """What writes it."""
        return [*map(Restore, self.entries), *(RestoreLog(info, tuple(rows)) for info, rows in self.sessions)]


def import_store(
    store: Store,
    lines: Iterable[bytes],
    *,
    namespaces: tuple[str, ...] | None = None,
    keep: bool = False,
    skip_bad: bool = False,
    on_line: Callable[[int], None] | None = None,
) -> Imported:
    """Write what an export holds into a store, a batch at a time, in constant memory.

    Args:
        store: where to write.
        lines: the export's lines with their line ends, as a binary file gives them.
        namespaces: only these; None for all.
        keep: leave entries and sessions as they are that the store has already.
        skip_bad: pass over lines that cannot be read or stored, and count them, in place of raising.
        on_line: called after each line with its size in bytes.

    Raises:
        InvalidValue: at a bad line, with its number: nothing of its batch is written. Also if the lines are no export.
        StoreIncompatible: if the export is of a newer format.
        BotWireError: if the store cannot be written; what was written before stays, and the import can be run again.
    """
    done = Imported()
    reader = LineReader(lines, skip_bad, done, on_line)
    for group in groups(reader, namespaces):
        _write(store, group, keep, skip_bad, done)
    done.problems += reader.problems()
    return done


# ------------------------------------------------------------------------------------------- reading


class LineReader:
    """The entries, sessions and messages of an export, each with its line's number and size.

    Checks what lies between lines: the header, the order, that each message follows its session, the end.
    """

    def __init__(self, lines: Iterable[bytes], skip_bad: bool, done: Imported, on_line: Callable[[int], None] | None) -> None:
        self._lines = lines
        self._skip_bad = skip_bad
        self._done = done
        self._on_line = on_line
        self._hash = hashlib.sha256()
        self._session: SessionLine | None = None
        self._last_session: tuple[str, str, str] | None = None
        self._counts = {EntryLine: 0, SessionLine: 0, MessageLine: 0}
        self._end: EndLine | None = None
        self._cut: str | None = None
        self._begun = False

    def __iter__(self) -> Iterator[tuple[int, int, EntryLine | SessionLine | MessageLine]]:
        for number, raw in enumerate(self._lines, 1):
            line = self._read(number, raw)
            if isinstance(line, EntryLine | SessionLine | MessageLine):
                yield number, len(raw), line
            if self._on_line is not None:
                self._on_line(len(raw))
        if not self._begun:
            raise InvalidValue("this is no export: it is empty; `botwire export` writes one")

    def problems(self) -> list[str]:
        """What is wrong with the whole, after all was read."""
        if self._end is None:
            where = f" ({self._cut})" if self._cut else ""
            return [f"the export has no end{where}: it was cut off, or is still being written; what was there has been imported"]
        counts = (self._counts[EntryLine], self._counts[SessionLine], self._counts[MessageLine])
        if counts != self._end[:3]:
            wanted, found = (f"{kind[0]} entries, {kind[1]} sessions, {kind[2]} messages" for kind in (self._end, counts))
            return [f"the export's end says {wanted}, but it holds {found}: lines were lost or added"]
        if self._hash.hexdigest() != self._end.sha256:
            return ["the export was changed after it was written: its checksum does not fit"]
        return []

    def _read(self, number: int, raw: bytes) -> Line | None:
        try:
            return self._checked(number, raw)
        except (InvalidValue, InvalidName) as error:
            if not raw.endswith(b"\n") and self._begun:
                self._cut = f"line {number} is incomplete"
                return None
            message = f"line {number}: {error}"
            if not self._begun:
                raise InvalidValue(f"this is no export of botwire's: {message}") from error
            if not self._skip_bad:
                raise InvalidValue(message) from error
            self._done.add_bad(message)
            return None
        finally:
            if self._end is None:
                self._hash.update(raw)

    def _checked(self, number: int, raw: bytes) -> Line | None:
        line = parse_line(raw)
        if isinstance(line, Header) != (number == 1):
            raise InvalidValue("the header belongs in the first line, and nowhere else")
        self._begun = True
        if self._end is not None:
            raise InvalidValue("more lines after the end of the export")
        if isinstance(line, EndLine):
            self._end = line
        elif isinstance(line, MessageLine):
            self._check_message(line)
        self._count(line)
        return line

    def _check_message(self, line: MessageLine) -> None:
        session = self._session
        if session is None or (*session.name, session.info.epoch) != line[:4]:
            raise InvalidValue(f"a message of session {line.session!r} whose own line is not before it")
        if line.row.seq > session.info.head:
            raise InvalidValue(f"message {line.row.seq} of session {line.session!r}, whose last one is {session.info.head}")

    def _count(self, line: Line) -> None:
        if isinstance(line, SessionLine):
            self._counts[SessionLine] += line.name != self._last_session
            self._session, self._last_session = line, line.name
        elif isinstance(line, EntryLine | MessageLine):
            self._counts[type(line)] += 1


def groups(reader: LineReader, namespaces: tuple[str, ...] | None) -> Iterator[Group]:
    """Lines put together to batches; a bad line is raised when all batches before its own have been given out."""
    group: Group | None = None
    session: SessionLine | None = None
    for number, size, line in reader:
        if namespaces is not None and line.namespace not in namespaces:
            continue
        if isinstance(line, SessionLine):
            session = line
        if group is not None and _is_full(group, line):
            yield group
            group = None
        if group is None:
            group = Group(line.namespace, number)
        _put(group, line, session)
        group.last_line, group.size, group.rows = number, group.size + size, group.rows + 1
    if group is not None:
        yield group


def _is_full(group: Group, line: EntryLine | SessionLine | MessageLine) -> bool:
    return group.namespace != line.namespace or group.rows >= MOST_ROWS or group.size >= BATCH_BYTES


def _put(group: Group, line: EntryLine | SessionLine | MessageLine, session: SessionLine | None) -> None:
    if isinstance(line, EntryLine):
        group.entries.append(line.row)
    elif isinstance(line, SessionLine):
        group.sessions.append((line.info, []))
    elif session is not None:
        if not group.sessions:
            group.sessions.append((session.info, []))
        group.sessions[-1][1].append(line.row)


# ------------------------------------------------------------------------------------------- writing

_REFUSED = (InvalidName, InvalidValue, Unsupported)


def _write(store: Store, group: Group, keep: bool, skip_bad: bool, done: Imported) -> None:
    done.expired += _leave_out_expired(group)
    if keep:
        done.kept += _leave_out_present(store, group)
    operations = group.operations()
    try:
        _apply(store, group.namespace, operations)
    except _REFUSED as error:
        if not skip_bad:
            lines = f"lines {group.first_line} to {group.last_line}"
            raise type(error)(f"{lines}: the store refuses one of them: {error}; nothing of these lines was written") from error
        for operation in operations:
            _write_alone(store, group, operation, done)
    else:
        done.count(group.namespace, operations)


def _write_alone(store: Store, group: Group, operation: Operation, done: Imported) -> None:
    """Write one entry, or one session's messages one by one, so that what the store refuses spoils nothing else."""
    pieces = [operation]
    if isinstance(operation, RestoreLog) and operation.rows:
        pieces = [RestoreLog(operation.info, (row,)) for row in operation.rows]
    for piece in pieces:
        try:
            _apply(store, group.namespace, [piece])
        except _REFUSED as error:
            done.add_bad(f"lines {group.first_line} to {group.last_line}: {_name(piece)}: {error}")
        else:
            done.count(group.namespace, [piece])


def _apply(store: Store, namespace: str, operations: list[Operation]) -> None:
    if not operations:
        return
    outcome = store.write((Batch(namespace, tuple(operations)),))[0]
    if isinstance(outcome, BotWireError):
        raise outcome


def _name(operation: Operation) -> str:
    if isinstance(operation, RestoreLog):
        seqs = f" message {operation.rows[0].seq}" if operation.rows else ""
        return f"session {operation.info.session!r}{seqs}"
    return f"entry {operation.row.key!r}" if isinstance(operation, Restore) else type(operation).__name__


def _leave_out_expired(group: Group) -> int:
    """Take out of a group what has expired, or it would remove what lives under the same name; returns how much."""
    now = time.time_ns() // 1_000
    before = len(group.entries) + len(group.sessions) + group.messages
    group.entries = [row for row in group.entries if row.expires_at is None or row.expires_at > now]
    group.sessions = [(info, rows) for info, rows in group.sessions if info.expires_at is None or info.expires_at > now]
    return before - len(group.entries) - len(group.sessions) - group.messages


def _leave_out_present(store: Store, group: Group) -> int:
    """Take out of a group what the store has already; returns how many entries and messages.

    A session of the same epoch is the same session: messages that it lacks are still put back, an interrupted import
    is finished that way.
    """
    before = len(group.entries) + group.messages
    present = store.get_many(group.namespace, [row.key for row in group.entries]) if group.entries else {}
    group.entries = [row for row in group.entries if row.key not in present]
    group.sessions = [session for info, rows in group.sessions for session in _lacking(store, group.namespace, info, rows)]
    return before - len(group.entries) - group.messages


def _lacking(store: Store, namespace: str, info: LogInfo, rows: list[LogRow]) -> list[tuple[LogInfo, list[LogRow]]]:
    """What of a session the store lacks; the session's state is the later one of both."""
    there = store.read_log(namespace, info.session, info.agent, last=0).info
    if there is None:
        return [(info, rows)]
    if there.epoch != info.epoch:
        return []
    have = {row.seq for row in stored_messages(store, namespace, info, rows)}
    lacking = [row for row in rows if row.seq not in have]
    later = there if there.updated_at >= info.updated_at else info
    return [(later._replace(head=max(there.head, info.head)), lacking)] if lacking else []


def stored_messages(store: Store, namespace: str, info: LogInfo, rows: list[LogRow]) -> list[LogRow]:
    """The messages that the store has between the first and the last of ``rows``."""
    if not rows:
        return []
    first, last = rows[0].seq, rows[-1].seq
    page = store.read_log(namespace, info.session, info.agent, after=first - 1, before=last + 1, limit=last - first + 1)
    return [] if page.info is None or page.info.epoch != info.epoch else page.rows
