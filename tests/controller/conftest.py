# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: a stand-in for AWX, and the playbook that sets it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.server import PASSWORD, USER, Controller, running
from playbooks.bench import COLLECTIONS, Outcome

REPOSITORY = "https://git.example.com/backup.git"
PLAYBOOKS = ["backup", "preview", "points", "restore", "verify", "retention", "copy", "report", "janitor"]
KEY = "-----BEGIN RSA PRIVATE KEY-----\nnone\n-----END RSA PRIVATE KEY-----"
CONTENT = [{"rules": [{"field": "name", "value": "*"}]}]


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    """A stand-in for AWX with a project."""
    with running({REPOSITORY: [f"{name}.yml" for name in PLAYBOOKS]}) as made:
        yield made


@dataclass
class Site:
    """What a site writes down, and how it is applied."""

    controller: Controller
    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)

    def apply(self, *options: str, **changes: Any) -> Outcome:
        """Run the playbook; what it calls is in the log of the controller, which is empty before."""
        self.controller.calls.clear()
        path = self.directory / "variables.json"
        path.write_text(json.dumps({**self.variables, **changes}), encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CONTROLLER_"))}
        environment = {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{os.environ['OVM_TEST_COLLECTIONS']}",
            "ANSIBLE_DEPRECATION_WARNINGS": "False",
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_INTERNAL_POLL_INTERVAL": "0.01",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "CONTROLLER_HOST": self.controller.url,
            "CONTROLLER_USERNAME": USER,
            "CONTROLLER_PASSWORD": PASSWORD,
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
        done = subprocess.run(
            [*command, "ovm.backup.controller", "-e", f"@{path}", *options],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def site(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with everything that there can be."""
    if not Path(os.environ.get("OVM_TEST_COLLECTIONS", "/nowhere"), "ansible_collections/awx/awx").is_dir():
        pytest.skip("the collection awx.awx is not there: run this by make controller")
    variables = {
        "controller_manager": {"url": "https://ovmm.example.com:7002", "user": "backup", "password": "secret one"},
        "controller_ssh": {"key": KEY},
        "controller_vault": {"vault": "/srv/vault", "encryption_key": "secret two"},
        "controller_scm_url": REPOSITORY,
        "controller_execution_environment": "OVM",
        "controller_image": "registry.example.com/ovm:1",
        "controller_inventory_source": "inventory/ovm.yml",
        "controller_notifications": [
            {"name": "Chat", "type": "webhook", "configuration": {"url": "https://chat.example.com/hook"}},
            {
                "name": "Mail",
                "type": "email",
                "configuration": {
                    "host": "mail.example.com", "sender": "awx@example.com", "recipients": ["ops@example.com"],
                    "username": "awx", "password": "secret three",
                },
            },
        ],
        "ovm_backup_subclients": {
            "databases": {
                "content": CONTENT,
                "timezone": "Europe/Vienna",
                "schedule": [
                    {"calendar": "Mon..Sat 22:00"},
                    {"calendar": "Sun 22:00", "backup_type": "full"},
                    {"calendar": "*-*-01 06:00", "task": "retention"},
                ],
            },
            "{{ 1 }} 50%": {"content": CONTENT, "schedule": [{"calendar": "daily", "task": "verify"}]},
        },
    }  # fmt: skip
    return Site(controller, tmp_path_factory.mktemp("site"), variables)
