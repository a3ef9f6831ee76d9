"""What an operator can change about the gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.names import MAX_BODY_BYTES
from shared.settings import TraceEndpoint, TraceQueue

_PLACE = r"(http://[^/,]+|unix:/[^,]{1,99})"
WHERE = rf"\A{_PLACE}(,{_PLACE})*\Z"

Seconds = Annotated[int, Meta(ge=1, le=3600)]


class Settings(Struct, frozen=True):
    """Settings from the environment; see `shared.settings.load`."""

    jwks_file: Annotated[str, Meta(min_length=1, description="JWKS of the public keys that sign our keys")]
    gateway_host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    gateway_port: Annotated[int, Meta(ge=0, le=65535, description="public port; 0 picks a free one")] = 8080
    gateway_internal_host: Annotated[
        str, Meta(description="address of readiness and metrics; never a public one")
    ] = "127.0.0.1"
    gateway_internal_port: Annotated[
        int, Meta(ge=0, le=65535, description="port of readiness and metrics; 0 picks a free one")
    ] = 8090
    score_url: Annotated[
        str,
        Meta(
            pattern=WHERE,
            description="where score_service answers: http://host:port, or unix:/path for a socket on this "
            "machine; several: with commas between",
        ),
    ] = "http://127.0.0.1:8081"
    rank_url: Annotated[
        str,
        Meta(
            pattern=WHERE,
            description="where rank_service answers: http://host:port, or unix:/path for a socket on this "
            "machine; several: with commas between",
        ),
    ] = "http://127.0.0.1:8082"
    revoked_keys_file: Annotated[
        str, Meta(description="ids of revoked keys, one a line; read again when it changes; empty: none")
    ] = ""
    public_games: Annotated[
        tuple[str, ...], Meta(description="games anyone may read without a key, comma-separated")
    ] = ()
    player_jwks_file: Annotated[
        str, Meta(description="JWKS of an identity provider whose tokens players bring; empty: none")
    ] = ""
    player_issuer: Annotated[str, Meta(description="the `iss` of players' tokens")] = ""
    player_audience: Annotated[str, Meta(description="the `aud` of players' tokens")] = ""
    player_claim: Annotated[str, Meta(min_length=1, description="their claim that is the user_id")] = "sub"
    player_games: Annotated[
        tuple[str, ...], Meta(description="games players' tokens are good for; empty: all")
    ] = ()
    key_rate: Annotated[
        float, Meta(ge=0, description="requests a second per key, in the long run; 0: no limit")
    ] = 200
    key_burst: Annotated[int, Meta(ge=1, description="requests a key may make at once")] = 1000
    address_rate: Annotated[
        float, Meta(ge=0, description="requests a second per client address without a known key; 0: no limit")
    ] = 20
    address_burst: Annotated[int, Meta(ge=1, description="such requests an address may make at once")] = 200
    limits_redis_url: Annotated[
        str,
        Meta(
            description="Redis or Valkey in which gateways share rate limits; empty, or while it does "
            "not answer: each process counts alone"
        ),
    ] = ""
    limits_timeout_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="how long such a verdict is waited for")
    ] = 100
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="networks (CIDR) whose X-Forwarded-For is believed")
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="web origins whose pages may call; `*`: any; empty: none")
    ] = ()
    https: Annotated[
        bool, Meta(description="clients come over TLS (ended before us): tell browsers to insist on it")
    ] = False
    access_log: Annotated[
        Literal["all", "errors", "off"], Meta(description="requests logged to standard output")
    ] = "all"
    request_deadline_ms: Annotated[
        int, Meta(ge=100, le=300_000, description="a request is answered with 504 after this long")
    ] = 10_000
    head_seconds: Annotated[
        Seconds, Meta(description="a client must have sent a request's head in this time")
    ] = 10
    body_seconds: Annotated[Seconds, Meta(description="and its body in this time")] = 30
    idle_seconds: Annotated[
        Seconds, Meta(description="a kept-alive connection without requests is closed")
    ] = 75
    stream_seconds: Annotated[
        Seconds, Meta(description="a stream is cut when nothing moved on it for this long")
    ] = 60
    max_clients: Annotated[
        int, Meta(ge=1, le=1_000_000, description="most client connections; past it they are closed at once")
    ] = 20_000
    max_held_bytes: Annotated[
        int,
        Meta(
            ge=MAX_BODY_BYTES,
            description="most bytes of request bodies in memory, and again of answers not yet read; past it "
            "503, and the slowest readers are cut",
        ),
    ] = 256 * 1024 * 1024
    max_upstream_connections: Annotated[
        int, Meta(ge=1, le=10_000, description="most connections to one address of a service, streams apart")
    ] = 128
    max_upstream_shared: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="most hot requests at once on the one connection to an address that carries many;"
            " those beyond get connections of their own; 0: all do",
        ),
    ] = 1024
    max_upstream_waiting: Annotated[
        int, Meta(ge=0, le=100_000, description="most requests waiting for a connection; past it 503")
    ] = 2000
    max_upstream_streams: Annotated[
        int, Meta(ge=1, le=100_000, description="most streams open to one service")
    ] = 20_000
    restart_patience_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="how long requests wait when every process of a service has said that it stops: "
            "others are likely to take its place; 0: 503 at once",
        ),
    ] = 8000
    log_level: Annotated[
        str, Meta(pattern=r"\A(DEBUG|INFO|WARNING|ERROR)\Z", description="least level logged")
    ] = "INFO"
    leave_seconds: Annotated[
        float, Meta(ge=0, le=60, description="how long a stopping process goes on while callers learn of it")
    ] = 3
    drain_seconds: Annotated[
        int, Meta(ge=1, le=300, description="how long a stopping process may finish what it accepted")
    ] = 20
    otel_exporter_otlp_endpoint: TraceEndpoint = ""
    otel_bsp_max_queue_size: TraceQueue = 2048
    otel_traces_sampler_arg: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="the part of the requests that is traced; a caller with a key of ours may say "
            "yes or no by `traceparent`",
        ),
    ] = 0.01
