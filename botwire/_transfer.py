"""Export and import: everything in a store as JSON Lines, and back, without loss, between any two stores.

The format, and why values are embedded as they are, is described in ``botwire._transfer_lines``.
"""

from botwire._transfer_compare import Compared, compare_store
from botwire._transfer_export import Exported, export_store
from botwire._transfer_import import Imported, import_store
from botwire._transfer_lines import FORMAT

__all__ = ["FORMAT", "Compared", "Exported", "Imported", "compare_store", "export_store", "import_store"]
