# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""What the modules share: their common options, the engine's objects made from them, and how failures are reported."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ._environment import env_fallback
from ._libraries import missing_libraries
from .errors import InvalidInputError, OvmBackupError
from .vault.access import (
    ENVIRONMENT,
    SECRETS,
    TARGET_ENVIRONMENT,
    VaultAccess,
    option_names,
    variable,
)
from .vault.manifest import Point
from .vault.points import Vault
from .vault.storage.s3_settings import ADDRESSING_STYLES

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def vault_options(*, required: bool = True) -> dict[str, Any]:
    """Return the options of the documentation fragment C(vault)."""
    return {
        "vault": {"type": "path", "required": required, "fallback": (env_fallback, ["OVM_VAULT"])},
        "vault_access": vault_access_option(),
    }


def target_vault_options() -> dict[str, Any]:
    """Return the options of the documentation fragment C(vault.target)."""
    return {
        "target_vault": {"type": "path", "required": True, "fallback": (env_fallback, ["OVM_TARGET_VAULT"])},
        "target_vault_access": vault_access_option(TARGET_ENVIRONMENT),
    }


def vault_access_option(environment: str = ENVIRONMENT) -> dict[str, Any]:
    """Return the option C(vault_access); what is not given comes from the variables that begin so."""
    options: dict[str, Any] = {}
    for name in option_names():
        options[name] = {
            "type": "str",
            "no_log": name in SECRETS,
            "fallback": (env_fallback, [variable(name, environment)]),
        }
    for name in ("ca_path", "encryption_key_file"):
        options[name]["type"] = "path"
    options["validate_certs"].update(type="bool", default=True)
    options["addressing_style"].update(default="auto", choices=list(ADDRESSING_STYLES))
    return {"type": "dict", "apply_defaults": True, "options": options}


def open_vault(module: AnsibleModule) -> Vault:
    """Return the vault that the options name."""
    return Vault.open(module.params["vault"], vault_access(module))


def open_target_vault(module: AnsibleModule) -> Vault:
    """Return the vault that the options of C(target_vault_options) name."""
    return Vault.open(module.params["target_vault"], VaultAccess.from_options(module.params["target_vault_access"]))


def vault_access(module: AnsibleModule) -> VaultAccess:
    """Return how to get at the vault that the options name."""
    return VaultAccess.from_options(module.params["vault_access"])


def lock_owner(module: AnsibleModule) -> str:
    """Return what a lock says of who holds it: the module and the host that it runs on."""
    return f"{module._name} on {platform.node()}"


def compression_level(module: AnsibleModule) -> int:
    """Return the option of this name, if it is a level that can be had."""
    level = int(module.params["compression_level"])
    if not 1 <= level <= 19:
        raise InvalidInputError(f"compression_level must be from 1 to 19, not {level}")
    return level


def point_result(point: Point | None, kind: str, *, changed: bool, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of a module that makes recovery points; without a point that of check mode."""
    return {
        "changed": changed,
        "recovery_point": point.as_dict() if point is not None else None,
        "type": kind,
        "duration": point.durations["transfer"] if changed and point is not None else 0.0,
        "notes": list(notes),
    }


def point_diff(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the difference that such a result made."""
    point = result["recovery_point"]
    after = {"recovery_point": point["id"] if point else "new", "type": result["type"]}
    return {"before": {} if result["changed"] else after, "after": after}


@contextlib.contextmanager
def engine(module: AnsibleModule, *libraries: str) -> Iterator[None]:
    """Check the libraries, let an interruption clean up, and turn a failure of the engine into one of the module."""
    missing = missing_libraries(*libraries) if libraries else []
    if missing:
        names = ", ".join(name for name, _error in missing)
        module.fail_json(msg=missing_required_lib(names), exception=missing[0][1])
    _allow_many_files()
    # A terminated run, or one whose connection is lost, must remove its clone and its half-made point: make that an
    # exception like that of Ctrl-C. Who ignores the loss of the connection (async, nohup) goes on doing so.
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminated)
    try:
        with _loss_noticed():
            yield
    except OvmBackupError as error:
        module.fail_json(msg=error.message, failure=error.as_failure())


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: all files of a chain are open while it is read."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _loss_noticed() -> Iterator[None]:
    """Take it for the loss of the connection when nobody is left to read the result.

    The control node may have been interrupted or killed, or the network is gone. A ssh server tells programs that have
    a terminal, but modules have none. They would go on, and what they have stopped would stay so until they end.
    """
    output = sys.__stdout__.fileno() if sys.__stdout__ is not None else -1
    kind = os.fstat(output).st_mode if output >= 0 else 0
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        yield
        return
    ended, end = os.pipe()
    main = threading.get_ident()

    def watch() -> None:
        # Other signals are for the main thread: in here they would not wake it up.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        events = select.poll()
        events.register(output, 0)  # errors and hang-ups are reported in any case
        events.register(ended, 0)
        found = dict(events.poll())
        if ended not in found and found[output] & (select.POLLERR | select.POLLHUP):
            signal.pthread_kill(main, signal.SIGHUP)

    thread = threading.Thread(target=watch, name="ovm-loss", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)


def _terminated(_signal: int, _frame: Any) -> NoReturn:
    # Whoever ends a whole group of processes may send it twice, and the loss of the connection may follow: the clean-up
    # is not interrupted.
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt("terminated")
