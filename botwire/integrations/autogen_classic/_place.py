"""What the arguments say of where memory lies and how much of it is shown."""

from __future__ import annotations

from botwire import InvalidValue, Memory


def memory_of(memory: Memory | None, namespace: str, url: str | None) -> Memory:
    """The memory that the caller means.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other, or the memory is one to be awaited, which hooks cannot.
    """
    if memory is None:
        return Memory(namespace, url=url)
    if not isinstance(memory, Memory):
        raise InvalidValue(f"memory must be a Memory, not a {type(memory).__name__}: autogen calls its hooks without awaiting them")
    if url is not None or namespace not in ("default", memory.namespace):
        raise InvalidValue("give memory=, or url= and namespace=, not both")
    return memory


def check_size(size: int | None) -> int | None:
    """``max_messages``, if it can be one.

    Raises:
        InvalidValue: if it cannot.
    """
    if size is not None and (type(size) is not int or size < 1):
        raise InvalidValue(f"max_messages must be an int of 1 or more, or None for all, not {size!r:.80}")
    return size
