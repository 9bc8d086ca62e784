"""Endpoints that misbehave: each is a result, none an error, none costs more than its limits."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import STANDALONE, EgressPolicy
from taskloom.domain.secret import Secret
from taskloom.ports.sender import (
    MOST_BODY_KEPT,
    Answer,
    ErrorClass,
    Failure,
    OutgoingRequest,
    TlsOptions,
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve(
    handler: Handler, context: ssl.SSLContext | None = None, *, until: bytes = b"\r\n\r\n"
) -> AsyncIterator[int]:
    """Run a server of raw bytes; give its port.  It reads `until` there, then calls `handler`."""
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(until)
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in tasks.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in tasks.values():
            with suppress(OSError):
                await writer.wait_closed()


def sends(data: bytes) -> Handler:
    """Make a server that writes `data` and closes."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handler


def post(url: str, *, total: float = 5.0, tls: TlsOptions | None = None) -> OutgoingRequest:
    """Make a request."""
    return OutgoingRequest(
        url=url,
        headers={"content-type": "application/json"},
        body=b"{}",
        policy=STANDALONE,
        timeout_total=total,
        tls=tls or TlsOptions(),
    )


@pytest.fixture
async def sender() -> AsyncIterator[AiohttpSender]:
    """Give the real sender."""
    async with AiohttpSender() as sender:
        yield sender


async def call(sender: AiohttpSender, handler: Handler, total: float = 5.0) -> Answer | Failure:
    """Send one request to a server with this behaviour."""
    async with serve(handler) as port:
        return await sender.send(post(f"http://127.0.0.1:{port}/", total=total))


def error_of(result: Answer | Failure) -> ErrorClass:
    """Give the class of a failure."""
    assert isinstance(result, Failure), result
    return result.error


async def test_a_body_without_end_is_cut_off(sender: AiohttpSender) -> None:
    """Reading stops after 64 KiB, the start is kept, and the connection is closed."""
    written = 0
    broken = asyncio.Event()

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                written += 65536
        finally:
            broken.set()

    async with serve(handler) as port:
        result = await sender.send(post(f"http://127.0.0.1:{port}/"))
        await asyncio.wait_for(broken.wait(), 5)

    assert isinstance(result, Answer)
    assert result.status == 200
    assert result.body == b"x" * MOST_BODY_KEPT


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"],
    ids=["status line", "headers", "body"],
)
async def test_a_slow_answer_ends_with_the_timeout(sender: AiohttpSender, start: bytes) -> None:
    """A byte now and then does not prolong the total time, wherever it is dripped."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    result = await call(sender, handler, total=0.3)

    assert error_of(result) is ErrorClass.TIMEOUT
    assert 250 <= result.elapsed_ms < 2000
    assert isinstance(result, Failure)
    assert result.message == "no complete answer within 0.3 s"


async def test_a_gzip_bomb_stays_compressed(sender: AiohttpSender) -> None:
    """Nothing is unpacked: what is kept is what came over the wire."""
    bomb = gzip.compress(b"\0" * 30_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n"
    result = await call(sender, sends(head.encode() + bomb))

    assert isinstance(result, Answer)
    assert result.body == bomb[:MOST_BODY_KEPT]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 banana OK\r\n\r\n",
        b"HTTP/9.9.9 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\0" * 1000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
    ],
    ids=lambda data: repr(data[:50]),
)
async def test_what_is_not_http_is_a_protocol_failure(sender: AiohttpSender, data: bytes) -> None:
    """Garbage, broken framing and answers that break off are failures to be tried again."""
    assert error_of(await call(sender, sends(data))) is ErrorClass.PROTOCOL


async def test_a_connection_reset_is_a_protocol_failure(sender: AiohttpSender) -> None:
    """A server that hangs up in anger is no different."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert error_of(await call(sender, handler)) is ErrorClass.PROTOCOL


async def test_strange_bytes_in_headers_and_body_become_text(sender: AiohttpSender) -> None:
    """An answer can be stored, whatever bytes it is made of."""
    result = await call(
        sender,
        sends(b"HTTP/1.1 500 \xff\r\nx-a: \xff\xed\xa0\x80\r\nx-a: 2\r\n\r\n\0\xff\xed\xa0\x80ok"),
    )

    assert isinstance(result, Answer)
    assert "\x00" not in result.text
    assert (result.text + result.headers["x-a"]).encode("utf-8")
    assert result.text.endswith("ok")
    assert result.headers["x-a"].endswith(", 2")


