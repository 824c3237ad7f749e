# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides list is what the code knows: messages, variables, keys, statuses."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.ovm.backup.plugins.module_utils import errors
from ansible_collections.ovm.backup.plugins.module_utils._manager import manager_options
from ansible_collections.ovm.backup.plugins.module_utils._ssh_options import ssh_options
from ansible_collections.ovm.backup.plugins.module_utils._vault import target_vault_options, vault_options
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import SshSettings, remote_command
from ansible_collections.ovm.backup.plugins.module_utils.planning import (
    access,
    content,
    limits,
    method,
    names,
    reference,
    subclient,
    verify_reading,
)
from ansible_collections.ovm.backup.plugins.module_utils.planning.retention_reading import RULES
from ansible_collections.ovm.backup.plugins.module_utils.reporting.history import LOOK_BACK
from ansible_collections.ovm.backup.plugins.module_utils.reporting.prometheus import METRICS
from ansible_collections.ovm.backup.plugins.module_utils.vault import jobs, lock
from ansible_collections.ovm.backup.plugins.plugin_utils import _progress

if TYPE_CHECKING:
    from conftest import Documentation

ROOT = Path(__file__).resolve().parents[3]
GUIDE = "guide_first_backup"


def column(documentation: Documentation, guide: str, after: str, number: int = 0) -> list[str]:
    return [row[number] for row in documentation.first_table(guide, after)]


# --- messages --------------------------------------------------------------------------------------------------------


