# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in for AWX as a HTTP server on 127.0.0.1, with a log of the calls."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tools.awx_collection import VERSION

from .credentials import Refused
from .objects import KINDS, Store

USER, PASSWORD = "admin", "admin password of the stand-in"
PAGE = 25


class Controller:
    """A stand-in for AWX that runs."""

    def __init__(self, playbooks: dict[str, list[str]]) -> None:
        self.store = Store(playbooks)
        self.calls: list[tuple[str, str, Any]] = []
        self.tokens: dict[int, str] = {}
        self.lock = threading.Lock()
        self.url = ""

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        """Return the calls that meant to change something, but for logging in and out."""
        return [call for call in self.calls if call[0] != "GET" and "/tokens/" not in call[1]]

    # --- answering ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, address: str, body: Any, authorization: str) -> tuple[int, Any]:
        """Return status and answer of a call."""
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path.removeprefix("/api/v2/").strip("/").split("/")
        if not parts.path.startswith("/api/v2/"):
            return 404, {"detail": "The requested resource could not be found."}
        if path[0] == "tokens":
            return self._token(method, path, authorization)
        if authorization.removeprefix("Bearer ") not in self.tokens.values():
            return 401, {"detail": "Authentication credentials were not provided."}
        try:
            return self._object(method, path, query, body)
        except Refused as error:
            return error.status, error.answer

    def _token(self, method: str, path: list[str], authorization: str) -> tuple[int, Any]:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"detail": "Invalid username/password."}
        if method == "DELETE":
            self.tokens.pop(int(path[1]), None)
            return 204, None
        number = len(self.calls)
        self.tokens[number] = f"token-{number}"
        return 201, {"id": number, "token": self.tokens[number]}

    def _object(self, method: str, path: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        store, kind = self.store, path[0]
        if kind == "project_updates":
            return 200, {"id": int(path[1]), "status": "successful"}
        if kind not in (*KINDS, "unified_job_templates"):
            return 404, {"detail": "The requested resource could not be found."}
        if len(path) == 1:
            if method == "GET":
                return 200, self._page(kind, list(store.all(kind)), query)
            if method == "POST" and kind in KINDS:
                made = store.shown(kind, store.create(kind, body))
                if kind == "projects" and made["scm_type"]:
                    made["summary_fields"]["current_update"] = {"id": made["id"]}
                return 201, made
            return 405, {"detail": "Method not allowed."}
        one = store.objects[kind].get(int(path[1])) if kind in KINDS else None
        if one is None:
            return 404, {"detail": "Not found."}
        if len(path) == 2:
            if method == "PATCH":
                store.update(kind, one, body)
            elif method == "DELETE":
                store.delete(kind, one)
                return 204, None
            return 200, store.shown(kind, one)
        return self._part(method, kind, one, path[2], query, body)

    def _part(
        self, method: str, kind: str, one: dict[str, Any], name: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        store = self.store
        if name == "survey_spec" and kind in ("job_templates", "workflow_job_templates"):
            if method == "POST":
                store.survey(one["id"], body)
                return 200, {}
            return 200, store.surveys.get(one["id"], {})
        if name not in KINDS[kind].lists:
            return 404, {"detail": "Not found."}
        if method == "POST":
            store.associate(kind, one, name, body["id"], remove=bool(body.get("disassociate")))
            return 204, None
        other = KINDS[kind].lists[name]
        return 200, self._page(other, [store.objects[other][n] for n in store.lists.get((one["id"], name), [])], query)

    def _page(self, kind: str, found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        number = int(query.pop("page", "1"))
        either = {name.removeprefix("or__"): query.pop(name) for name in list(query) if name.startswith("or__")}
        for one in list(found):
            same = all(name in one and str(one[name]) == value for name, value in query.items() if value != "None")
            if not same or (either and not any(str(one.get(name)) == value for name, value in either.items())):
                found.remove(one)
        begin, more = (number - 1) * PAGE, len(found) > number * PAGE
        again = {**query, **{f"or__{name}": value for name, value in either.items()}, "page": str(number + 1)}
        kinds = {about.type: name for name, about in KINDS.items()}
        return {
            "count": len(found),
            "next": f"/api/v2/{kind}/?{urlencode(again)}" if more else None,
            "previous": None,
            "results": [self.store.shown(kinds[one["type"]], one) for one in found[begin : begin + PAGE]],
        }


@contextlib.contextmanager
def running(playbooks: dict[str, list[str]]) -> Iterator[Controller]:
    """Serve a stand-in for AWX for the length of the block."""
    controller = Controller(playbooks)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_call(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null") if length else None
            with controller.lock:
                controller.calls.append((self.command, self.path, body))
                status, answer = controller.answer(
                    self.command, self.path, body, self.headers.get("Authorization") or ""
                )
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", VERSION)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_call

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    controller.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
