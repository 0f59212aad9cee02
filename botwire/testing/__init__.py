"""The contract that every store keeps, as tests: for botwire's own stores and for anybody's.

A store is tested by a class with one fixture, in a test file of its own::

    import pytest
    from botwire.testing import StoreContract
    from mystore import MyStore

    class TestMyStore(StoreContract):
        cannot = frozenset({"advance", "corrupt"})

        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path)
            yield store
            store.close()

        def reopen(self):
            self.subject.close()
            return MyStore(self.subject.path)

pytest explains failures in installed modules only if it is told to, in ``conftest.py``, before the import::

    import pytest
    pytest.register_assert_rewrite("botwire.testing")

Three hooks let the contract do what no store's interface does: ``reopen``, ``advance`` (its clock) and ``corrupt``. A
class overrides each, or names it in ``cannot``; the tests that need it then run with real, short times to live, or are
skipped with that declaration as the reason. A store that cannot keep
the terms of a batch names ``charge`` or ``cap`` there as well, and answers ``Unsupported`` to a batch that has them.
The store may be in use by others: every test has namespaces of its own.
``class TestMyStoreAsync(AsyncStoreContract, TestMyStore)`` runs all of it once more, through ``AsyncMemory``.
"""

from __future__ import annotations

from botwire._errors import MissingExtra

try:
    import pytest  # noqa: F401  # pyright: ignore[reportUnusedImport] - only to say how to install it
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    raise MissingExtra("botwire.testing needs the 'pytest' package. Install it with: pip install pytest", name="pytest") from error

from botwire.testing._async import AsyncStoreContract
from botwire.testing._base import ContractBase, exactly, together
from botwire.testing._changes import ChangeContract
from botwire.testing._concurrency import ConcurrencyContract
from botwire.testing._durability import DurabilityContract
from botwire.testing._entries import EntryContract
from botwire.testing._expiry import ExpiryContract
from botwire.testing._history import Client, histories, violations
from botwire.testing._linear import Call, Undecided, violation
from botwire.testing._linearizability import LinearizabilityContract
from botwire.testing._listing import ListingContract
from botwire.testing._names import NameContract
from botwire.testing._requests import RequestContract
from botwire.testing._search import SearchContract
from botwire.testing._sessions import SessionContract
from botwire.testing._terms import TermsContract
from botwire.testing._usage import UsageContract
from botwire.testing._values import ValueContract
from botwire.testing._watch import WatchContract

__all__ = [
    "AsyncStoreContract",
    "Call",
    "Client",
    "StoreContract",
    "Undecided",
    "exactly",
    "histories",
    "together",
    "violation",
    "violations",
]


class StoreContract(
    EntryContract,
    ValueContract,
    NameContract,
    ListingContract,
    ExpiryContract,
    ChangeContract,
    SearchContract,
    SessionContract,
    RequestContract,
    TermsContract,
    UsageContract,
    ConcurrencyContract,
    LinearizabilityContract,
    WatchContract,
    DurabilityContract,
    ContractBase,
):
    """All of the contract; subclass it with a ``store`` fixture. See the module's text."""
