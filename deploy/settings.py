"""What can be changed about the local stack."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65535)]
FreePort = Annotated[int, Meta(ge=0, le=65535)]


class LocalSettings(Struct, frozen=True):
    """Settings of `make run`. Ports left at 0 are chosen among the free ones."""

    gateway_port: Annotated[Port, Meta(description="the API and the web page")] = 8080
    score_port: Annotated[Port, Meta(description="score_service, for health and metrics")] = 8081
    rank_port: Annotated[Port, Meta(description="rank_service, for health and metrics")] = 8082
    gateway_internal_port: Annotated[FreePort, Meta(description="the gateway's health and metrics")] = 0
    local_postgres_port: Annotated[FreePort, Meta(description="the embedded Postgres")] = 0
    local_redis_port: Annotated[FreePort, Meta(description="the embedded Valkey")] = 0
    gateway_host: Annotated[str, Meta(description="where the gateway listens; all else is on 127.0.0.1")] = (
        "127.0.0.1"
    )
    local_data_dir: Annotated[str, Meta(description="data, keys, logs and local.env", min_length=1)] = (
        ".local"
    )
