# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors as the manager reports them: HTTP error bodies and job errors (ovm-rest-api 5)."""

from __future__ import annotations

import time
from typing import Any

# code -> (enum name in wsErrorCode, kind that decides the HTTP status). The names of the first
# four are in ovm-json/composed-Error-*; the others follow their pattern (row 5 of section 21).
CODES: dict[str, tuple[str, str]] = {
    "AUTH_000003": ("AUTHENTICATION_INFO_NOT_SUPPLIED", "unauthenticated"),
    "AUTH_000005": ("AUTHENTICATION_INVALID_CREDENTIALS", "unauthenticated"),
    "AUTH_000006": ("AUTHENTICATION_UNAUTHORIZED", "forbidden"),
    "GEN_000000": ("GENERAL_UNKNOWN_EXCEPTION", "server"),
    "GEN_000001": ("GENERAL_NULL_ARGUMENT", "validation"),
    "GEN_000002": ("GENERAL_OBJECT_NOT_FOUND", "not_found"),
    "GEN_000003": ("GENERAL_REST_HANDLER_NOT_FOUND", "not_found"),
    "GEN_000004": ("GENERAL_ID_SUPPLIED_ON_CREATE", "validation"),
    "GEN_000005": ("GENERAL_NOT_IMPLEMENTED", "server"),
    "GEN_000006": ("GENERAL_URI_ID_MISMATCH", "validation"),
    "GEN_000007": ("GENERAL_DELETE_PARENT_MISMATCH", "validation"),
    "GEN_000008": ("GENERAL_CREATE_PARENT_MISMATCH", "validation"),
    "GEN_000009": ("GENERAL_ASSOCIATION_MISMATCH", "validation"),
    "GEN_000010": ("GENERAL_INVALID_QUERY_PARAMETER", "validation"),
    "GEN_000011": ("GENERAL_OBJECT_OUT_OF_DATE", "conflict"),
    "GEN_000012": ("GENERAL_OPERATION_NOT_SUPPORTED", "validation"),
    "GEN_000015": ("GENERAL_VALUE_OUT_OF_RANGE", "validation"),
    "GEN_000016": ("GENERAL_VALUE_NOT_SUPPORTED", "validation"),
    "GEN_000018": ("GENERAL_INCORRECT_ID_TYPE", "validation"),
    "GEN_000022": ("GENERAL_INVALID_OBJECT_TYPE", "validation"),
    "GEN_000023": ("GENERAL_INVALID_VALUE", "validation"),
    "GEN_000025": ("GENERAL_TOO_MANY_SESSIONS", "server"),
    "GEN_000029": ("GENERAL_OBJECT_LOCKED", "conflict"),
    "BUSINESS_MANAGER_000002": ("BUSINESS_MANAGER_VM_OPERATION_ON_TEMPLATE", "validation"),
    "CLONE_TYPE_000000": ("CLONE_TYPE_INVALID", "validation"),
    "JOB_000001": ("JOB_INVALID_FILTER_ARGUMENT", "validation"),
    "JOB_000002": ("JOB_READ_ONLY", "validation"),
    "NETWORK_000006": ("NETWORK_MAC_IN_USE", "conflict"),
    "NETWORK_000009": ("NETWORK_TEMPLATE_VNIC_HAS_MAC", "validation"),
    "REPOSITORY_000000": ("REPOSITORY_TOO_MANY_URLS", "validation"),
    "VIRTUAL_DISK_000000": ("VIRTUAL_DISK_INVALID_DISK_TYPE", "validation"),
    "VIRTUAL_DISK_000001": ("VIRTUAL_DISK_IMPORT_FAILED", "server"),
    "VIRTUAL_DISK_000002": ("VIRTUAL_DISK_OPERATION_NOT_POSSIBLE_ON_CDROM", "validation"),
    "VIRTUAL_DISK_000003": ("VIRTUAL_DISK_ILLEGAL_CLONE_TARGET", "validation"),
    "VM_000001": ("VM_TEMPLATE_CANNOT_BE_CREATED", "validation"),
    "VM_000002": ("VM_SERVER_POOL_MISMATCH", "validation"),
    "VM_000004": ("VM_INVALID_OS_TYPE", "validation"),
    "VM_CLONE_STORAGE_MAPPING_000000": ("VM_CLONE_STORAGE_MAPPING_ILLEGAL_TARGET", "validation"),
    "VM_DISK_MAPPING_000000": ("VM_DISK_MAPPING_CANNOT_MODIFY_VM_ID", "validation"),
    "VM_DISK_MAPPING_000001": ("VM_DISK_MAPPING_CANNOT_MODIFY_VIRTUAL_DISK_ID", "validation"),
    "VM_DISK_MAPPING_000002": ("VM_DISK_MAPPING_CANNOT_MODIFY_STORAGE_ELEMENT_ID", "validation"),
    "VM_DISK_MAPPING_000003": ("VM_DISK_MAPPING_MUST_SUPPLY_ONE_DISK", "validation"),
    "WORKER_SERVER_000001": ("WORKER_SERVER_NONE_FOR_REPOSITORY", "server"),
}


