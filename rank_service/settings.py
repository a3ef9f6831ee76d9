"""What an operator can change about rank_service: typed, with a default and a reason."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.settings import Socket, TraceEndpoint, TraceQueue

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(Struct, frozen=True):
    """Each field is read from the environment variable of its name in upper case."""

    database_url: Annotated[str, Meta(min_length=1, description="Postgres, the primary: definitions, loads")]
    redis_url: Annotated[
        str,
        Meta(
            min_length=1,
            description="Redis or Valkey: index, profiles, events;"
            " unix://user:password@/path?db=0 is a Unix socket,"
            " redis+cluster://host:port,host:port is a cluster,"
            " redis+sentinel://host:port,host:port/name asks Sentinels",
        ),
    ]
    rank_database_url: Annotated[
        str,
        Meta(
            description="a standby for fallback reads, asked while every commit waits for it"
            " (synchronous_commit = remote_apply); none by default"
        ),
    ] = ""
    rank_host: Annotated[str, Meta(description="address to listen on; never a public one")] = "127.0.0.1"
    rank_port: Annotated[Port, Meta(description="port to listen on; 0 takes a free one")] = 8082
    rank_socket: Socket = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="the least severe records logged")
    ] = "INFO"
    rank_pool_size: Annotated[
        int, Meta(ge=4, le=100, description="connections to the primary: loads, definitions, profiles")
    ] = 8
    rank_loads: Annotated[
        int, Meta(ge=1, le=16, description="rankings loaded at once; each holds a connection")
    ] = 2
    rank_fallback_lanes: Annotated[
        int, Meta(ge=1, le=64, description="fallback queries at once, so a lost Redis cannot drown Postgres")
    ] = 2
    rank_fallback_queue: Annotated[
        int, Meta(ge=1, le=100_000, description="questions waiting for a fallback query; past it 503")
    ] = 1_000
    rank_queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="questions waiting for the index; past it 503")
    ] = 10_000
    rank_streams: Annotated[
        int, Meta(ge=0, le=1_000_000, description="event streams open at once; past it 503")
    ] = 20_000
    rank_audit_ms: Annotated[
        int, Meta(ge=10, le=3_600_000, description="pause between two samples of the audit of the index")
    ] = 1_000
    redis_timeout_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="the index may take this long before Postgres is asked")
    ] = 250
    statement_timeout_ms: Annotated[
        int, Meta(ge=100, le=600_000, description="a query may take this long; a load's fetches too")
    ] = 4_000
    connect_timeout_ms: Annotated[
        int, Meta(ge=100, le=60_000, description="connecting to Postgres may take this long")
    ] = 2_000
    index_idle_seconds: Annotated[
        int, Meta(ge=60, le=31_536_000, description="an index not used for this long expires")
    ] = 86_400
    profile_ttl_ms: Annotated[
        int, Meta(ge=1_000, le=86_400_000, description="a cached profile lives this long: bounds memory")
    ] = 300_000
    leave_seconds: Annotated[
        float, Meta(ge=0, le=60, description="how long a stopping process goes on while callers learn of it")
    ] = 3
    drain_seconds: Annotated[
        int, Meta(ge=0, le=300, description="requests under way may take this long at shutdown")
    ] = 10
    otel_exporter_otlp_endpoint: TraceEndpoint = ""
    otel_bsp_max_queue_size: TraceQueue = 2048