def joined(node: ast.AST) -> str | None:
    """Return a text of a program, the parts of an f-string put together around a sign that no text holds."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(joined(part) or "\0" for part in node.values)
    return None


def parts_of(shown: str) -> list[str]:
    """Return what a message in the guide always holds."""
    parts = [part.strip(" '\"():.;") for part in re.split(r"<[^<>]*>", " ".join(shown.split()))]
    return [part for part in parts if len(part) > 3]


def texts_of(path: Path) -> str:
    """Return all texts of a Python file."""
    found = [joined(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return "\n".join(text for text in found if text is not None)


def test_messages_are_those_of_the_code(documentation: Documentation) -> None:
    sources = [texts_of(path) for path in ROOT.glob("plugins/**/*.py")]
    roles = [path for kind in ("tasks", "vars") for path in ROOT.glob(f"roles/*/{kind}/**/*.yml")]
    sources += [path.read_text(encoding="utf-8") for path in (*roles, *ROOT.glob("playbooks/*.yml"))]
    # What stands for something else goes; in a role the text may be inside of it.
    without = [re.sub(r"\{\{.*?\}\}|\0", " ", text, flags=re.DOTALL) for text in sources]
    plain = [" ".join(text.split()) for text in [*without, *sources]]
    shown = documentation.blocks("text", "troubleshooting")
    assert len(shown) >= 48
    for block in shown:
        wanted = parts_of(block.text)
        assert wanted, block.text
        assert any(all(part in text for part in wanted) for text in plain), f"{block}: {block.text}"


# Why a message that is raised need not be in the guide. Those of C(InvalidInputError) are about a value that the user
# gave: they name it and say what would be right. Others, by the file or the text:
LEFT_OUT = {
    "module_utils/vault/storage/": "the guides on object storage and encryption tell of these",
    "module_utils/vault/attaching.py": "the guide on object storage tells of these",
    "module_utils/vault/encrypting.py": "the guide on encryption tells of these",
    "module_utils/vault/decrypt_script.py": "a program of its own, with a guide of its own",
    "module_utils/vault/restore_script.py": "a program of its own, with a guide of its own",
    "has not been opened": "an error in a module, not of a user",
    "has not transferred the disks of client": "an error in a role, not of a user",
    "qemu says something that is not JSON": "an error in qemu",
}


def raised() -> list[tuple[str, str]]:
    """Return the file and the text of each failure of the engine that is raised with a text of its own."""
    ours = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, errors.OvmBackupError)
        and not issubclass(kind, errors.InvalidInputError)
    }
    found = []
    for path in sorted(ROOT.glob("plugins/module_utils/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = joined(node.exc.args[0])
                if isinstance(node.exc.func, ast.Name) and node.exc.func.id in ours and text and text.strip("\0"):
                    found.append((str(path.relative_to(ROOT)), " ".join(text.replace("\0", " ").split())))
    return found


def test_every_failure_of_the_engine_is_explained_or_left_out_on_purpose(documentation: Documentation) -> None:
    shown = [parts_of(block.text) for block in documentation.blocks("text", "troubleshooting")]
    unknown = [
        f"{path}: {text}"
        for path, text in raised()
        if not any(known in f"{path} {text}" for known in LEFT_OUT)
        and not any(all(part in text for part in parts) for parts in shown)
    ]
    assert not unknown, "\n".join(unknown)


# --- variables -------------------------------------------------------------------------------------------------------


def test_environment_variables_are_those_of_the_options(documentation: Documentation) -> None:
    shown = dict(documentation.first_table(GUIDE, "Environment variables\n~~~"))
    known = {
        str(spec["fallback"][1][0]): option
        for option, spec in {**manager_options(), **vault_options(), **target_vault_options()}.items()
        if "fallback" in spec
    }
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("plugins/modules/*.py"))
    in_modules = set(re.findall(r'env_fallback, \["(OVM_\w+)"\]', source))
    ssh = {
        str(spec["fallback"][1][0]): f"ssh.{option}"
        for option, spec in ssh_options()["options"].items()
        if "fallback" in spec
    }
    progress = {_progress.ENVIRONMENT: f"the variable {_progress.VARIABLE}; read on the control node"}
    assert shown == {**known, "OVM_REPOSITORIES_PATH": "repositories_path", **ssh, **progress}
    assert in_modules <= set(shown)


def test_variables_of_the_playbooks_are_all_listed(documentation: Documentation) -> None:
    sources = [*ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("plugins/plugin_utils/*.py")]
    used = {name for path in sources for name in re.findall(r"\bovm_backup_\w+", path.read_text(encoding="utf-8"))}
    shown = column(documentation, GUIDE, "The playbooks read these variables")
    assert set(shown) == used - {"ovm_backup_vms"}
    assert len(shown) == len(set(shown))


def test_variables_of_one_run_are_those_of_the_playbooks(documentation: Documentation) -> None:
    for playbook, guide, after in (
        ("backup", GUIDE, "These are given for one run only"),
        ("restore", "guide_restore_vm", "Beside the old one\n---"),
        ("points", "guide_restore", "Which recovery points are there\n---"),
        ("restore_image", "guide_restore", "Restore to image files\n---"),
        ("retention", "guide_retention", "Look first, then remove\n---"),
        ("report", "guide_reports", "Write them again\n~~~"),
        ("verify", "guide_verify", "Verify\n---"),
        ("copy", "guide_copy", "Copy\n---"),
        ("export", "guide_export", "Export\n---"),
        ("boot_test", "guide_export", "Boot test\n---"),
    ):
        text = (ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")
        used = {name for name in re.findall(r'"\{\{ (\w+)[ |]', text) if not name.startswith(("ovm_", "__"))}
        assert set(column(documentation, guide, after)) == used


def test_metrics_are_all_listed(documentation: Documentation) -> None:
    assert [row[0] for row in documentation.table("guide_reports", "Metrics")] == list(METRICS)
    assert f"the last {LOOK_BACK} go back" in " ".join(documentation.guide("guide_reports").split())


def test_variables_of_hooks_are_all_listed(documentation: Documentation) -> None:
    hook = (ROOT / "roles" / "report" / "tasks" / "hook.yml").read_text(encoding="utf-8")
    given = re.findall(r"^ {8}(report_\w+):", hook, re.MULTILINE)
    assert [row[0] for row in documentation.table("guide_reports", "Variables of hooks")] == given


def test_modules_with_progress_are_all_listed(documentation: Documentation) -> None:
    shown = column(documentation, "guide_progress", "These modules show their progress")
    actions = {path.stem for path in ROOT.glob("plugins/action/*.py")}
    assert {re.search(r"ovm\.backup\.(\w+)#module", cell)[1] for cell in shown} == actions
    text = documentation.guide("guide_progress")
    assert f"The default is {_progress.DEFAULT_SECONDS:g}." in text


# --- subclients and jobs ---------------------------------------------------------------------------------------------


def test_keys_of_a_definition_are_all_listed(documentation: Documentation) -> None:
    rows = documentation.first_table(GUIDE, "Define subclients\n---")
    assert {row[0] for row in rows} == set(subclient._READERS)
    parsed = subclient.Subclient.parse("x", {"content": [{"rules": [{"field": "name", "value": "*"}]}]})
    for name, default, _meaning in rows:
        if name not in ("content", "description", "exclude") and isinstance(getattr(parsed, name), (str, int, float)):
            assert default == str(getattr(parsed, name)).replace("False", "false").replace("True", "true"), name


def test_keys_of_verify_are_all_listed(documentation: Documentation) -> None:
    assert [row[0] for row in documentation.table("guide_verify", "Keys of verify")] == list(verify_reading._KEYS)


def test_limits_are_all_listed(documentation: Documentation) -> None:
    rows = documentation.first_table("guide_runs", "Limits\n---")
    assert {name: int(default) for name, default, _meaning in rows} == dataclasses.asdict(limits.Limits())


def test_rules_of_retention_are_all_listed(documentation: Documentation) -> None:
    assert column(documentation, "guide_retention", "Say what is kept\n---") == list(RULES)


def test_fields_and_choices_are_all_listed(documentation: Documentation) -> None:
    assert column(documentation, GUIDE, "The whole text is compared") == list(content.FIELDS)
    text = " ".join(documentation.guide(GUIDE).split())
    assert "Disk filters know the fields ``name``, ``slot`` and ``repository``" in text
    assert content.DISK_FIELDS == ("name", "slot", "repository")
    for state in content.POWER_STATES:
        assert f"``{state}``" in text
    choices = (*access.SOURCES, *reference.REFERENCE_POLICIES, *method.CONSISTENCIES)
    for choice in (*subclient.NFS_POLICIES, *subclient.BACKUP_TYPES, *content.OPERATORS, *choices):
        assert f"``{choice}``" in text


def test_statuses_are_all_listed(documentation: Documentation) -> None:
    of_vms = column(documentation, GUIDE, "The run ends with a summary")
    of_jobs = column(documentation, GUIDE, f"   * - ``{of_vms[-1]}``")
    assert of_vms == list(jobs._VM_STATUSES)
    assert of_jobs == [jobs.COMPLETED, jobs.WITH_WARNINGS, jobs.WITH_ERRORS, jobs.FAILED]


def test_characters_of_client_names_are_all_listed(documentation: Documentation) -> None:
    shown = [block.text for block in documentation.blocks("text", GUIDE) if block.text.startswith("\\ | `")]
    assert frozenset("".join(shown).split()) == names._REPLACED


def test_times_of_the_lock_are_as_told(documentation: Documentation) -> None:
    defaults = (ROOT / "roles" / "backup_vm" / "defaults" / "main.yml").read_text(encoding="utf-8")
    lease = int(re.search(r"backup_vm_lease: (\d+)", defaults)[1])
    told = " ".join(documentation.guide(GUIDE).split())
    assert f"The lock lasts for {lease // 60} minutes" in told
    assert f"every {lock.HEARTBEAT_SECONDS:.0f} seconds" in told
    assert f"``backup_vm_lease`` ({lease} s)" in told


# --- which test proves what ------------------------------------------------------------------------------------------


def test_every_requirement_has_tests_that_exist(documentation: Documentation) -> None:
    rows = documentation.table("requirements", "Requirements")
    assert [row[0] for row in rows] == [f"R{number}" for number in range(1, 13)]
    rows += [("", *row) for row in documentation.table("requirements", "Further promises")]
    for _number, what, tests in rows:
        for path in tests.split(", "):
            assert (ROOT / path).exists(), f"{what} {path}"


# --- where to look ---------------------------------------------------------------------------------------------------


def test_places_that_the_readme_names_exist(documentation: Documentation) -> None:
    text = documentation.pages["README.md"]
    table = text[text.index("| question | place |") :].split("\n\n")[0]
    places = re.findall(r"`(\w+/[\w*]+\.py)`", table)
    assert len(places) > 10
    links = re.findall(r"\]\(([^):]+)\)", text)
    assert links
    for pattern in [f"plugins/module_utils/{place}" for place in places] + links:
        assert list(ROOT.glob(pattern)), pattern


def test_rule_for_sudo_is_what_is_run_on_servers(documentation: Documentation) -> None:
    command = remote_command(SshSettings.parse({"user": "backup", "sudo": True}), "...")
    said = " ".join(documentation.guide("security").split())
    assert f"``{command.removeprefix('exec ')}``" in said
    assert "backup ALL=(root) NOPASSWD: /bin/sh" in said
    for guide in documentation.pages:
        assert guide.endswith("security.rst") or "NOPASSWD" not in documentation.pages[guide], "a rule has one place"
