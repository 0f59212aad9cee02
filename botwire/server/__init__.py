"""The HTTP service: any store, served to many clients."""

from botwire.server._app import create_app
from botwire.server._serve import DEFAULT_PORT, serve, serve_in_thread
from botwire.server._service import Action, Authorize

__all__ = ["DEFAULT_PORT", "Action", "Authorize", "create_app", "serve", "serve_in_thread"]
