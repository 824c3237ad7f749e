# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP: raw paths, headers, authentication, faults, the call log."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from .api import Api, no_handler
from .auth import Sessions
from .call import Reply
from .calllog import WRITING, CallLog, Entry
from .control import Control
from .errors import CODES, ApiError
from .faults import RequestFault
from .jobs import locked_error
from .render import BASE_PATH, to_xml
from .store import Ref
from .world import World

HTML_500 = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.0 Draft//EN">
<HTML><HEAD><TITLE>Error 500--Internal Server Error</TITLE></HEAD>
<BODY bgcolor="white"><FONT FACE=Helvetica><BR CLEAR=all><TABLE border=0 cellspacing=5><TR><TD>
<H2>Error 500--Internal Server Error</H2></TD></TR></TABLE></FONT></BODY></HTML>
"""


class Frontend:
    """The request handler of the HTTP server."""

    def __init__(self, world: World, user: str, password: str) -> None:
        self._world = world
        self._api = Api(world)
        self.sessions = Sessions(user, password, world.clock, world.switches)
        self.calls = CallLog()
        self._control = Control(world, self._api, self.sessions, self.calls)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request."""
        path, _unused, query = request.raw_path.partition("?")
        # Clients that join their base URI with a slash too many are served too (ovm-rest-api 3.1).
        path = "/" + path.lstrip("/")
        body = await request.read()
        self._world.settle()
        if path.startswith("/simulator"):
            host = request.headers.get("Host", "127.0.0.1")
            return self._control.answer(request.method, path.removeprefix("/simulator"), host, body)
        return await self._api_request(request, path, query, body)

    async def _api_request(self, request: web.BaseRequest, path: str, query: str, body: bytes) -> web.StreamResponse:
        below = path.removeprefix(BASE_PATH)
        entry = Entry(request.method, below, query, self._world.clock.now(), writing=request.method in WRITING)
        entry.user_agent = request.headers.get("User-Agent", "")
        if below == "/login":
            entry.writing = False
        self.calls.begin(entry)
        fault = self._world.faults.take_request(request.method, unquote(below))
        if fault is not None:
            entry.fault = fault.action
        response = await self._with_fault(request, fault, entry, path, query, body)
        entry.status = response.status
        self._world.sync()
        return response

    async def _with_fault(
        self,
        request: web.BaseRequest,
        fault: RequestFault | None,
        entry: Entry,
        path: str,
        query: str,
        body: bytes,
    ) -> web.StreamResponse:
        if fault is None:
            return self._answer(request, entry, path, query, body)
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            self._world.settle()
        response = None
        if fault.when == "after" or fault.action in ("delay", "truncate", "not_json"):
            response = self._answer(request, entry, path, query, body)
        if fault.action == "delay":
            assert response is not None
            return response
        return await self._spoil(request, fault, entry, response)

    async def _spoil(
        self, request: web.BaseRequest, fault: RequestFault, entry: Entry, response: web.Response | None
    ) -> web.StreamResponse:
        if fault.action == "html_500":
            return web.Response(status=500, text=HTML_500, content_type="text/html")
        if fault.action == "not_json":
            return web.Response(
                status=response.status if response else 200, text="<html>", content_type="application/json"
            )
        if fault.action == "truncate" and response is not None:
            payload = bytes(response.body or b"")  # type: ignore[arg-type]
            stream = web.StreamResponse(status=response.status, headers={"Content-Length": str(len(payload))})
            await stream.prepare(request)
            await stream.write(payload[: len(payload) // 2])
            _abort(request)
            return stream
        if fault.action in ("reset", "truncate"):
            _abort(request)
            return web.Response(status=500)
        return self._refuse(request, entry, self._fault_error(fault, entry), fault)

    def _fault_error(self, fault: RequestFault, entry: Entry) -> ApiError:
        if fault.action == "unauthorized":
            self.sessions.expire_all()
            return ApiError("AUTH_000003", "The session has expired")
        if fault.action == "missing_worker":
            return ApiError("WORKER_SERVER_000001", "No worker server was found for the repository")
        if fault.action == "error":
            return ApiError(fault.code, fault.message, kind=None if fault.code in CODES else "server")
        words = [unquote(word) for word in entry.path.strip("/").split("/")]
        obj = self._world.store.find(Ref(words[0], words[1])) if len(words) > 1 else None
        if fault.action == "stale_generation":
            return ApiError("GEN_000011", f"The object {obj.name if obj else entry.path} is out of date")
        return locked_error(obj or self._world.manager)

    # -- the normal way --------------------------------------------------------------------------------------

    def _answer(self, request: web.BaseRequest, entry: Entry, path: str, query: str, body: bytes) -> web.Response:
        cookie = None
        try:
            cookie = self.sessions.authenticate(request.headers.get("Authorization"), request.cookies)
            if path != BASE_PATH and not path.startswith(BASE_PATH + "/"):
                raise no_handler(request.method, [path])
            reply = self._dispatch(request, entry, query, body)
            response = self._respond(request, reply)
        except ApiError as refused:
            response = self._refuse(request, entry, refused)
        except Exception as problem:
            traceback.print_exc(file=sys.stderr)
            response = self._refuse(request, entry, ApiError("GEN_000000", f"{type(problem).__name__}: {problem}"))
        if cookie is not None:
            name = self._world.switches["cookie_name"]
            response.set_cookie(name, cookie, path="/ovm/core", secure=True, httponly=True)
        return response

    def _dispatch(self, request: web.BaseRequest, entry: Entry, query: str, body: bytes) -> Reply:
        segments = [unquote(word) for word in entry.path.split("/") if word]
        if request.method == "POST" and segments == ["login"]:
            return Reply(text="")
        if entry.writing and self._world.read_only:
            entry.refused = True
            raise ApiError("AUTH_000006", "The simulator is read-only: writing requests are refused")
        arguments = dict(parse_qsl(query, keep_blank_values=True))
        document = self._document(request, body)
        host = request.headers.get("Host", "127.0.0.1")
        reply = self._api.answer(request.method, segments, arguments, document, host=host, user=self.sessions.user)
        entry.wrote = entry.writing
        return reply

    def _document(self, request: web.BaseRequest, body: bytes) -> object:
        """The body's JSON value; a parameter such as a charset beside the type does not matter (ovm-rest-api 1.4)."""
        if not body.strip():
            return None
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and self._world.switches["require_json_headers"]:
            raise ApiError("GEN_000016", f"The content type {kind or 'none'} is not supported", kind="media")
        try:
            return json.loads(body)
        except ValueError:
            raise ApiError("GEN_000023", "The body is not valid JSON") from None

    def _respond(self, request: web.BaseRequest, reply: Reply) -> web.Response:
        if reply.text is not None:
            if not reply.text:
                return web.Response(status=reply.status)
            return web.Response(status=reply.status, text=reply.text, content_type="text/plain")
        return self._write(request, reply.value, reply.status)

    def _write(self, request: web.BaseRequest, value: object, status: int) -> web.Response:
        accept = request.headers.get("Accept", "*/*")
        if "application/json" in accept or not self._world.switches["require_json_headers"]:
            text = json.dumps(value, ensure_ascii=False)
            # Exactly this content type, without a charset: there are clients that compare it (ovm-rest-api 1.4).
            return web.Response(status=status, body=text.encode(), headers={"Content-Type": "application/json"})
        document = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + to_xml(value, "item")
        if isinstance(value, list):
            document = document.replace("?>", "?><list>", 1) + "</list>"
        return web.Response(status=status, body=document.encode(), headers={"Content-Type": "application/xml"})

    def _refuse(
        self, request: web.BaseRequest, entry: Entry, refused: ApiError, fault: RequestFault | None = None
    ) -> web.Response:
        entry.error_code = refused.code
        switches = self._world.switches
        fixed = {"unauthenticated": 401, "media": 415}
        status = fixed.get(refused.kind) or switches[f"status_{refused.kind}"]
        if fault is not None and fault.action == "error":
            status = fault.status
        response = self._write(request, refused.body(switches["ws_error_code"]), status)
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="weblogic"'
        return response


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
