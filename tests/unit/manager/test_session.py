# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session: login, safe retries, typed errors, no secrets, nowhere else."""

from __future__ import annotations

import base64
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils.manager.session import ConnectionSettings, ManagerSession

BASIC = "Basic " + base64.b64encode(b"admin:geheim-Passw0rd").decode()
COOKIE = {"Set-Cookie": "JSESSIONID=abc; path=/; HttpOnly; Secure"}


def refused_connection() -> requests.ConnectionError:
    reason = NewConnectionError(None, "Failed to establish a new connection: [Errno 111] Connection refused")  # type: ignore[arg-type]
    return requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


def broken_connection() -> requests.ConnectionError:
    return requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset")))


# --- login -----------------------------------------------------------------------------------------------------------


def test_basic_goes_out_once_then_the_cookies(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", fakes.Answer(200, [], COOKIE), fakes.Answer(200, []))
    assert session.request("GET", "Vm") == []
    assert session.request("GET", "Vm") == []
    first, second = transport.calls
    assert first.headers["Authorization"] == BASIC and "Cookie" not in first.headers
    assert "Authorization" not in second.headers and second.headers["Cookie"] == "JSESSIONID=abc"


def test_without_a_cookie_basic_goes_out_each_time(session: Any, transport: Any) -> None:
    transport.on("GET", "/Vm", [])
    session.request("GET", "Vm")
    session.request("GET", "Vm")
    assert [call.headers["Authorization"] for call in transport.calls] == [BASIC, BASIC]


def test_expired_session_logs_in_once_more(session: Any, transport: Any, fakes: Any) -> None:
    transport.on(
        "PUT",
        "/Vm/1/stop",
        fakes.Answer(201, fakes.job(), COOKIE),
        fakes.Answer(401, "<html>Unauthorized</html>"),
        fakes.Answer(201, fakes.job(), {"Set-Cookie": "JSESSIONID=new; path=/"}),
    )
    session.request("PUT", "Vm", "1", "stop")
    session.request("PUT", "Vm", "1", "stop")
    assert [("Authorization" in call.headers, call.headers.get("Cookie")) for call in transport.calls] == [
        (True, None),
        (False, "JSESSIONID=abc"),
        (True, None),  # the dead cookie is gone: it would win over Basic
    ]


def test_not_logged_in_code_counts_as_expired(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", fakes.Answer(200, [], COOKIE), fakes.refused("AUTH_000000", 500), fakes.Answer(200, []))
    session.request("GET", "Vm")
    assert session.request("GET", "Vm") == []


def test_wrong_password_is_tried_once_only(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Manager", fakes.Answer(401, "<html>no</html>"))
    with pytest.raises(errors.AuthenticationError, match="refused the user name or password of user 'admin'") as caught:
        session.request("GET", "Manager")
    assert len(transport.calls) == 1
    assert caught.value.details["status"] == 401


def test_second_401_after_an_expired_session(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", fakes.Answer(200, [], COOKIE), fakes.Answer(401, None))
    session.request("GET", "Vm")
    with pytest.raises(errors.AuthenticationError):
        session.request("GET", "Vm")
    assert len(transport.calls) == 3


def test_environment_cannot_replace_credentials_proxy_or_ca(
    session: Any, transport: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine ovmm.example.com login evil password evil\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.net:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    transport.on("GET", "/Vm", [])
    session.request("GET", "Vm")
    assert transport.calls[0].headers["Authorization"] == BASIC
    assert not transport.options[0]["proxies"]
    assert transport.options[0]["verify"] is True


# --- requests --------------------------------------------------------------------------------------------------------


def test_both_json_headers_always(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", [])
    transport.on("PUT", r"/Vm/1/start", fakes.job())
    session.request("GET", "Vm")
    session.request("PUT", "Vm", "1", "start")
    for call in transport.calls:
        assert (call.headers["Accept"], call.headers["Content-Type"]) == ("application/json", "application/json")
    assert transport.calls[1].headers["Content-Length"] == "0"


def test_ids_are_percent_encoded(session: Any, transport: Any) -> None:
    transport.on("GET", ".*", {"id": 1})
    session.request("GET", "FileSystemMount", "03:aa_mount_/OVS/Repositories/0004fb")
    session.request("GET", "FileServerPlugin", "oracle.ocfs2.OCFS2.OCFS2Plugin (0.1.0-42.1)")
    session.request("GET", "Vm", "../Manager?x=ü#")
    assert transport.log == [
        "GET /FileSystemMount/03%3Aaa_mount_%2FOVS%2FRepositories%2F0004fb",
        "GET /FileServerPlugin/oracle.ocfs2.OCFS2.OCFS2Plugin%20%280.1.0-42.1%29",
        "GET /Vm/..%2FManager%3Fx%3D%C3%BC%23",
    ]


def test_query_values(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("PUT", ".*", fakes.job())
    query = {"serverPoolId": "a b", "createTemplate": False, "repositoryId": None, "maxJobs": 5}
    session.request("PUT", "Vm", "1", "clone", query=query)
    assert transport.log == ["PUT /Vm/1/clone?serverPoolId=a+b&createTemplate=false&maxJobs=5"]


def test_body_is_json(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("POST", "/Vm", fakes.job())
    session.request("POST", "Vm", body={"name": "ä"})
    assert transport.calls[0].body == {"name": "ä"}


def test_redirects_are_not_followed(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", fakes.Answer(302, None, {"Location": "https://evil.example.net/"}))
    with pytest.raises(errors.ManagerResponseError, match="redirects are not followed") as caught:
        session.request("GET", "Vm")
    assert caught.value.details["status"] == 302
    assert len(transport.calls) == 1


def test_plain_http_has_no_transport(session: Any) -> None:
    assert list(session._http.adapters) == ["https://"]


def test_empty_answer_is_none(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("POST", "/login", fakes.Answer(200, ""))
    assert session.request("POST", "login") is None


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("GEN_000002", errors.NotFoundError),
        ("GEN_000019", errors.NotFoundError),
        ("GEN_000011", errors.ConflictError),
        ("GEN_000020", errors.ConflictError),
        ("GEN_000021", errors.ConflictError),
        ("GEN_000029", errors.ConflictError),
        ("AUTH_000005", errors.AuthenticationError),
        ("AUTH_000006", errors.AuthenticationError),
        ("GEN_000001", errors.ManagerResponseError),
        ("GEN_000003", errors.ManagerResponseError),
        ("GEN_000025", errors.ManagerResponseError),
        ("VM_CLONE_STORAGE_MAPPING_000000", errors.ManagerResponseError),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 409, 500, 200])  # the code decides, not the status
def test_errors_are_typed_by_code(session: Any, transport: Any, fakes: Any, code: str, kind: Any, status: int) -> None:
    transport.on("GET", "/Vm/1", fakes.refused(code, status))
    with pytest.raises(errors.ManagerError) as caught:
        session.request("GET", "Vm", "1")
    assert caught.type is kind
    assert caught.value.details["error_code"] == code
    assert f"{code}:said so" in caught.value.message


@pytest.mark.parametrize("code", ["GEN_000025", "GEN_000026", "GEN_000027"])
@pytest.mark.parametrize("status", [200, 401, 403, 503])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_too_many_sessions_is_no_wrong_password(
    session: Any, transport: Any, fakes: Any, code: str, status: int, method: str
) -> None:
    transport.on(method, "/Vm/1", fakes.refused(code, status))
    with pytest.raises(errors.ManagerResponseError, match="Too many sessions are open") as caught:
        session.request(method, "Vm", "1")
    assert caught.value.details == {"status": status, "error_code": code}
    assert len(transport.calls) == 1


def test_too_many_sessions_after_an_expired_one(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", fakes.Answer(200, [], COOKIE), fakes.Answer(401, None), fakes.refused("GEN_000025", 401))
    session.request("GET", "Vm")
    with pytest.raises(errors.ManagerResponseError, match="Too many sessions are open"):
        session.request("GET", "Vm")


def test_object_that_tells_of_too_many_sessions_is_no_refusal(session: Any, transport: Any, fakes: Any) -> None:
    told = fakes.failed("GEN_000025 too many sessions")
    transport.on("GET", "/Job/1", {**told, "message": "GEN_000025: too many sessions"})
    assert session.request("GET", "Job", "1")["jobRunState"] == "FAILURE"


def test_code_is_found_in_the_text(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("PUT", "/Vm/1", fakes.Answer(409, {"message": "GEN_000029:Object app01 of type Vm was locked"}))
    with pytest.raises(errors.ConflictError):
        session.request("PUT", "Vm", "1", body={})


def test_refusal_by_a_rule_is_like_a_failed_job(session: Any, transport: Any, fakes: Any) -> None:
    text = "OVMRU_005002E Operation not allowed- Virtual Machine: app01, is not STOPPED. It is RUNNING. [Sun Jun 03]"
    transport.on("PUT", "/Vm/1/clone", fakes.Answer(500, {"errorCode": "GEN_000000", "message": text}))
    transport.on("PUT", "/Vm/2/clone", fakes.Answer(500, {"message": text}))
    with pytest.raises(errors.JobFailedError) as caught:
        session.request("PUT", "Vm", "2", "clone")
    assert caught.value.details == {"status": 500, "error_code": "OVMRU_005002E", "error_type": "RULE"}


def test_html_page_of_the_application_server(session: Any, transport: Any, fakes: Any) -> None:
    page = (
        "<!DOCTYPE html><html><head><title>Error 500</title><style>b {color: red}</style></head>\n<body><h2>Error 500"
        "--Internal Server Error</h2><p>java.lang.Null&quot;Pointer\x00Exception</p><script>x()</script>" + "x" * 5000
    )
    transport.on("GET", "/Vm", fakes.Answer(500, page, {"Content-Type": "text/html"}))
    with pytest.raises(errors.ManagerResponseError) as caught:
        session.request("GET", "Vm")
    message = caught.value.message
    assert message.startswith(
        "Oracle VM Manager answered with HTTP status 500 to the request to GET /Vm: "
        'Error 500--Internal Server Error java.lang.Null"Pointer Exception xxx'
    )
    assert len(message) < 450 and "<" not in message and "color" not in message
    assert caught.value.details["status"] == 500
    assert len(transport.calls) == 1


@pytest.mark.parametrize("body", ["<html>hello</html>", "{broken", '"\x00'])
def test_success_that_is_not_json(session: Any, transport: Any, fakes: Any, body: str) -> None:
    transport.on("GET", "/Vm", fakes.Answer(200, body))
    with pytest.raises(errors.ManagerResponseError) as caught:
        session.request("GET", "Vm")
    assert caught.value.details["status"] == 200


def test_secrets_stay_inside(session: Any, transport: Any, fakes: Any) -> None:
    echo = f"<html>Authorization: {BASIC} password=geheim-Passw0rd</html>"
    transport.on("GET", "/Vm", fakes.Answer(500, echo))
    transport.on("GET", "/Vm/1", fakes.refused("GEN_000001", 400, "got geheim-Passw0rd"))
    for path in (("Vm",), ("Vm", "1")):
        with pytest.raises(errors.ManagerResponseError) as caught:
            session.request("GET", *path)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.as_failure()) + repr(session)
        assert "geheim" not in shown and BASIC[6:] not in shown
        assert "********" in caught.value.message


# --- retries ---------------------------------------------------------------------------------------------------------


def test_reads_are_repeated_with_growing_pauses(session: Any, transport: Any, clock: Any, fakes: Any) -> None:
    transport.on(
        "GET", "/Vm", broken_connection(), fakes.Answer(503, "<html/>"), requests.ReadTimeout(), fakes.Answer(200, [])
    )
    assert session.request("GET", "Vm") == []
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_reads_are_given_up_after_five_tries(session: Any, transport: Any, clock: Any, fakes: Any, status: int) -> None:
    transport.on("GET", "/Vm", fakes.Answer(status, "<html><body>Bad gateway</body></html>"))
    with pytest.raises(errors.ManagerUnreachableError, match=f"HTTP status {status}: Bad gateway") as caught:
        session.request("GET", "Vm")
    assert len(transport.calls) == 5 and len(clock.slept) == 4
    assert "outcome" not in caught.value.as_failure()


def test_pauses_are_spread(transport: Any, fakes: Any) -> None:
    slept: list[float] = []
    numbers = iter([0.0, 0.999, 0.25])
    settings = ConnectionSettings(**fakes.settings)
    session = ManagerSession(settings, adapter=transport, sleep=slept.append, rng=lambda: next(numbers), attempts=4)
    transport.on("GET", "/Vm", broken_connection())
    with pytest.raises(errors.ManagerUnreachableError):
        session.request("GET", "Vm")
    assert slept == [0.25, pytest.approx(1.499), 1.5]


def test_repetitions_are_told(transport: Any, fakes: Any) -> None:
    told: list[str] = []
    settings = ConnectionSettings(**fakes.settings)
    session = ManagerSession(settings, adapter=transport, sleep=lambda _s: None, rng=lambda: 0.5, note=told.append)
    transport.on("GET", "/Vm", refused_connection(), fakes.Answer(200, []))
    session.request("GET", "Vm")
    assert told == [
        "Cannot reach Oracle VM Manager at https://ovmm.example.com:7002/ovm/core/wsapi/rest: Failed to establish a "
        "new connection: [Errno 111] Connection refused. Next try in 0.5 s."
    ]


def test_polling_callers_can_switch_repetition_off(session: Any, transport: Any) -> None:
    transport.on("GET", "/Job/1", broken_connection())
    with pytest.raises(errors.ManagerUnreachableError):
        session.request("GET", "Job", "1", repeat=False)
    assert len(transport.calls) == 1


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_writes_that_were_never_sent_are_repeated(session: Any, transport: Any, fakes: Any, method: str) -> None:
    transport.on(method, "/Vm/1", refused_connection(), requests.ConnectTimeout(), fakes.Answer(201, fakes.job()))
    assert session.request(method, "Vm", "1")["jobRunState"] == "SUCCESS"
    assert len(transport.calls) == 3


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize("trouble", [broken_connection(), requests.ReadTimeout(), 502, 503, 504])
def test_writes_with_unknown_outcome_are_never_repeated(
    session: Any, transport: Any, fakes: Any, method: str, trouble: Any
) -> None:
    transport.on(method, "/Vm/1", fakes.Answer(trouble, "<html/>") if isinstance(trouble, int) else trouble)
    with pytest.raises(errors.ManagerUnreachableError, match="carried out is unknown") as caught:
        session.request(method, "Vm", "1")
    assert caught.value.details["outcome"] == "unknown"
    assert len(transport.calls) == 1


def test_error_page_for_a_write_leaves_the_outcome_unknown(session: Any, transport: Any, fakes: Any) -> None:
    transport.on("PUT", "/Vm/1/clone", fakes.Answer(500, "<html>oops</html>"))
    with pytest.raises(errors.ManagerResponseError) as caught:
        session.request("PUT", "Vm", "1", "clone")
    assert caught.value.details["outcome"] == "unknown"


def test_time_limits_are_given(transport: Any, fakes: Any) -> None:
    transport.on("GET", "/Vm", [])
    for limit, expected in ((5.0, (5.0, 5.0)), (300.0, (30.0, 300.0))):
        settings = ConnectionSettings(**fakes.settings, request_timeout=limit)
        ManagerSession(settings, adapter=transport).request("GET", "Vm")
        assert transport.options[-1]["timeout"] == expected


def test_trust_options_reach_the_transport(transport: Any, fakes: Any, tmp_path: Path) -> None:
    transport.on("GET", "/Vm", [])
    pin = "ab" * 32
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, True),
        ({"validate_certs": False}, False),
        ({"ca_path": str(tmp_path)}, str(tmp_path)),
        ({"fingerprint": pin}, False),  # the adapter checks the pin
        ({"fingerprint": pin, "ca_path": str(tmp_path)}, str(tmp_path)),
        ({"fingerprint": pin, "validate_certs": False}, False),
    ]
    for options, verify in cases:
        settings = ConnectionSettings(**fakes.settings, **options)
        ManagerSession(settings, adapter=transport).request("GET", "Vm")
        assert transport.options[-1]["verify"] == verify


def test_session_is_closed(transport: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = SimpleNamespace(times=0)
    monkeypatch.setattr(transport, "close", lambda: setattr(closed, "times", closed.times + 1))
    with ManagerSession(ConnectionSettings(**fakes.settings), adapter=transport):
        pass
    assert closed.times == 1
