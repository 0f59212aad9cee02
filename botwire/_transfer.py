"""Export and import: everything in a store as JSON Lines, and back, without loss, between any two stores; and copy, without lines.

The format, and why values are embedded as they are, is described in ``botwire._transfer_lines``.
"""

from botwire._copy import Copied, copy_store, follow_store
from botwire._transfer_compare import Compared, compare_store
from botwire._transfer_export import Exported, export_store
from botwire._transfer_import import Imported, import_store
from botwire._transfer_lines import FORMAT

__all__ = [
    "FORMAT",
    "Compared",
    "Copied",
    "Exported",
    "Imported",
    "compare_store",
    "copy_store",
    "export_store",
    "follow_store",
    "import_store",
]
