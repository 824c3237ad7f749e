# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for all unit tests."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common import warnings as module_warnings
from hypothesis import HealthCheck, settings

# How fast an example runs tells about the machine and what else it does, not about our code. Continuous integration
# tries the same examples each time.
settings.register_profile(
    "ovm", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("ovm")

RunModule = Callable[..., tuple[dict[str, Any], bool]]


@contextlib.contextmanager
def module_arguments(monkeypatch: pytest.MonkeyPatch, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Let the next AnsibleModule take these arguments, as the installed ansible-core wants it."""
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # before ansible-core 2.18
        content = json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}).encode()
        with monkeypatch.context() as patch:
            patch.setattr(basic, "_ANSIBLE_ARGS", content)
            yield
    else:
        with patch_module_args(dict(arguments)):
            yield


@contextlib.contextmanager
def as_on_a_target(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let warnings get into results, also where a test of a plugin has made this process a controller's."""
    with monkeypatch.context() as patch:
        # Before ansible-core 2.19 warnings always do.
        if importlib.util.find_spec("ansible.module_utils._internal") is not None:
            internal = importlib.import_module("ansible.module_utils._internal")
            patch.setattr(internal, "is_controller", False, raising=False)
        yield


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunModule:
    """Run a module of the collection through its main() with real argument parsing.

    ``run_module(module, args, check_mode=False, diff=False)`` takes the module or its name and returns the result that
    Ansible would read, and whether the module failed.
    """

    def run(
        module: ModuleType | str, args: Mapping[str, Any] | None = None, *, check_mode: bool = False, diff: bool = False
    ) -> tuple[dict[str, Any], bool]:
        if isinstance(module, str):
            module = importlib.import_module(f"ansible_collections.ovm.backup.plugins.modules.{module}")
        arguments = {
            **(args or {}),
            "_ansible_check_mode": check_mode,
            "_ansible_diff": diff,
            "_ansible_module_name": f"ovm.backup.{module.__name__.rpartition('.')[2]}",
            "_ansible_remote_tmp": str(tmp_path),
        }
        # In one process, the warnings of an earlier module would turn up in the result of this one.
        for kept in ("_global_warnings", "_global_deprecations"):
            getattr(module_warnings, kept).clear()
        output = io.StringIO()
        with (
            as_on_a_target(monkeypatch),
            module_arguments(monkeypatch, arguments),
            contextlib.redirect_stdout(output),
            pytest.raises(SystemExit) as leaving,
        ):
            module.main()
        result = json.loads(output.getvalue())
        failed = bool(leaving.value.code)
        assert failed == bool(result.get("failed", False)), "exit code and result disagree"
        return result, failed

    return run
