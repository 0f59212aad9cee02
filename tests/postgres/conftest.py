"""A database for each test, on the server of this process."""

from __future__ import annotations

import pytest
from engines.postgres import shared

from botwire.stores.postgres import PostgresStore


@pytest.fixture(scope="session")
def server():
    """A real PostgreSQL."""
    return shared()


@pytest.fixture
def database(server):
    """The name of an empty database."""
    with server.database() as name:
        yield name


@pytest.fixture
def url(server, database):
    """Its URL."""
    return server.url(database)


@pytest.fixture
def open_store(url):
    """Opens stores, and closes them at the end."""
    opened = []

    def open_one(given=url, **options):
        opened.append(PostgresStore(given, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store):
    """A store in that database."""
    return open_store()
