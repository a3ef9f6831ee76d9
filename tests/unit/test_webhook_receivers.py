"""How receivers of webhooks are reached: no private addresses, no second resolution, no endless answers."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from score_service import upstream
from score_service.rules import webhook_pause
from score_service.upstream import Receivers, Undelivered, is_public, resolved
from tests.receiver import Receiver, receiver


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1%eth0", "fc00::1"),
        *("ff02::1", "fec0::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::"),
    ],
)
def test_an_address_that_is_not_public_is_told(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_reached(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001"])
async def test_other_names_of_this_machine_lead_nowhere_either(host: str) -> None:
    with pytest.raises(Undelivered, match="not public"):
        await Receivers(private=False).post(f"https://{host}/", {}, b"{}")


async def test_one_private_address_among_public_ones_is_enough() -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(Undelivered, match="not public"):
        await Receivers(private=False, resolve=both).post("https://example.com/", {}, b"{}")


async def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    asked: list[str] = []

    async def once(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["203.0.113.1"]

    async with receiver() as hook:
        url = f"http://hooks.invalid:{hook.port}/"
        assert await Receivers(private=True, resolve=once).post(url, {"webhook-id": "1"}, b"{}") == 204
    assert asked == ["hooks.invalid"]
    assert hook.heard[0].headers["host"] == f"hooks.invalid:{hook.port}"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "no answer within"),
        (b"", "closed without an answer"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200" + b"x" * 10_000, "ValueError"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 200, "not HTTP/1.1"),
    ],
)
async def test_an_answer_that_is_none_is_told(
    answer: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "TIMEOUT", 0.3)
    async with receiver() as hook:
        hook.answers = [answer]
        with pytest.raises(Undelivered, match=why):
            await Receivers(private=True).post(hook.url, {}, b"{}")


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    async with receiver() as hook:
        hook.answers = [b"HTTP/1.1 200 Fine\r\n\r\n" + b"x" * 5_000_000]
        assert await Receivers(private=True).post(hook.url, {}, b"{}") == 200


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server of the name `localhost`, and a client that believes its certificate."""
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.2"))])
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, plain))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, secret)
    return server, ssl.create_default_context(cafile=certificate)


async def test_a_certificate_must_be_believed_and_name_the_host(tmp_path: Path) -> None:
    server, believing = certified(tmp_path)
    async with receiver(tls=server) as hook:
        url = f"https://localhost:{hook.port}/"

        async def post(url: str, tls: ssl.SSLContext | None) -> int:
            return await Receivers(private=True, tls=tls).post(url, {}, b"{}")

        assert await post(url, believing) == 204
        with pytest.raises(Undelivered, match="SSLCertVerificationError"):
            await post(url, None)
        with pytest.raises(Undelivered, match="SSLCertVerificationError"):
            await post(url.replace("localhost", "127.0.0.1"), believing)


async def test_plain_http_is_not_spoken_by_default() -> None:
    with pytest.raises(Undelivered, match="https"):
        await Receivers(private=False).post(Receiver(80).url, {}, b"{}")


async def test_names_are_resolved_to_each_address_once() -> None:
    assert await resolved("127.0.0.1", 80) == ["127.0.0.1"]


def test_pauses_double_up_to_six_hours_and_are_spread() -> None:
    assert [webhook_pause(attempts, 1.0) for attempts in (1, 2, 3, 50)] == [5, 10, 20, 21_600]
    assert webhook_pause(1, 0.0) == 2.5
