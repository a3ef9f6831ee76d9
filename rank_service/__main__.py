"""Run rank_service: `python -m rank_service`, settings from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn

from rank_service.app import App
from rank_service.settings import Settings
from shared import http, logs
from shared.settings import SettingsError, load


class Server(http.Server):
    """A server that ends event streams before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, app: App, *, leave_seconds: float, path: str) -> None:
        super().__init__(config, leave_seconds=leave_seconds, path=path)
        self._app = app

    async def leave(self) -> None:
        """End the streams there are; readers come again, elsewhere."""
        self._app.end_streams()


def main() -> int:
    """Serve until told to stop; requests under way are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"rank_service: {error}", file=sys.stderr)
        return 2
    logs.configure("rank_service", settings.log_level)
    app = App(settings)
    outer = http.traced(
        app,
        "rank_service",
        settings.otel_exporter_otlp_endpoint,
        settings.otel_bsp_max_queue_size,
        Path(__file__).parent / "sql",
    )
    config = http.configured(
        outer, host=settings.rank_host, port=settings.rank_port, drain_seconds=settings.drain_seconds
    )
    return http.serve(Server(config, app, leave_seconds=settings.leave_seconds, path=settings.rank_socket))


if __name__ == "__main__":
    sys.exit(main())
