"""The health check of a container: is the service that runs in it ready? `python -m deploy.health`.

Every few seconds in every container: so it imports the standard library only.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

PORTS = {"SCORE_PORT": 8081, "RANK_PORT": 8082, "GATEWAY_INTERNAL_PORT": 8090}
"""The ports that answer for a service; a container runs one of them."""

TIMEOUT = 2.5
"""Seconds an answer may take."""


def status(port: int) -> int | None:
    """Return the status `/readyz` has on a port of this machine; None where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main(environ: Mapping[str, str]) -> int:
    """Return 0 when a service listens here and all that listen are ready."""
    found = [status(int(environ.get(name) or default)) for name, default in PORTS.items()]
    listening = [each for each in found if each is not None]
    return 0 if listening and set(listening) == {200} else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
