# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user got wrong: the backup says so and touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from playbooks.bench import Bench, Outcome, everything, only

SUBCLIENTS: dict[str, Any] = {
    "all": everything(),
    "nobody": only("nobody*"),
    "nobody_allowed": only("nobody*", allow_empty=True),
}
MALFORMED: dict[str, Any] = {
    "content": [{"match": "al", "rules": [{"field": "nam", "value": "*"}, {"field": "name", "value": "[a"}]}],
    "max_age": "soon",
}


@pytest.fixture
def cases(bench: Bench, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What is wrong in each case. They are hosts of one run: a run does for each what it does for one proxy."""
    foreign = tmp_path / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(str(foreign))
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("not a vault\n", encoding="utf-8")
    right: dict[str, Any] = {
        "subclient": "all",
        "backup_type": "",
        "ovm_backup_subclients": SUBCLIENTS,
        "ovm_backup_manager": bench.manager(),
        "ovm_backup_vault": str(bench.vault),
    }
    wrong: dict[str, dict[str, Any]] = {
        "unknown-subclient": {"subclient": "daly"},
        "matches-nothing": {"subclient": "nobody"},
        "matches-nothing-allowed": {"subclient": "nobody_allowed"},
        "malformed-rules": {"ovm_backup_subclients": {**SUBCLIENTS, "malformed": MALFORMED}},
        "unknown-type": {"backup_type": "sythetic"},
        "wrong-password": {"ovm_backup_manager": bench.manager(password="wrong horse")},
        "wrong-ca": {"ovm_backup_manager": bench.manager(ca_path=str(foreign))},
        "unreachable": {"ovm_backup_manager": bench.manager(url="https://127.0.0.1:1")},
        "vault-missing": {"ovm_backup_vault": str(tmp_path / "missing")},
        "not-a-vault": {"ovm_backup_vault": str(other)},
    }
    return {name: {**right, **facts} for name, facts in wrong.items()}


def test_wrong_input(bench: Bench, cases: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    bench.hosts = cases
    before = bench.tree()
    outcome = bench.run("backup", code=2, ovm_backup_proxy="all")
    assert outcome.failed == set(cases) - {"matches-nothing-allowed"}
    said = outcome.messages
    assert said["unknown-subclient"] == ("There is no subclient 'daly'. Defined are: all, nobody, nobody_allowed.")
    assert "content[0].rules[0]" in said["matches-nothing"] and "nobody*" in said["matches-nothing"]
    for words in (
        "ovm_backup_subclients.malformed.content[0].match",
        "'al'",
        "content[0].rules[0].field",
        "'nam'",
        "content[0].rules[1].value",
        "'[a'",
    ):
        assert words in said["malformed-rules"]
    assert "max_age" in said["malformed-rules"] and "'soon'" in said["malformed-rules"]
    assert "sythetic" in said["unknown-type"] and "incremental" in said["unknown-type"]
    assert said["wrong-password"] == (
        f"Oracle VM Manager at {bench.simulator.url} refused the user name or password of user 'admin'."
    )
    assert "wrong horse" not in outcome.output
    assert "certificate" in said["wrong-ca"]
    assert said["unreachable"].startswith("Cannot reach Oracle VM Manager at https://127.0.0.1:1")
    for case, path in (("vault-missing", tmp_path / "missing"), ("not-a-vault", tmp_path / "other")):
        assert said[case].startswith(f"{path} is not a vault: there is no {path}/vault.json. ")
    # Nothing was written anywhere.
    assert bench.simulator.calls(writing=True) == []
    assert bench.tree() == before
    assert not (tmp_path / "missing").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letter.txt"]
    check_nothing_selected(outcome)


def test_host_that_works_is_checked(bench: Bench) -> None:
    """Without it Ansible would skip all plays, and call that success. All playbooks import these checks."""
    bench.subclients = SUBCLIENTS
    bench.hosts = {"proxy1": {}}
    before = bench.tree()
    none = "proxy9, which is to do the work, is no host of the inventory. Nothing was done."
    for name, wanted in (
        ("verify", {"ovm_backup_proxy": "proxy9"}),
        ("proxy", {"ovm_backup_proxies": "proxy1,proxy9"}),
    ):
        missing = bench.start(name, **wanted).wait()  # Ansible warns of it, too
        assert (missing.code, set(missing.messages.values())) == (2, {none})
    for options in (["--limit", "all"], ["--limit", "all", "--check"]):
        limited = bench.backup("all", *options, code=2)  # localhost is none of them
        assert set(limited.messages.values()) == {
            "This run is limited to all, which leaves out localhost, the host that works. Run it without a limit. "
            "Nothing was done."
        }
    limited = bench.backup("all", "--limit", "proxy1", code=2, ovm_backup_proxy="proxy1")
    assert limited.messages["proxy1"].startswith("This run is limited to proxy1, and the VMs are hosts of the run that")
    bench.hosts = {"proxy1": {"ovm_backup_proxy": "proxy1"}, "localhost": {"ovm_backup_proxy": "proxy1"}}
    why = "but Ansible does not look there before it knows the hosts of a play. Pass"
    for options in ([], ["--limit", "proxy1"]):
        hidden = bench.run("retention", *options, code=2)
        assert set(hidden.messages.values()) == {
            f"The inventory asks for proxy1, {why} ovm_backup_proxy with -e, or as a variable of import_playbook. "
            "Nothing was done."
        }
    some = {"ovm_backup_proxies": ["localhost", "proxy1"]}
    bench.hosts = {"localhost": some, "proxy1": some}
    hidden = bench.run("proxy", code=2)
    assert hidden.messages["localhost"].startswith(f"The inventory asks for proxy1, {why} ovm_backup_proxies with -e")
    assert bench.tree() == before


def check_nothing_selected(outcome: Outcome) -> None:
    """Assert that the plan of the subclient that may be empty says so."""
    [plan] = [lines for lines in outcome.shown if lines[0].startswith("Plan for subclient nobody_allowed")]
    assert plan[0] == "Plan for subclient nobody_allowed, incremental asked for: no VMs"
    assert "selects no VM" in plan[1] or "matches no VM" in plan[1]


def test_manager_that_is_ill(bench: Bench) -> None:
    bench.subclients = SUBCLIENTS
    bench.simulator.fault("html_500", times=0)
    outcome = bench.backup("all", code=2)
    assert "Oracle VM Manager answered with HTTP status 500" in outcome.messages["localhost"]
    assert "Internal Server Error" in outcome.messages["localhost"]
    assert bench.jobs() == []


def test_vault_playbook_refuses_what_is_in_use(bench: Bench, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine\n", encoding="utf-8")
    outcome = bench.run("vault", code=2, ovm_backup_vault=str(full))
    assert outcome.messages["localhost"] == (
        f"Cannot make a vault at {full}: the directory holds other things (letter.txt)"
    )
    assert [path.name for path in full.iterdir()] == ["letter.txt"]
