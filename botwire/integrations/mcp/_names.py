"""Any text as a part of a key or namespace: readable where it can be, and never the same for two different texts."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

from botwire import InvalidName

_APART = re.compile(r"[%/=*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What a part does not hold as it is: what names may not hold, what separates parts, and what escapes."""


def part(name: str, longest: int) -> str:
    """``name`` escaped, or a digest of it where that would take more than ``longest`` bytes. Digests begin with ``=``, escapes never do."""
    if not isinstance(name, str):
        raise InvalidName(f"a name must be a str, not {type(name).__name__}: {name!r:.80}")
    escaped = _APART.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)
    if name and len(escaped.encode()) <= longest:
        return escaped
    return "=" + digest(name)


def readable(text: str) -> str | None:
    """The name that a part was made of; None for a digest."""
    return None if text.startswith("=") else unquote(text, errors="surrogatepass")


def digest(text: str) -> str:
    """64 characters that no two texts share."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


LONGEST_SESSION = 200


def session_namespace(base: str, session_id: str) -> str:
    """The namespace for the state behind one handle: its fields are keys, so that no two writers undo each other's change.

    Args:
        base: what the namespace begins with: ``principal_namespace(...)``, so that the handle opens nothing to others.
        session_id: the handle, any text.

    Returns:
        ``base``, a slash, and the handle, escaped; a digest of it where that takes over 200 bytes.

    Raises:
        InvalidName: if the handle is no text.
    """
    return f"{base}/{part(session_id, LONGEST_SESSION)}"
