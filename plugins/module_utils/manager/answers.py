# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""From an answer of the manager to a typed error.

The error's kind is decided by its code, never by words in its text (ovm-rest-api 5). Rule errors of the core come
either as an HTTP error or as a failed job; both end as JobFailedError (ovm-rest-api 4.4).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import (
    AuthenticationError,
    ConflictError,
    JobFailedError,
    ManagerError,
    ManagerResponseError,
    NotFoundError,
)

# GEN_000029, NETWORK_000008, VM_CLONE_STORAGE_MAPPING_000000 | OVMRU_005002E, OVMAPI_4010E  (ovm-rest-api 5.2)
_CODE = re.compile(r"\b(OVM[A-Z]+_[0-9]{4,6}[A-Z]?|[A-Z]+(?:_[A-Z]+)*_[0-9]{6})(?![0-9A-Za-z])")

NOT_FOUND = frozenset({"GEN_000002", "GEN_000019"})
CONFLICT = frozenset({"GEN_000011", "GEN_000020", "GEN_000021", "GEN_000029"})
NOT_LOGGED_IN = "AUTH_000000"
UNAUTHORIZED = "AUTH_000006"
SESSION_CAPS = frozenset({"GEN_000025", "GEN_000026", "GEN_000027"})

_EXCERPT = 300  # characters


def find_code(message: str) -> str | None:
    """Return the first error code of Oracle VM in a text, or None."""
    found = _CODE.search(message)
    return found.group(1) if found else None


def parse(body: bytes, content_type: str) -> tuple[bool, Any]:
    """Return (whether the body is JSON, its value). An empty body is None (ovm-rest-api 1.2, 1.4)."""
    if not body.strip():
        return True, None
    try:
        return True, json.loads(body.decode("utf-8"))
    except ValueError:  # covers undecodable bytes as well as malformed JSON
        return False, excerpt(body, content_type)


def excerpt(body: bytes, content_type: str = "") -> str:
    """Return the readable beginning of a body that is not JSON: one line, no markup, at most 300 characters."""
    shown = body[:20000].decode("utf-8", "replace")
    if "<" in shown and ("html" in content_type.lower() or re.search(r"(?i)<(!doctype|html|head|body|\?xml)", shown)):
        shown = re.sub(r"(?is)<(script|style|title)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", " ", shown)
        shown = html.unescape(shown)
    shown = "".join(character if character.isprintable() else " " for character in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= _EXCERPT else shown[: _EXCERPT - 1] + "…"


def is_error(status: int, value: Any) -> bool:
    """Tell an error from an object: not 2xx, or an error code where an object would have its id (ovm-rest-api 5.1)."""
    if not 200 <= status <= 299:
        return True
    return isinstance(value, Mapping) and "errorCode" in value and "id" not in value


def is_session_cap(status: int, value: Any) -> bool:
    """Tell the refusal of one more session. With which status it comes is not known; 401 would be one that fits."""
    return is_error(status, value) and _message_and_code(value)[1] in SESSION_CAPS


def error_from(action: str, status: int, value: Any) -> ManagerError:
    """Return the typed error for an answer. ``value`` is the parsed body, or the excerpt of one that is not JSON."""
    message, code = _message_and_code(value)
    said = f": {message}" if message else "."
    facts: dict[str, Any] = {"status": status, "error_code": code}
    if code == UNAUTHORIZED or (status == 403 and code is None):
        return AuthenticationError(f"The user is not allowed to {action}{said}", **facts)
    if (status == 401 and code not in SESSION_CAPS) or (code or "").startswith("AUTH_"):
        return AuthenticationError(f"Oracle VM Manager refused the login, to {action}{said}", **facts)
    if code in NOT_FOUND:
        return NotFoundError(f"Could not {action}: the object does not exist on Oracle VM Manager{said}", **facts)
    if code in CONFLICT:
        return ConflictError(f"Could not {action}: the object is busy or was changed by others{said}", **facts)
    if (code or "").startswith(("OVMRU_", "OVMAPI_")):
        return JobFailedError(f"Oracle VM Manager refused to {action}{said}", error_type=_error_type(code), **facts)
    if code in SESSION_CAPS:
        said += " Too many sessions are open; close some or wait until they expire."
    elif 300 <= status <= 399:
        said = ": it redirects elsewhere, and redirects are not followed. Check the address."
    return ManagerResponseError(
        f"Oracle VM Manager answered with HTTP status {status} to the request to {action}{said}", **facts
    )


def _error_type(code: str | None) -> str:
    return "RULE" if (code or "").startswith("OVMRU_") else "SERVER"


def _message_and_code(value: Any) -> tuple[str, str | None]:
    if isinstance(value, Mapping) and isinstance(value.get("errorDetails"), Mapping):
        value = value["errorDetails"]  # the wrapper of the class listing (ovm-rest-api 5.1)
    if not isinstance(value, Mapping):
        return (excerpt(value.encode()) if isinstance(value, str) else ""), None
    message = value.get("message") if isinstance(value.get("message"), str) else ""
    code = value.get("errorCode")
    if not (isinstance(code, str) and _CODE.fullmatch(code)):
        code = find_code(message or "")
    return excerpt((message or "").encode()), code
