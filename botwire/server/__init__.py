"""The HTTP service: any store, served to many clients."""

from botwire._errors import MissingExtra

try:
    from botwire.server._app import create_app
    from botwire.server._config import read_limits
    from botwire.server._operating import Operating
    from botwire.server._serve import DEFAULT_PORT, serve, serve_in_thread
    from botwire.server._service import Action, Authorize
    from botwire.server._start import settings_of
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("prometheus_client", "starlette", "uvicorn"):
        raise
    message = f"botwire.server needs the {error.name!r} package. Install it with: pip install 'botwire[server]'"
    raise MissingExtra(message, name=error.name) from error

__all__ = [
    "DEFAULT_PORT",
    "Action",
    "Authorize",
    "Operating",
    "create_app",
    "read_limits",
    "serve",
    "serve_in_thread",
    "settings_of",
]
