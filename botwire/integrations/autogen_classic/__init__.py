"""The classic AutoGen (``import autogen``: pyautogen 0.2 to 0.9, ag2 before 1.0, autogen 0.14): memory for its agents and group chats."""

from botwire.integrations.autogen_classic._owner import check_autogen

check_autogen()

from botwire.integrations.autogen_classic._capability import BotWireCapability, attach_memory  # noqa: E402 - autogen must be there
from botwire.integrations.autogen_classic._group import BotWireGroupChat  # noqa: E402

__all__ = ["BotWireCapability", "BotWireGroupChat", "attach_memory"]