async def test_a_long_header_is_cut(sender: AiohttpSender) -> None:
    """An answer's headers are kept with the attempt, so they are bounded."""
    fields = (b"x-a: " + b"y" * 5000 + b"\r\n") * 3
    result = await call(sender, sends(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"))

    assert isinstance(result, Answer)
    assert result.headers["x-a"] == "y" * 1024


async def test_a_flood_of_interim_answers_ends_with_the_timeout(sender: AiohttpSender) -> None:
    """An endpoint that keeps saying "continue" has not answered."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            await asyncio.sleep(0)

    assert error_of(await call(sender, handler, total=0.3)) is ErrorClass.TIMEOUT


async def test_a_cookie_is_not_sent_back(sender: AiohttpSender) -> None:
    """Endpoints cannot make one delivery known to the next."""
    heads = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 204 No Content\r\nset-cookie: a=b\r\n\r\n")
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serve(handler) as port:
        for _ in range(2):
            assert isinstance(await sender.send(post(f"http://127.0.0.1:{port}/")), Answer)
    [second] = heads

    assert b"cookie" not in second.lower()


async def test_a_proxy_of_the_environment_is_not_used(
    sender: AiohttpSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard sees the address that is dialled, so nobody else may dial for us."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    result = await call(sender, sends(b"HTTP/1.1 204 No Content\r\n\r\n"))

    assert isinstance(result, Answer)


async def test_a_closed_port_is_a_connect_failure(sender: AiohttpSender) -> None:
    """Nobody listens there: the message says where, and shows no path."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = await sender.send(post(f"http://127.0.0.1:{port}/t0ken?k=t0ken"))

    assert error_of(result) is ErrorClass.CONNECT
    assert isinstance(result, Failure)
    assert f"127.0.0.1:{port}" in result.message
    assert "t0ken" not in result.message


class ScriptedResolver(AbstractResolver):
    """Resolves every name to the same addresses, or not at all, or never."""

    def __init__(self, *addresses: str, error: OSError | None = None, hangs: bool = False) -> None:
        self.addresses = list(addresses)
        self.error = error
        self.hangs = hangs

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give what the test wants."""
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "addresses",
    [["169.254.169.254"], ["fe80::1"], ["10.0.0.1"], ["127.0.0.1", "::1"], ["::ffff:127.0.0.1"]],
)
async def test_a_name_cannot_lead_to_a_refused_address(addresses: list[str]) -> None:
    """The address is checked when it is dialled, whatever name led there."""
    async with AiohttpSender(resolver=ScriptedResolver(*addresses)) as sender:
        result = await sender.send(
            OutgoingRequest(
                url="http://innocent.example/", headers={}, body=b"", policy=EgressPolicy()
            )
        )

    assert error_of(result) is ErrorClass.REFUSED_BY_POLICY


async def test_only_the_allowed_addresses_of_a_name_are_dialled() -> None:
    """One bad address among good ones does not make the name unreachable."""
    resolver = ScriptedResolver("169.254.169.254", "127.0.0.1")
    async with (
        serve(sends(b"HTTP/1.1 204 No Content\r\n\r\n")) as port,
        AiohttpSender(resolver=resolver) as sender,
    ):
        result = await sender.send(post(f"http://mixed.example:{port}/"))

    assert isinstance(result, Answer)


async def test_a_name_that_changes_its_mind_is_checked_again() -> None:
    """DNS rebinding gains nothing: a new connection means a new check."""
    resolver = ScriptedResolver("127.0.0.1")
    async with AiohttpSender(resolver=resolver) as sender:
        async with serve(sends(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")) as port:
            first = await sender.send(post(f"http://one.example:{port}/"))
        resolver.addresses = ["169.254.169.254"]
        second = await sender.send(post("http://two.example/"))

    assert isinstance(first, Answer)
    assert error_of(second) is ErrorClass.REFUSED_BY_POLICY


async def test_an_unknown_name_is_a_dns_failure() -> None:
    """The message names the host."""
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    async with AiohttpSender(resolver=ScriptedResolver(error=error)) as sender:
        result = await sender.send(post("https://nowhere.example/t0ken"))

    expected = Failure(
        error=ErrorClass.DNS,
        message="nowhere.example: Name or service not known",
        elapsed_ms=result.elapsed_ms,
    )
    assert expected == result


async def test_a_dead_name_server_counts_as_connecting() -> None:
    """The time to connect includes the look-up."""
    request = OutgoingRequest(
        url="http://slow.example/",
        headers={},
        body=b"",
        policy=STANDALONE,
        timeout_connect=0.1,
        timeout_total=5,
    )
    async with AiohttpSender(resolver=ScriptedResolver(hangs=True)) as sender:
        result = await sender.send(request)

    assert error_of(result) is ErrorClass.TIMEOUT
    assert isinstance(result, Failure)
    assert result.message == "no connection within 0.1 s"


async def test_the_systems_names_are_known(sender: AiohttpSender) -> None:
    """`localhost` is looked up as the system does it."""
    async with serve(sends(b"HTTP/1.1 204 No Content\r\n\r\n")) as port:
        result = await sender.send(post(f"http://localhost:{port}/"))

    assert isinstance(result, Answer)


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://user:x@127.0.0.1:1/", "ftp://127.0.0.1/", "http://a..b/"],
)
async def test_an_impossible_request_is_a_failure_without_secrets(
    sender: AiohttpSender, url: str
) -> None:
    """Whatever cannot be sent fails like anything else, and shows no credential."""
    request = OutgoingRequest(
        url=url, headers={"authorization": "Bearer t0ken"}, body=b"", policy=STANDALONE
    )
    result = await sender.send(request)

    assert isinstance(result, Failure)
    assert "t0ken" not in result.message


async def test_cancelling_is_not_a_result(sender: AiohttpSender) -> None:
    """Shutting down ends a call at once, instead of counting as the endpoint's failure."""
    arrived = asyncio.Event()

    async def handler(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with serve(handler) as port:
        task = asyncio.create_task(sender.send(post(f"http://127.0.0.1:{port}/")))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Certificate:
    """A certificate for localhost that signs itself, and its key."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.chain = certificate.public_bytes(pem).decode()
        self.key = self.write_key(key, serialization.NoEncryption())
        self.locked_key = self.write_key(key, serialization.BestAvailableEncryption(b"pw"))

    @staticmethod
    def write_key(
        key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption
    ) -> str:
        """Write a key as PEM."""
        pem = serialization.Encoding.PEM
        return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption).decode()


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    """Make a certificate."""
    return Certificate()


@pytest.fixture
def server_context(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> ssl.SSLContext:
    """Give the server's side of TLS; it asks for a client certificate and takes any of ours."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_text(certificate.chain + certificate.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=certificate.chain)
    context.load_cert_chain(path)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def test_an_untrusted_certificate_is_a_tls_failure(
    sender: AiohttpSender, server_context: ssl.SSLContext
) -> None:
    """Without its authority a certificate is not believed."""
    async with serve(sends(b"HTTP/1.1 204 No Content\r\n\r\n"), server_context) as port:
        result = await sender.send(post(f"https://localhost:{port}/"))

    assert error_of(result) is ErrorClass.TLS
    assert isinstance(result, Failure)
    assert "not trusted" in result.message


async def test_another_authority_is_a_tls_failure(
    sender: AiohttpSender, server_context: ssl.SSLContext
) -> None:
    """A bundle that does not hold the authority does not help."""
    tls = TlsOptions(ca_bundle=Certificate().chain)
    async with serve(sends(b"HTTP/1.1 204 No Content\r\n\r\n"), server_context) as port:
        result = await sender.send(post(f"https://localhost:{port}/", tls=tls))

    assert error_of(result) is ErrorClass.TLS


async def test_a_certificate_for_another_name_is_a_tls_failure(
    sender: AiohttpSender, server_context: ssl.SSLContext, certificate: Certificate
) -> None:
    """An authority of one's own does not switch the check of names off."""
    tls = TlsOptions(ca_bundle=certificate.chain)
    async with serve(sends(b"HTTP/1.1 204 No Content\r\n\r\n"), server_context) as port:
        result = await sender.send(post(f"https://127.0.0.1:{port}/", tls=tls))

    assert error_of(result) is ErrorClass.TLS


async def test_an_authority_and_a_client_certificate_are_used(
    sender: AiohttpSender, server_context: ssl.SSLContext, certificate: Certificate
) -> None:
    """With the right bundle the call succeeds, and the client certificate is shown."""
    shown = []

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    async with serve(handler, server_context) as port:
        for client in (None, Secret(certificate.chain + certificate.key)):
            tls = TlsOptions(ca_bundle=certificate.chain, client_certificate=client)
            assert isinstance(
                await sender.send(post(f"https://localhost:{port}/", tls=tls)), Answer
            )

    assert [bool(peer) for peer in shown] == [False, True]


async def test_plain_http_behind_https_is_a_tls_failure(sender: AiohttpSender) -> None:
    """A port that does not speak TLS is told from one that is closed."""
    async with serve(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), until=b"\x16") as port:
        result = await sender.send(post(f"https://127.0.0.1:{port}/"))

    assert error_of(result) is ErrorClass.TLS


async def test_unusable_tls_options_are_named(
    sender: AiohttpSender, certificate: Certificate
) -> None:
    """The part that cannot be read is named, its content is not shown."""
    cases = [
        (TlsOptions(ca_bundle=""), "CA bundle"),
        (TlsOptions(ca_bundle="nonsense"), "CA bundle"),
        (TlsOptions(client_certificate=Secret("nonsense")), "client certificate"),
        (TlsOptions(client_certificate=Secret(certificate.chain)), "client certificate"),
        (
            TlsOptions(client_certificate=Secret(certificate.chain + certificate.locked_key)),
            "encrypted",
        ),
    ]
    for tls, expected in cases:
        result = await sender.send(post("https://127.0.0.1:1/", tls=tls))

        assert error_of(result) is ErrorClass.TLS
        assert isinstance(result, Failure)
        assert expected in result.message
        assert "nonsense" not in result.message
