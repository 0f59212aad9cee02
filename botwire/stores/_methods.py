"""The methods of a store, for a class that runs calls by name: at once, or as coroutines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botwire.stores._protocol import Batch


class StoreMethods:
    """The store's methods. ``_call`` runs the call of that name: at once in one subclass, as a coroutine in the other."""

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def write(self, batches: Sequence[Batch]) -> Any:
        """See ``Store.write``; a batch whose answer got lost is sent again under its request id, and applied once."""
        return self._call("write", batches)

    def get(self, namespace: str, key: str) -> Any:
        """See ``Store.get``."""
        return self._call("get", namespace, key)

    def get_many(self, namespace: str, keys: Sequence[str]) -> Any:
        """See ``Store.get_many``."""
        return self._call("get_many", namespace, keys)

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> Any:
        """See ``Store.scan``."""
        return self._call("scan", namespace, prefix, after, limit)

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> Any:
        """See ``Store.scan_keys``."""
        return self._call("scan_keys", namespace, prefix, after, limit)

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Any:
        """See ``Store.scan_stamps``."""
        return self._call("scan_stamps", namespace, prefix, after, limit)

    def count(self, namespace: str, prefix: str = "") -> Any:
        """See ``Store.count``."""
        return self._call("count", namespace, prefix)

    def delete_namespace(self, namespace: str) -> Any:
        """Remove all that is kept of a namespace: entries, sessions, remembered requests, meters. A ``Gone``."""
        return self._call("delete_namespace", namespace)

    def usage(self, namespace: str) -> Any:
        """See ``Store.usage``."""
        return self._call("usage", namespace)

    def namespaces(self, after: str | None, limit: int) -> Any:
        """See ``Store.namespaces``."""
        return self._call("namespaces", after, limit)

    def read_log(
        self,
        namespace: str,
        session: str,
        agent: str,
        *,
        after: int | None = None,
        before: int | None = None,
        last: int | None = None,
        limit: int | None = None,
    ) -> Any:
        """See ``Store.read_log``."""
        return self._call("read_log", namespace, session, agent, after=after, before=before, last=last, limit=limit)

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> Any:
        """See ``Store.scan_logs``."""
        return self._call("scan_logs", namespace, after, limit)

    def search(self, namespace: str, words: Sequence[str], limit: int) -> Any:
        """See ``Store.search``."""
        return self._call("search", namespace, words, limit)

    def search_log(self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None) -> Any:
        """See ``Store.search_log``."""
        return self._call("search_log", namespace, words, limit, session, agent)

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """Call a route of the server that is no store's, such as ``/admin/tokens``: its answer, or None if it is 404."""
        return self._call("ask", method, path, document)

    def check(self) -> Any:
        """See ``Store.check``."""
        return self._call("check")
