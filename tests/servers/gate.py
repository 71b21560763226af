"""A gate before a store that checks nothing: signatures, session tokens and expiries as Amazon's S3 and STS check them.

Signatures are computed here anew (AWS Signature Version 4), so that what is signed is seen by other eyes than
botocore's. Refusals say more than they should, as Amazon's do: access key, token and all.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^/]+)/(?P<scope>\d{8}/[^/]+/(?P<service>\w+)/aws4_request), "
    r"SignedHeaders=(?P<signed>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "server", "date"}


@dataclass
class Key:
    """What may pass; ``expires_at_s`` is seconds since the epoch."""

    secret: str
    token: str | None = None
    expires_at_s: float = float("inf")


@dataclass
class Passage:
    """One request as it came, and what became of it: an HTTP status, and the code of a refusal."""

    method: str
    path: str
    headers: dict[str, str]
    key_id: str
    service: str
    status: int = 0
    code: str = ""


@dataclass
class Gate:
    """Listens on loopback while in its block.

    Attributes:
        backend: the address of the store behind, which is asked for all that may pass.
        keys: who may pass, by access key id.
        role_s: how long the keys of an assumed role live; None refuses to assume any.
        refused: a code with which every request of a method is refused, as if its key had just become invalid.
        passages: all that was asked, in the order of the answers.
    """

    backend: str
    keys: dict[str, Key] = field(default_factory=dict)
    role_s: float | None = 3600.0
    refused: dict[str, str] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)

    def __enter__(self) -> Gate:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may leave in the middle
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self._numbers = itertools.count(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def used(self, service: str = "s3") -> list[str]:
        """The access keys that came through, each once, in order."""
        return list(dict.fromkeys(one.key_id for one in self.passages if one.service == service and not one.code))

    def check(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Passage:
        """Look at one request; its passage has a code if it is refused."""
        match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        passage = Passage(method, target, headers, match["key_id"] if match else "", match["service"] if match else "")
        key = self.keys.get(passage.key_id)
        if match is None:
            passage.status, passage.code = 403, "AccessDenied"
        elif key is None:
            passage.status, passage.code = 403, "InvalidAccessKeyId"
        elif headers.get("x-amz-security-token") != key.token:
            passage.status, passage.code = 400, "InvalidToken"
        elif time.time() >= key.expires_at_s:
            passage.status, passage.code = 400, "ExpiredToken"
        elif not _is_signed(match, key.secret, method=method, target=target, headers=headers, body=body):
            passage.status, passage.code = 403, "SignatureDoesNotMatch"
        elif method in self.refused:
            passage.status, passage.code = 403, self.refused[method]
        return passage

    def assume_role(self, passage: Passage, body: bytes) -> bytes:
        """Answer STS's AssumeRole with fresh keys, and let them pass."""
        asked = parse_qs(body.decode())
        if self.role_s is None or asked["Action"] != ["AssumeRole"]:
            passage.status, passage.code = 403, "AccessDenied"
            return b""
        number = next(self._numbers)
        key_id, key = f"ASIAROLE{number:08}", Key(f"role-secret-{number}", f"role-token-{number}")
        key.expires_at_s = time.time() + self.role_s
        self.keys[key_id] = key
        expiration = datetime.fromtimestamp(key.expires_at_s, UTC).isoformat()
        passage.status = 200
        return (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
            f"<Credentials><AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>"
            f"<SessionToken>{key.token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{asked['RoleArn'][0]}/{asked['RoleSessionName'][0]}</Arn>"
            "<AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()


def _is_signed(
    match: re.Match[str], secret: str, *, method: str, target: str, headers: dict[str, str], body: bytes
) -> bool:
    """Compute a signature as docs.aws.amazon.com/IAM, "Create a signed AWS API request", says, and compare."""
    digest = hashlib.sha256(body).hexdigest()
    said = headers.get("x-amz-content-sha256", digest)
    if said not in (digest, "UNSIGNED-PAYLOAD"):
        return False
    parts = urlsplit(target)
    query = "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in parts.query.split("&") if pair))
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}" for name in match["signed"].split(";")]
    canonical = "\n".join([method, parts.path, query, *lines, "", match["signed"], said])
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], match["scope"], hashlib.sha256(canonical.encode()).hexdigest()]
    )
    signature = f"AWS4{secret}".encode()
    for step in (*match["scope"].split("/"), to_sign):
        signature = hmac.digest(signature, step.encode(), "sha256")
    return hmac.compare_digest(signature.hex(), match["signature"])


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            passage = gate.check(self.command, self.path, headers, body)
            answer: tuple[dict[str, str], bytes] = ({}, b"")
            if not passage.code and passage.service == "sts":
                answer = {"Content-Type": "text/xml"}, gate.assume_role(passage, body)
            elif not passage.code:
                answer = self._ask_backend(passage, body)
            if passage.code:
                answer = {"Content-Type": "application/xml"}, refusal(passage)
            gate.passages.append(passage)
            self._answer(passage.status, *answer)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815

        def _ask_backend(self, passage: Passage, body: bytes) -> tuple[dict[str, str], bytes]:
            connection = http.client.HTTPConnection(urlsplit(gate.backend).netloc, timeout=30)
            headers = {name: value for name, value in passage.headers.items() if name not in _OWN_HEADERS}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            passage.status, content = answer.status, answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length", "0")
            connection.close()
            return kept, content

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


def refusal(passage: Passage) -> bytes:
    """A refusal in the words of S3 (or STS), with more in it than anybody should read."""
    told = f"key {passage.key_id}, token {passage.headers.get('x-amz-security-token')}"
    inner = f"<Code>{passage.code}</Code><Message>refused: {told}</Message><AWSAccessKeyId>{told}</AWSAccessKeyId>"
    if passage.service == "sts":
        return f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>".encode()
    return f"<Error>{inner}<StringToSign>{passage.headers.get('authorization')}</StringToSign></Error>".encode()
