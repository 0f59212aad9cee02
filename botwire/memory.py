"""``from botwire.memory import memory_tools``: tools with which a CrewAI agent uses memory; needs ``botwire[crewai]``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botwire.integrations.crewai import memory_tools  # pyright: ignore[reportUnknownVariableType] - CrewAI may not be installed here

__all__ = ["memory_tools"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module("botwire.integrations.crewai"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
