"""Run score_service: `python -m score_service`, settings from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from score_service.app import App
from score_service.settings import Settings
from shared import logs
from shared.http import Server, configured, serve, traced
from shared.settings import SettingsError, load


def main() -> int:
    """Serve until told to stop; accepted requests are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"score_service: {error}", file=sys.stderr)
        return 2
    logs.configure("score_service", settings.log_level)
    config = configured(
        traced(
            App(settings),
            "score_service",
            settings.otel_exporter_otlp_endpoint,
            settings.otel_bsp_max_queue_size,
            Path(__file__).parent / "sql",
        ),
        host=settings.score_host,
        port=settings.score_port,
        drain_seconds=settings.drain_seconds,
    )
    return serve(Server(config, leave_seconds=settings.leave_seconds, path=settings.score_socket))


if __name__ == "__main__":
    sys.exit(main())
