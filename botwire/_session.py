"""Session: an ordered, append-only list of messages, named by a session id inside a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botwire._message import Message, MessageLike
from botwire._plan import run
from botwire._records import MessageHit, SessionInfo
from botwire._session_plans import SessionPlans
from botwire._source import Source

if TYPE_CHECKING:
    from botwire._watch import SessionWatch


class Session:
    """One session, made by ``Memory.session``; costs no I/O until its first call.

    Any number of writers may append at once, from any process: every message gets the next sequence number,
    none is lost and none is skipped.
    """

    __slots__ = ("_plans", "_source")

    def __init__(self, source: Source, plans: SessionPlans) -> None:
        self._source = source
        self._plans = plans

    def __repr__(self) -> str:
        agent = f", agent={self.agent!r}" if self.agent else ""
        return f"<Session {self.session_id!r}{agent} of {self._plans.namespace!r}>"

    @property
    def session_id(self) -> str:
        """The id that names the session."""
        return self._plans.session_id

    @property
    def agent(self) -> str | None:
        """Whose transcript this is, in a session that keeps one for each agent."""
        return self._plans.agent or None

    # ------------------------------------------------------------------------------------- messages

    def append(self, *messages: MessageLike, role: str | None = None, request_id: str | None = None) -> list[int]:
        """Add messages, all or none, and return their sequence numbers, which are contiguous.

        Durable when it returns, at a cost that does not grow with the session.

        Args:
            messages: each a ``Message``, a dict as ``{"role": "user", "content": "hi"}``, ``("user", "hi")``,
                or text if ``role`` is given.
            role: whose the messages are that are given as text.
            request_id: a name for this call; a repetition of it is not applied again, and returns the same numbers.

        Raises:
            InvalidValue: if a message cannot be stored exactly; nothing of the call is stored.
            RequestConflict: if ``request_id`` was used for other messages.
            StoreUnavailable: if the store cannot be written.
        """
        return run(self._plans.append(messages, role, request_id), self._source.open())

    def replace(self, *messages: MessageLike, role: str | None = None, request_id: str | None = None) -> list[int]:
        """Put messages in place of all there are, in one step: ``clear`` and ``append``, and nobody sees it half done.

        Takes, returns and raises what ``append`` does. A new epoch begins; metadata and ttl stay.
        """
        return run(self._plans.replace(messages, role, request_id), self._source.open())

    def messages(self, last: int | None = None, before: int | None = None, after: int | None = None) -> list[Message]:
        """The messages, oldest first.

        Args:
            last: only the last so many, at a cost that does not grow with the session.
            before: only those with a lower sequence number.
            after: only those with a higher sequence number.

        An unreadable message is passed over with a warning in the log.
        """
        return run(self._plans.messages(last, before, after), self._source.open())

    def snapshot(
        self, last: int | None = None, before: int | None = None, after: int | None = None
    ) -> tuple[SessionInfo | None, list[Message]]:
        """Like ``messages``, with what ``info`` gives at the same moment: for whoever caches messages and must notice a ``clear``."""
        return run(self._plans.snapshot(last, before, after), self._source.open())

    def __iter__(self) -> Iterator[Message]:
        """The messages there are now, oldest first."""
        return iter(self.messages())

    def watch(self, after: int | None = None, *, epoch: str | None = None, timeout: float | None = None) -> SessionWatch:
        """Messages as they are appended, whoever appends them, in whatever process: an iterator, each once and in order.

        It tells of what is appended once this call has returned. After trouble with the connection it goes on, and nothing is
        missed. When the session is cleared, or deleted and begun anew, it goes on with the messages of the new epoch: their
        numbers begin at 1 again, and the iterator's ``epoch`` changes. What was popped or trimmed before it was come to is left out.

        Args:
            after: begin after the message of this sequence number; 0 for the first. To go on in another process, give the
                ``seq`` of the last message that was dealt with,
            epoch: and the iterator's ``epoch`` at that time: should the session have been cleared since, all messages of
                the new one are told of.
            timeout: seconds without a message after which the iteration ends; iterating again goes on. None for never.

        Close it, or use it as ``with session.watch() as messages:``; ``close`` also ends an iteration that waits in another thread.

        Raises:
            InvalidValue: at once. StoreUnavailable: if the store cannot be read now, or when the timeout ends.
        """
        from botwire._looking import SessionLooking  # late: few programs watch
        from botwire._watch import SessionWatch

        return SessionWatch(self._source, SessionLooking(self._plans, after, epoch), timeout)

    def pop(self) -> Message | None:
        """Remove the last message and return it; None if there is none. Its sequence number is not given out again.

        Raises:
            StoreCorrupt: if what was removed cannot be read.
        """
        return run(self._plans.pop(), self._source.open())

    def trim(self, keep_last: int) -> int:
        """Remove all but the last ``keep_last`` messages; returns how many were removed."""
        return run(self._plans.trim(keep_last), self._source.open())

    def clear(self) -> int:
        """Remove all messages and begin a new epoch; returns how many were removed. Metadata and ttl stay."""
        return run(self._plans.clear(), self._source.open())

    def delete(self) -> bool:
        """Remove the session with its messages and metadata; returns whether there was one."""
        return run(self._plans.delete(), self._source.open())

    def search(self, query: str, limit: int = 20) -> list[MessageHit]:
        """The messages that contain every word of ``query``, in any case, best match first.

        Lexical: it compares letters, not meaning.
        """
        return run(self._plans.search(query, limit), self._source.open())

    # ---------------------------------------------------------------------------------- about itself

    def info(self) -> SessionInfo | None:
        """What the store knows about the session; None if nothing was ever written to it."""
        return run(self._plans.info(), self._source.open())

    def count(self) -> int:
        """The number of messages."""
        return run(self._plans.count(), self._source.open())

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty session is still a session

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's own JSON object; change it by ``set_metadata`` or ``merge_metadata``."""
        return run(self._plans.get_metadata(), self._source.open())

    def set_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Replace the metadata; returns it."""
        return run(self._plans.set_metadata(metadata, merge=False), self._source.open())

    def merge_metadata(self, patch: dict[str, Any]) -> dict[str, Any]:
        """Merge ``patch`` into the metadata, atomically, by RFC 7396: None removes a member. Returns the result."""
        return run(self._plans.set_metadata(patch, merge=True), self._source.open())

    @property
    def ttl(self) -> float | None:
        """Seconds after its last write at which the whole session expires; None if it does not."""
        return run(self._plans.get_ttl(), self._source.open())

    def set_ttl(self, ttl: float | timedelta | None) -> None:
        """Let the whole session expire ``ttl`` seconds after its last write, from now on; None for never."""
        run(self._plans.set_ttl(ttl), self._source.open())
