"""Malformed and smuggled HTTP against the running gateway: refused or closed, and nothing gets through.

Every case is what an attacker would write on a raw socket. Each is sent on a connection of its own,
followed by a request that must never be served: a case fails if that reaches the service.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.doors import TOP, Client, Gateway, Service, running_gateway

SMUGGLED = f"GET {TOP}?smuggled HTTP/1.1\r\nhost: t\r\n\r\n".encode()
KEY = b"authorization: Bearer KEY\r\n"
POST = b"POST /v1/games/demo/sessions HTTP/1.1\r\nhost: t\r\n" + KEY
GET = f"GET {TOP} HTTP/1.1\r\nhost: t\r\n".encode() + KEY
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"

REFUSED: dict[str, bytes] = {
    # two framings, or none that is certain
    "content-length and chunked": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and content-length": POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths that differ": POST + b"content-length: 0\r\ncontent-length: 44\r\n\r\n",
    "two lengths that agree": POST + b"content-length: 0\r\ncontent-length: 0\r\n\r\n",
    "a list of lengths": POST + b"content-length: 0, 0\r\n\r\n",
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a signed length": POST + b"content-length: +0\r\n\r\n",
    "a hexadecimal length": POST + b"content-length: 0x0\r\n\r\n",
    "an empty length": POST + b"content-length:\r\n\r\n",
    "a length past 64 bits": POST + b"content-length: 18446744073709551616\r\n\r\n",
    "an unknown transfer encoding": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"transfer-encoding: identity\r\n\r\n",
    "chunked inside gzip": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, then identity": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked over HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
    "transfer-encoding with a space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding folded": POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a body on GET": GET + b"content-length: 44\r\n\r\n",
    "a chunked body on GET": GET + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    # chunks
    "a chunk size that is no number": CHUNKED + b"zz\r\n",
    "a negative chunk size": CHUNKED + b"-1\r\n",
    "a chunk size with 0x": CHUNKED + b"0x0\r\n\r\n",
    "a chunk size past 64 bits": CHUNKED + b"fffffffffffffffff\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "a chunk size ended by a bare newline": CHUNKED + b"0\n\n",
    "a chunk ended by a bare newline": CHUNKED + b"1\r\na\n0\r\n\r\n",
    "a chunk extension with a newline": CHUNKED + b"0;a\nb\r\n\r\n",
    "an empty chunk size": CHUNKED + b"\r\n\r\n",
    "an endless chunk extension": CHUNKED + b"1;" + b"a" * 700_000,
    # heads
    "a folded header": GET + b"x-a: b\r\n c\r\n\r\n",
    "a header folded with a tab": GET + b"x-a: b\r\n\tc\r\n\r\n",
    "a bare carriage return in a value": GET + b"x-a: b\rc\r\n\r\n",
    "a bare newline in a value": GET + b"x-a: b\nx-c: d\r\n\r\n",
    "a zero byte in a value": GET + b"x-a: b\0c\r\n\r\n",
    "a control byte in a value": GET + b"x-a: b\x01c\r\n\r\n",
    "a zero byte in a name": GET + b"x\0a: b\r\n\r\n",
    "a space in a name": GET + b"x a: b\r\n\r\n",
    "a header without a name": GET + b": b\r\n\r\n",
    "a header without a colon": GET + b"x-a\r\n\r\n",
    "a header line before any name": f"GET {TOP} HTTP/1.1\r\n x: y\r\nhost: t\r\n\r\n".encode(),
    "bare newlines": f"GET {TOP} HTTP/1.1\nhost: t\n\n".encode(),
    "no host": f"GET {TOP} HTTP/1.1\r\n".encode() + KEY + b"\r\n",
    "two hosts": GET + b"host: other\r\n\r\n",
    "two keys": GET + KEY + b"\r\n",
    "two content types": POST + b"content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 0\r\n\r\n",
    "a giant header": GET + b"x-a: " + b"a" * 40_000 + b"\r\n\r\n",
    "an endless header": GET + b"x-a: " + b"a" * 700_000,
    "a thousand headers": GET + b"x-a: b\r\n" * 1000 + b"\r\n",
    "a giant target": f"GET {TOP}?{'a' * 40_000} HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    # request lines
    "an unknown method": b"HACK / HTTP/1.1\r\nhost: t\r\n\r\n",
    "a method in lower case": f"get {TOP} HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    "HTTP/0.9": f"GET {TOP}\r\n\r\n".encode(),
    "HTTP/1.2": GET.replace(b"HTTP/1.1", b"HTTP/1.2") + b"\r\n",
    "HTTP/2.0": GET.replace(b"HTTP/1.1", b"HTTP/2.0") + b"\r\n",
    "another protocol": GET.replace(b"HTTP/1.1", b"FTTP/1.1") + b"\r\n",
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS to a plain port": bytes.fromhex("160301020001000001fc0303"),
    "nothing but noise": b"\xff\xfe\xfd\r\n\r\n",
    "a tab in the request line": GET.replace(b" HTTP", b"\tHTTP") + b"\r\n",
    "a target with a space": f"GET {TOP} x HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    "a target with a fragment": f"GET {TOP}#x HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    "a target with a byte past ASCII": f"GET {TOP}/é HTTP/1.1\r\nhost: t\r\n\r\n".encode(),
    "absolute form": GET.replace(b"GET /", b"GET http://internal:8082/") + b"\r\n",
    "absolute form of another scheme": GET.replace(b"GET /", b"GET file:///") + b"\r\n",
    "authority form": b"CONNECT 127.0.0.1:8082 HTTP/1.1\r\nhost: t\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n",
    "a target without a slash": GET.replace(b"GET /", b"GET ") + b"\r\n",
    "TRACE": GET.replace(b"GET", b"TRACE") + b"\r\n",
    # paths that two readers may take for different ones
    "an encoded slash": GET.replace(b"/global", b"%2Fglobal") + b"\r\n",
    "an encoded slash inside an id": b"GET /v1/games/demo/users/a%2fexport HTTP/1.1\r\nhost: t\r\n"
    + KEY
    + b"\r\n",
    "a doubly encoded slash": b"GET /v1/games/demo/users/a%252fexport HTTP/1.1\r\nhost: t\r\n"
    + KEY
    + b"\r\n",
    "dot segments": GET.replace(b"/demo/", b"/demo/../demo/") + b"\r\n",
    "encoded dot segments": GET.replace(b"/demo/", b"/demo/%2e%2e/demo/") + b"\r\n",
    "a backslash": GET.replace(b"/global", b"\\global") + b"\r\n",
    "double slashes": GET.replace(b"/demo", b"//demo") + b"\r\n",
    "a trailing slash": GET.replace(b"/top", b"/top/") + b"\r\n",
    "a path parameter": GET.replace(b"/top", b"/top;x=y") + b"\r\n",
    "a broken percent sign": GET.replace(b"/top", b"/top%zz") + b"\r\n",
    "a service's own readiness": b"GET /readyz HTTP/1.1\r\nhost: t\r\n" + KEY + b"\r\n",
    "a service's own metrics": b"GET /metrics HTTP/1.1\r\nhost: t\r\n" + KEY + b"\r\n",
    "metrics by way of a board": GET.replace(b"/v1/games/demo", b"/v1/games/demo/../../../metrics") + b"\r\n",
    # leaving HTTP
    "an upgrade with a body": POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 44\r\n\r\n",
    "a websocket with a body": POST
    + b"connection: Upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\n",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, SCORE_URL=service.url, RANK_URL=service.url, PUBLIC_GAMES="demo") as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway, service: Service) -> Iterator[Client]:
    service.seen.clear()
    with gateway.client() as client:
        yield client


def keyed(data: bytes, gateway: Gateway) -> bytes:
    return data.replace(b"KEY", gateway.admin.encode())


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_and_reaches_nothing(
    case: str, gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(REFUSED[case], gateway))
    reply = client.reply()
    assert reply is None or 400 <= reply.status < 500, reply
    assert service.seen == []


@pytest.mark.parametrize("case", [case for case in REFUSED if "chunk" in case or "length" in case])
def test_what_follows_a_broken_frame_is_never_a_request(
    case: str, gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(REFUSED[case], gateway) + SMUGGLED)
    first = client.reply()
    assert first is None or first.status < 500
    assert client.is_closed()
    assert service.seen == []


def test_a_refusal_is_a_problem_and_the_connection_is_closed(gateway: Gateway, client: Client) -> None:
    client.send(keyed(REFUSED["content-length and chunked"], gateway))
    reply = client.reply()
    assert reply is not None
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["connection"] == "close"
    assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, service: Service, client: Client) -> None:
    client.send(b"".join(gateway.request("GET", f"{TOP}?n={i}") for i in range(20)))
    for _ in range(20):
        reply = client.reply()
        assert reply is not None
        assert reply.status == 200
    order = [request.split(b" ")[1].decode() for request in service.seen]
    assert order == [f"{TOP}?n={i}" for i in range(20)]


def test_garbage_after_a_request_does_not_spoil_its_answer(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(gateway.request("GET", TOP) + b"\x00\x01 garbage\r\n\r\n" + SMUGGLED)
    first, second = client.reply(), client.reply()
    assert first is not None
    assert (first.status, first.body) == (200, b"{}")
    assert second is not None
    assert second.status == 400
    assert client.is_closed()
    assert len(service.seen) == 1


def test_nothing_after_connection_close_is_served(gateway: Gateway, service: Service, client: Client) -> None:
    client.send(gateway.request("GET", TOP, headers="connection: close\r\n") + SMUGGLED)
    reply = client.reply()
    assert reply is not None
    assert reply.status == 200
    client.reply()
    assert client.is_closed()
    assert len(service.seen) == 1


def test_an_upgrade_is_ignored_and_what_follows_is_not_served(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(gateway.request("GET", TOP, headers="connection: upgrade\r\nupgrade: h2c\r\n") + SMUGGLED)
    reply = client.reply()
    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert client.is_closed()
    assert len(service.seen) == 1
    assert b"upgrade" not in service.seen[0].lower()


def test_chunks_reach_the_service_under_one_length(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(CHUNKED, gateway) + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-scope: admin\r\n\r\n")
    assert client.reply() is not None
    (seen,) = service.seen
    assert b"content-length: 5\r\n" in seen
    assert seen.endswith(b"\r\n\r\nabcde")
    assert b"transfer-encoding" not in seen.lower()
    assert seen.count(b"x-scope") == 1


def test_internal_headers_of_a_client_are_dropped(gateway: Gateway, service: Service, client: Client) -> None:
    evil = "x-scope: admin\r\nX-Key-Id: root\r\nx-deadline-ms: 1\r\nx-body-too-large: 1\r\nx_scope: admin\r\n"
    client.send(gateway.request("GET", TOP, key=None, headers=evil + "cookie: a=b\r\nforwarded: for=x\r\n"))
    assert client.reply() is not None
    names = [line.partition(b":")[0] for line in service.seen[0].split(b"\r\n")[1:-2]]
    assert sorted(names) == [b"host", b"x-deadline-ms", b"x-request-id", b"x-scope"]
    assert b"x-scope: read\r\n" in service.seen[0]


def test_a_header_that_connection_names_is_dropped(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(gateway.request("GET", TOP, headers='connection: If-None-Match\r\nif-none-match: "a"\r\n'))
    assert client.reply() is not None
    assert b"if-none-match" not in service.seen[0].lower()


def test_what_can_be_no_id_goes_on_as_one_encoded_segment(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(gateway.request("GET", TOP.replace("global", "a%00%0d%0ax-scope:%20admin;x"), key=None))
    assert client.reply() is not None
    line, *headers = service.seen[0].split(b"\r\n")
    assert line == f"GET {TOP.replace('global', 'a%00%0D%0Ax-scope:%20admin%3Bx')} HTTP/1.1".encode()
    assert [header for header in headers if header.startswith(b"x-scope")] == [b"x-scope: read"]


def test_blanks_around_a_value_are_not_part_of_it(gateway: Gateway, service: Service, client: Client) -> None:
    client.send(keyed(GET.replace(b"KEY", b"KEY \t"), gateway) + b'if-none-match: \t "a" \r\n\r\n')
    reply = client.reply()
    assert reply is not None
    assert reply.status == 200
    assert b'\r\nif-none-match: "a"\r\n' in service.seen[0]
    assert b"x-scope: admin" in service.seen[0]


def test_an_insane_request_id_is_replaced(gateway: Gateway, service: Service, client: Client) -> None:
    client.send(gateway.request("GET", TOP, headers="x-request-id: {{7*7}}<script>\r\n"))
    reply = client.reply()
    assert reply is not None
    assert "script" not in reply.headers["x-request-id"]
    assert b"script" not in service.seen[0]


def test_a_body_is_asked_for_only_with_a_valid_key(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(POST.replace(KEY, b"") + b"content-length: 9\r\nexpect: 100-continue\r\n\r\n")
    assert client.line() == b"HTTP/1.1 401 Unauthorized\r\n"
    assert service.seen == []


def test_expect_with_a_valid_key_goes_on(gateway: Gateway, service: Service, client: Client) -> None:
    client.send(keyed(POST, gateway) + b"content-length: 2\r\nExpect: 100-Continue\r\n\r\n")
    assert client.line() == b"HTTP/1.1 100 Continue\r\n"
    assert client.line() == b"\r\n"
    client.send(b"{}")
    assert client.line() == b"HTTP/1.1 200 OK\r\n"
    assert b"expect" not in service.seen[0].lower()


def test_an_early_reset_leaves_the_gateway_well(gateway: Gateway, service: Service) -> None:
    for cut in (1, 20, len(GET), len(GET) + 2):
        client = gateway.client()
        client.send((keyed(GET, gateway) + b"\r\n")[:cut])
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.__exit__()
    assert gateway.call("GET", TOP).status == 200


def test_a_request_in_single_bytes_is_one_request(gateway: Gateway, service: Service, client: Client) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in gateway.request("POST", "/v1/games/demo/sessions", body=b'{"a":1}'):
        client.send(bytes([byte]))
    reply = client.reply()
    assert reply is not None
    assert reply.status == 200
    assert service.seen[0].endswith(b'\r\n\r\n{"a":1}')
