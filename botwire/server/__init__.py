"""The HTTP service: any store, served to many clients."""

from botwire._errors import MissingExtra

try:
    from botwire.server._app import create_app
    from botwire.server._serve import DEFAULT_PORT, serve, serve_in_thread
    from botwire.server._service import Action, Authorize
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn"):
        raise
    message = f"botwire.server needs the {error.name!r} package. Install it with: pip install 'botwire[server]'"
    raise MissingExtra(message, name=error.name) from error

__all__ = ["DEFAULT_PORT", "Action", "Authorize", "create_app", "serve", "serve_in_thread"]
