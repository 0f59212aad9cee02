"""CrewAI: its unified memory, tools, Flow persistence and histories, all on botwire's memory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from botwire import MissingExtra

try:
    import_module("crewai")  # what all of this is for; the parts are imported when they are asked for
except ModuleNotFoundError as error:
    if error.name != "crewai":
        raise  # something that CrewAI itself needs: its own message says what
    raise MissingExtra(
        "botwire.integrations.crewai needs the 'crewai' package; install it with: pip install 'botwire[crewai]'", name="crewai"
    ) from error

if TYPE_CHECKING:
    from botwire.integrations.crewai._embedder import HashEmbedder
    from botwire.integrations.crewai._flow import BotWireFlowPersistence
    from botwire.integrations.crewai._history import BotWireHistory
    from botwire.integrations.crewai._memory import BotWireMemory, botwire_memory
    from botwire.integrations.crewai._register import register, unregister
    from botwire.integrations.crewai._storage import BotWireStorage, DimensionMismatch
    from botwire.integrations.crewai._tools import memory_tools

_LATE = {
    "BotWireFlowPersistence": "_flow",
    "BotWireHistory": "_history",
    "BotWireMemory": "_memory",
    "BotWireStorage": "_storage",
    "DimensionMismatch": "_storage",
    "HashEmbedder": "_embedder",
    "botwire_memory": "_memory",
    "memory_tools": "_tools",
    "register": "_register",
    "unregister": "_register",
}
"""The public names, each by the module that has it."""

__all__ = [
    "BotWireFlowPersistence",
    "BotWireHistory",
    "BotWireMemory",
    "BotWireStorage",
    "DimensionMismatch",
    "HashEmbedder",
    "botwire_memory",
    "memory_tools",
    "register",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
