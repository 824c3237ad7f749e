# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS with real certificates against a real socket on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from ansible_collections.ovm.backup.plugins.module_utils.errors import ManagerCertificateError, ManagerUnreachableError
from ansible_collections.ovm.backup.plugins.module_utils.manager.session import ConnectionSettings, ManagerSession


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    certificate = ca.issue_cert("127.0.0.1", "localhost")
    foreign = ca.issue_cert("ovmm.example.com")
    servers = []
    for issued in (certificate, foreign):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        made.handle_error = lambda *_args: None  # type: ignore[method-assign]
        made.socket = context.wrap_socket(made.socket, server_side=True)
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(made)
    pem = certificate.cert_chain_pems[0].bytes().decode()
    yield SimpleNamespace(
        url=f"https://127.0.0.1:{servers[0].server_port}",
        foreign=f"https://127.0.0.1:{servers[1].server_port}",
        ca=str(folder / "ca.pem"),
        other=str(folder / "other.pem"),
        fingerprint=hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(),
    )
    for made in servers:
        made.shutdown()
        made.server_close()


def get(url: str, **options: Any) -> Any:
    settings = ConnectionSettings(url=url, user="admin", password="geheim-Passw0rd", **options)
    with ManagerSession(settings, sleep=lambda _seconds: None, attempts=2) as session:
        return session.request("GET", "Vm")


def test_ca_is_trusted(server: Any) -> None:
    assert get(server.url, ca_path=server.ca) == []


def test_wrong_ca_is_refused(server: Any) -> None:
    with pytest.raises(ManagerCertificateError, match="is not trusted: .*certificate verify failed") as caught:
        get(server.url, ca_path=server.other)
    assert "Give its CA (ca_path) or its SHA-256 fingerprint." in caught.value.message


def test_verification_is_the_default(server: Any) -> None:
    with pytest.raises(ManagerCertificateError):
        get(server.url)


def test_foreign_host_name_is_refused(server: Any) -> None:
    with pytest.raises(ManagerCertificateError, match="127.0.0.1"):
        get(server.foreign, ca_path=server.ca)


def test_fingerprint_needs_no_ca(server: Any) -> None:
    assert get(server.url, fingerprint=server.fingerprint) == []
    colons = ":".join(server.fingerprint[index : index + 2] for index in range(0, 64, 2)).upper()
    assert get(server.url, fingerprint=colons, validate_certs=False) == []


def test_wrong_fingerprint_is_refused(server: Any) -> None:
    for options in ({}, {"ca_path": server.ca}, {"validate_certs": False}):
        with pytest.raises(ManagerCertificateError, match="Fingerprints did not match.*Check fingerprint"):
            get(server.url, fingerprint="ab" * 32, **options)


def test_fingerprint_and_ca_must_both_hold(server: Any) -> None:
    with pytest.raises(ManagerCertificateError):
        get(server.url, fingerprint=server.fingerprint, ca_path=server.other)
    assert get(server.url, fingerprint=server.fingerprint, ca_path=server.ca) == []


def test_checking_off_is_silent_and_leaves_other_warnings_alone(server: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert get(server.url, validate_certs=False) == []
        warnings.warn("Unverified HTTPS request by somebody else", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["Unverified HTTPS request by somebody else"]


def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound but not listening: refuses connections
        port = reserved.getsockname()[1]
        with pytest.raises(ManagerUnreachableError) as caught:
            get(f"https://127.0.0.1:{port}")
    base = f"https://127.0.0.1:{port}/ovm/core/wsapi/rest"
    assert caught.value.message == f"Cannot reach Oracle VM Manager at {base}: Connection refused."


def test_port_that_speaks_no_tls(tmp_path: Path) -> None:
    plain = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=plain.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        with pytest.raises(ManagerUnreachableError, match="Lost Oracle VM Manager"):
            get(f"https://127.0.0.1:{plain.server_port}", validate_certs=False)
    finally:
        plain.shutdown()
        plain.server_close()