class ApiError(Exception):
    """A request that is refused at once: an HTTP failure with an error body."""

    def __init__(self, code: str, text: str, *, kind: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.kind = kind or CODES.get(code, ("", "validation"))[1]

    def body(self, spelling: str = "name") -> dict[str, Any]:
        """The WsErrorDetails object, keys in the order of ovm-json/composed-Error-*."""
        name = CODES.get(self.code, ("RULE_EXCEPTION", ""))[0]
        message = self.text if self.code.startswith("OVM") else f"{self.code}:{self.text}"
        return {
            "cause": None,
            "errorCode": self.code,
            "message": message,
            "wsErrorCode": name if spelling == "name" else self.code,
        }


class JobFailure(Exception):
    """What ends a job in FAILURE: ``error.type`` and ``error.message`` (ovm-rest-api 4.1)."""

    def __init__(self, error_type: str, message: str, *, code: str = "OVMRU_000000E") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.code = code


def stamp(now: float) -> str:
    """The date in brackets that ends the manager's core messages (ovm-rest-api 5.2)."""
    return time.strftime("[%a %b %d %H:%M:%S UTC %Y]", time.gmtime(now))


def rule(code: str, text: str, now: float) -> JobFailure:
    """A violated core rule (OVMRU_...)."""
    message = f"com.oracle.ovm.mgr.api.exception.RuleException: {code} {text} {stamp(now)}"
    return JobFailure("RULE", message, code=code)


def not_stopped(vm_name: str, state: str, now: float) -> JobFailure:
    """OVMRU_005002E, the one rule text of virtual machines that is known verbatim (ovm-rest-api 5.2)."""
    text = f"Operation not allowed- Virtual Machine: {vm_name}, is not STOPPED. It is {state}."
    return rule("OVMRU_005002E", text, now)


def web_service(code: str, text: str) -> JobFailure:
    """A web-service error that shows up in a job (ovm-rest-api 5.2)."""
    return JobFailure("WS_API", f"ovm.mgr.ws.model.WsException: {code}: {text}", code=code)


def server_command(command: str, server: str, address: str, reason: str, now: float) -> JobFailure:
    """A command that failed in the agent of a server (OVMAPI_4010E)."""
    message = (
        f"OVMAPI_4010E Attempt to send command: {command} to server: {server} failed. "
        f"OVMAPI_4004E Sync command failed on server: {address}. Command: {command}, "
        f"Server error: org.apache.xmlrpc.XmlRpcException: <type 'exceptions.Exception'>:{reason} {stamp(now)}"
    )
    return JobFailure("SERVER", message, code="OVMAPI_4010E")
