"""Ports of the local stack: which are wanted, which are free."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple

import msgspec

from deploy.embedded import free_ports
from deploy.settings import LocalSettings
from shared.settings import SettingsError


class Ports(NamedTuple):
    """Where everything listens; the fields are those of the settings."""

    gateway_port: int
    gateway_internal_port: int
    score_port: int
    rank_port: int
    local_postgres_port: int
    local_redis_port: int


def choose(settings: LocalSettings) -> Ports:
    """Return the ports of a stack, all of them checked together.

    Raises:
        SettingsError: naming each port that is busy or wanted twice, and its variable.
    """
    wanted = msgspec.structs.asdict(settings)
    given = {name: wanted[name] for name in Ports._fields if wanted[name]}
    times = Counter(given.values())
    faults = []
    with ExitStack() as held:
        for name, port in given.items():
            host = settings.gateway_host if name == "gateway_port" else "127.0.0.1"
            fault = "is given twice" if times[port] > 1 else _taken(held, host, port)
            if fault:
                faults.append(f"{name.upper()}: port {port} {fault}; choose another")
        if faults:
            raise SettingsError(faults)
        # While the given ones are held, so that these are others.
        free = iter(free_ports(len(Ports._fields)))
        return Ports(*(given.get(name) or next(free) for name in Ports._fields))


def _taken(held: ExitStack, host: str, port: int) -> str:
    """Hold a port until `held` closes; return why that is not possible, or an empty string."""
    listener = held.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    # A port whose old connections still linger is free all the same.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        return f"on {host} cannot be used ({error.strerror})"
    return ""
