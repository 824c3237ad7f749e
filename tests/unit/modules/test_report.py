# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module report. What is in the reports is tested in the reporting room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.reporting.builders import add_job, job_id, made, planned

from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made_vault = Vault.create(str(tmp_path / "vault"), clock=lambda: 1.0)
    add_job(made_vault, 0, (planned("db 01", "db_01"), {"point": made(read=100, stored=40)}))
    return made_vault


@pytest.fixture
def args(vault: Vault, tmp_path: Path) -> dict[str, Any]:
    return {"vault": vault.path, "format": "html", "dest": str(tmp_path / "report.html"), "job_id": "latest"}


@pytest.fixture
def succeed(succeed: Any) -> Any:
    """Run the module and leave out what Ansible itself adds about the file."""

    def run(*arguments: Any, **options: Any) -> dict[str, Any]:
        result = succeed(*arguments, **options)
        expected = "0644" if arguments[1]["format"] == "prometheus" else "0640"
        assert result.get("mode", expected) == expected
        added = {"owner", "group", "mode", "size", "state", "uid", "gid"}
        return {key: value for key, value in result.items() if key not in added}

    return run


@pytest.mark.parametrize(
    ("change", "job", "sign"),
    [
        ({}, job_id(0), "<h1>Backup of <bdi>nightly</bdi>"),
        ({"job_id": None}, None, "<h1>Backups</h1>"),
        ({"job_id": None, "format": "prometheus"}, None, "# HELP ovm_backup_job_last_status "),
    ],
)
def test_write(succeed: Any, args: dict[str, Any], change: dict[str, Any], job: str | None, sign: str) -> None:
    path, args = Path(args["dest"]), {**args, **change}
    expected = {"changed": True, "dest": str(path), "job_id": job}
    assert succeed("report", args, check_mode=True) == expected
    assert not path.exists()
    result = succeed("report", args, diff=True)
    text = path.read_text(encoding="utf-8")
    header = {"before_header": str(path), "after_header": str(path)}
    assert result.pop("diff") == {**header, "before": "", "after": text}
    assert result == expected
    assert sign in text
    before = path.stat()
    again = succeed("report", args, diff=True)
    assert again.pop("diff") == {**header, "before": text, "after": text}
    assert again == {**expected, "changed": False}
    assert path.stat().st_ino == before.st_ino
    path.write_text("old")
    assert succeed("report", args, check_mode=True) == expected
    assert path.read_text() == "old"
    assert succeed("report", args) == expected
    assert path.read_text(encoding="utf-8") == text


def test_json(succeed: Any, args: dict[str, Any], tmp_path: Path) -> None:
    args = {**args, "format": "json"}
    del args["dest"]
    result = succeed("report", args)
    assert (result["changed"], result["dest"], result["job_id"]) == (False, None, job_id(0))
    assert [vm["vm_name"] for vm in result["document"]["vms"]] == ["db 01"]
    path = tmp_path / "report.json"
    assert succeed("report", {**args, "dest": str(path)}) == {**result, "changed": True, "dest": str(path)}
    assert json.loads(path.read_text()) == result["document"]
    assert succeed("report", {**args, "job_id": None})["document"]["format"] == "ovm.backup vault report"


def test_environment(succeed: Any, args: dict[str, Any], vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVM_VAULT", vault.path)
    del args["vault"]
    assert succeed("report", args)["changed"] is True


@pytest.mark.parametrize("check_mode", [False, True])
def test_refusals(fail: Any, args: dict[str, Any], vault: Vault, tmp_path: Path, check_mode: bool) -> None:
    def refused(**change: Any) -> dict[str, Any]:
        found: dict[str, Any] = fail("report", {**args, **change}, check_mode=check_mode)
        return found

    assert refused(job_id=job_id(1)) == {
        "msg": f"There is no job {job_id(1)} in {vault.path}/jobs",
        "failure": {"kind": "PointNotFoundError", "job_id": job_id(1)},
    }
    missing = tmp_path / "missing" / "report.html"
    assert refused(dest=str(missing))["failure"] == {"kind": "ReportError", "path": str(missing)}
    assert refused(format="prometheus")["failure"] == {"kind": "InvalidInputError", "key": "job_id"}
    assert refused(jobs=0)["failure"] == {"kind": "InvalidInputError", "key": "jobs", "value": 0}
    for nothing in (None, ""):
        assert refused(dest=nothing) == {
            "msg": "dest is needed for format html: the file to write",
            "failure": {"kind": "InvalidInputError", "key": "dest"},
        }
    assert "failure" not in refused(format="pdf")
    assert refused(vault=str(tmp_path))["failure"]["kind"] == "NotAVaultError"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vault"]
