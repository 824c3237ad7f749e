# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role controller, against a stand-in for AWX. The tests follow each other: one site, applied again and again."""

from __future__ import annotations

from controller.conftest import Site
from controller.credentials import injected

SECRETS = ("secret one", "secret two", "secret three", "PRIVATE KEY")


def test_check_mode_makes_nothing(site: Site) -> None:
    outcome = site.apply("--check")
    assert outcome.code == 0, outcome.output
    assert (
        "Check mode ends here: Ground | Make the credentials needs what is not there yet or is wrong." in outcome.output
    )
    assert outcome.changed == {"localhost": 1}
    assert site.controller.writes == []


def test_first_time(site: Site) -> None:
    outcome = site.apply()
    assert outcome.code == 0, outcome.output
    assert "[WARNING]" not in outcome.output
    assert not [secret for secret in SECRETS if secret in outcome.output]
    store = site.controller.store
    named = {kind: sorted(one["name"] for one in store.all(kind)) for kind in store.objects if kind[:9] != "workflow_"}
    assert named["credential_types"] == ["OVM Manager", "OVM Target vault", "OVM Vault", "OVM dom0 ssh key"]
    assert named["credentials"] == ["OVM manager", "OVM ssh", "OVM vault"]
    assert named["job_templates"] == [
        "OVM backup", "OVM copy", "OVM janitor", "OVM points", "OVM preview", "OVM report", "OVM restore",
        "OVM retention", "OVM verify",
    ]  # fmt: skip
    assert named["schedules"] == [
        "databases: backup, Mon..Sat 22:00 Europe/Vienna",
        "databases: full backup, Sun 22:00 Europe/Vienna",
        "databases: retention, *-*-01 06:00 Europe/Vienna",
        "{{ 1 }} 50%: verify, daily UTC",
    ]
    assert store.named("schedules", "{{ 1 }} 50%: verify, daily UTC")["extra_data"] == {"subclient": "{{ 1 }} 50%"}
    # A job gets what the modules read, and what was left blank is empty.
    kind = store.named("credential_types", "OVM Vault")
    made = injected(kind, store.named("credentials", "OVM vault")["inputs"], {"template.ca": "/runner/ca"})
    assert {name: value for name, value in made["env"].items() if value} == {
        "OVM_VAULT": "/srv/vault",
        "OVM_VAULT_VALIDATE_CERTS": "true",
        "OVM_VAULT_ADDRESSING_STYLE": "auto",
        "OVM_VAULT_ENCRYPTION_KEY": "secret two",
    }
    backup = store.named("job_templates", "OVM backup")
    assert len(store.lists[(backup["id"], "credentials")]) == 3
    assert len(store.lists[(backup["id"], "notification_templates_error")]) == 2
    workflow = {one["identifier"]: one["id"] for one in store.all("workflow_job_template_nodes")}
    steps = {name: store.lists.get((number, "success_nodes"), []) for name, number in workflow.items()}
    assert steps == {"backup": [workflow["verify"]], "verify": [workflow["report"]], "report": []}


def test_second_time_nothing_changes(site: Site) -> None:
    outcome = site.apply()
    assert outcome.code == 0, outcome.output
    assert outcome.changed == {"localhost": 0}, outcome.output
    assert site.controller.calls
    assert site.controller.writes == []


def test_what_is_not_wanted_any_more(site: Site) -> None:
    """It is removed. Schedules of others are left alone."""
    store = site.controller.store
    backup = store.named("job_templates", "OVM backup")["id"]
    rule = {"rrule": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1", "unified_job_template": backup}
    store.create("schedules", {"name": "by hand", "extra_data": {"subclient": "x"}, **rule})
    changes = {"ovm_backup_subclients": {"databases": site.variables["ovm_backup_subclients"]["databases"]}}
    outcome = site.apply("--tags", "schedules", controller_schedule_workflow=True, **changes)
    assert outcome.code == 0, outcome.output
    workflow = store.named("workflow_job_templates", "OVM backup, verify, report")["id"]
    assert sorted((one["name"], one["unified_job_template"]) for one in store.all("schedules")) == [
        ("by hand", backup),
        ("databases: backup, Mon..Sat 22:00 Europe/Vienna", workflow),
        ("databases: full backup, Sun 22:00 Europe/Vienna", workflow),
        ("databases: retention, *-*-01 06:00 Europe/Vienna", store.named("job_templates", "OVM retention")["id"]),
    ]
    assert {method for method, _path, _body in site.controller.writes} == {"POST", "DELETE"}
    assert len(site.controller.writes) == 5


def test_wrong_input(site: Site) -> None:
    bad = {"web": {"content": [{"rules": [{"field": "name", "value": "*"}]}], "schedule": [{"calendar": "2030-01-01"}]}}
    outcome = site.apply(ovm_backup_subclients=bad)
    assert outcome.code == 2
    assert "'2030-01-01' cannot be a schedule of the controller: '2030-01-01' names a year" in outcome.output
    assert site.controller.calls == []
    outcome = site.apply(controller_manager={"url": "x", "user": "y"})
    assert outcome.code == 2
    assert '"msg": "controller_manager says nothing of password."' in outcome.output
    assert site.controller.calls == []
