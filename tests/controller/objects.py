# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of the stand-in for AWX: what each has, what it refers to, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import credentials, rules
from .credentials import Refused

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of object: a list endpoint of the API."""

    type: str
    needed: tuple[str, ...]
    fields: dict[str, Any]  # with what each is unless something is said
    related: dict[str, str] = field(default_factory=dict)  # from a field to the kind it refers to
    unique: tuple[tuple[str, ...], ...] = (("name",),)
    lists: dict[str, str] = field(default_factory=dict)  # associations


_NOTIFY = dict.fromkeys(
    (f"notification_templates_{when}" for when in ("started", "success", "error")), "notification_templates"
)
_ASK = {
    f"ask_{what}_on_launch": False
    for what in "variables limit tags skip_tags job_type verbosity inventory credential diff_mode scm_branch".split()
}
_PROMPTS: dict[str, Any] = {
    "extra_data": {}, "inventory": None, "job_type": None, "limit": None, "verbosity": None, "diff_mode": None,
    "scm_branch": None, "forks": None, "timeout": None, "execution_environment": None,
}  # fmt: skip
_IN_ORGANIZATION = (("organization", "name"),)
KINDS: dict[str, Kind] = {
    "organizations": Kind("organization", ("name",), {"name": "", "description": ""}),
    "credential_types": Kind(
        "credential_type", ("name", "kind"),
        {"name": "", "description": "", "kind": "", "managed": False, "inputs": {}, "injectors": {}},
    ),
    "credentials": Kind(
        "credential", ("name", "credential_type"),
        {"name": "", "description": "", "organization": None, "credential_type": None, "inputs": {}},
        {"organization": "organizations", "credential_type": "credential_types"},
        (("organization", "name", "credential_type"),),
    ),
    "execution_environments": Kind(
        "execution_environment", ("name", "image"),
        {"name": "", "description": "", "organization": None, "image": "", "pull": "", "credential": None},
        {"organization": "organizations", "credential": "credentials"},
    ),
    "projects": Kind(
        "project", ("name",),
        {"name": "", "description": "", "organization": None, "scm_type": "", "scm_url": "", "scm_branch": "",
         "credential": None, "default_environment": None, "scm_revision": ""},
        {"organization": "organizations", "credential": "credentials", "default_environment": "execution_environments"},
        _IN_ORGANIZATION, _NOTIFY,
    ),
    "inventories": Kind(
        "inventory", ("name", "organization"),
        {"name": "", "description": "", "organization": None, "kind": "", "host_filter": None, "variables": ""},
        {"organization": "organizations"}, _IN_ORGANIZATION,
    ),
    "hosts": Kind(
        "host", ("name", "inventory"),
        {"name": "", "description": "", "inventory": None, "enabled": True, "variables": ""},
        {"inventory": "inventories"}, (("inventory", "name"),),
    ),
    "inventory_sources": Kind(
        "inventory_source", ("name", "inventory"),
        {"name": "", "description": "", "inventory": None, "source": "", "source_path": "", "source_project": None,
         "credential": None, "execution_environment": None, "overwrite": False, "overwrite_vars": False},
        {"inventory": "inventories", "source_project": "projects", "credential": "credentials",
         "execution_environment": "execution_environments"},
        (("inventory", "name"),), _NOTIFY,
    ),
    "notification_templates": Kind(
        "notification_template", ("name", "organization", "notification_type"),
        {"name": "", "description": "", "organization": None, "notification_type": "", "notification_configuration": {},
         "messages": None},
        {"organization": "organizations"}, _IN_ORGANIZATION,
    ),
    "job_templates": Kind(
        "job_template", ("name",),
        {"name": "", "description": "", "organization": None, "job_type": "run", "inventory": None, "project": None,
         "playbook": "", "execution_environment": None, "forks": 0, "extra_vars": "", "allow_simultaneous": False,
         "survey_enabled": False, **_ASK},
        {"inventory": "inventories", "project": "projects", "execution_environment": "execution_environments"},
        _IN_ORGANIZATION, {**_NOTIFY, "credentials": "credentials"},
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template", ("name",),
        {"name": "", "description": "", "organization": None, "extra_vars": "", "allow_simultaneous": False,
         "survey_enabled": False, "ask_variables_on_launch": False},
        {"organization": "organizations"}, _IN_ORGANIZATION, _NOTIFY,
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node", ("workflow_job_template",),
        {"identifier": "", "workflow_job_template": None, "unified_job_template": None,
         "all_parents_must_converge": False, **_PROMPTS},
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": "unified_job_templates"},
        (("workflow_job_template", "identifier"),),
        dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes"),
    ),
    "schedules": Kind(
        "schedule", ("name", "rrule", "unified_job_template"),
        {"name": "", "description": "", "rrule": "", "unified_job_template": None, "enabled": True, **_PROMPTS},
        {"unified_job_template": "unified_job_templates"}, (("unified_job_template", "name"),),
    ),
}  # fmt: skip
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates")


class Store:
    """All objects. C(playbooks) are those of a project by the address of its repository."""

    def __init__(self, playbooks: dict[str, list[str]]) -> None:
        self.playbooks = playbooks
        self.objects: dict[str, dict[int, Object]] = {kind: {} for kind in KINDS}
        self.lists: dict[tuple[int, str], list[int]] = {}
        self.surveys: dict[int, Object] = {}
        self._last = 0
        self.create("organizations", {"name": "Default"})

    def all(self, kind: str) -> Iterator[Object]:
        """Return the objects of a kind."""
        for name in UNIFIED if kind == "unified_job_templates" else (kind,):
            yield from self.objects[name].values()

    def find(self, kind: str, number: Any) -> Object | None:
        """Return an object by its id."""
        return next((one for one in self.all(kind) if one["id"] == number), None)

    def named(self, kind: str, name: str) -> Object:
        """Return the one object of a name."""
        [found] = [one for one in self.all(kind) if one["name"] == name]
        return found

    # --- writing -----------------------------------------------------------------------------------------------------

    def create(self, kind: str, given: Object) -> Object:
        """Make an object; C(Refused) if AWX would not."""
        about = KINDS[kind]
        missing = [name for name in about.needed if given.get(name) in (None, "")]
        if missing:
            raise Refused({name: ["This field is required."] for name in missing})
        # What is not known is left alone, as AWX does.
        made = {**about.fields, **{name: value for name, value in given.items() if name in about.fields}}
        self._check(kind, made, None)
        self._last += 1
        made |= {"id": self._last, "type": about.type, "url": f"/api/v2/{kind}/{self._last}/"}
        self.objects[kind][self._last] = made
        return made

    def update(self, kind: str, old: Object, given: Object) -> Object:
        """Change an object; C(Refused) if AWX would not."""
        changes = {name: value for name, value in given.items() if name in KINDS[kind].fields}
        new = {**old, **changes}
        self._check(kind, new, old)
        old.update(new)
        return old

    def delete(self, kind: str, old: Object) -> None:
        """Remove an object."""
        if kind == "credential_types" and any(one["credential_type"] == old["id"] for one in self.all("credentials")):
            raise Refused({"detail": "Credential types that are in use cannot be deleted"}, 403)
        del self.objects[kind][old["id"]]

    def associate(self, kind: str, owner: Object, name: str, number: Any, *, remove: bool) -> None:
        """Change an association."""
        other = self.find(KINDS[kind].lists[name], number)
        if other is None:
            raise Refused({"detail": "No object matches the given query."}, 404)
        ids = self.lists.setdefault((owner["id"], name), [])
        if remove:
            ids.remove(number)
            return
        if name == "credentials":
            kinds = {self.objects["credentials"][one]["credential_type"] for one in ids}
            if other["credential_type"] in kinds:
                raise Refused({"error": "Cannot assign multiple credentials of one type."})
        if name.endswith("_nodes"):
            self._check_step(owner, other)
        ids.append(number)

    def _check_step(self, node: Object, other: Object) -> None:
        if node["workflow_job_template"] != other["workflow_job_template"]:
            raise Refused({"detail": "Relationship not allowed."})
        names = KINDS["workflow_job_template_nodes"].lists
        if any(other["id"] in self.lists.get((node["id"], name), []) for name in names):
            raise Refused({"Error": "Relationship not allowed."})
        seen, left = set(), [other["id"]]
        while left:
            seen.add(one := left.pop())
            left += [number for name in names for number in self.lists.get((one, name), []) if number not in seen]
        if node["id"] in seen:
            raise Refused({"Error": "Cycle detected."})

    def survey(self, number: int, spec: Object) -> None:
        """Set the survey of a template."""
        rules.check_survey(spec)
        self.surveys[number] = spec

    # --- what is refused ---------------------------------------------------------------------------------------------

    def _check(self, kind: str, new: Object, old: Object | None) -> None:
        about = KINDS[kind]
        for name, other in about.related.items():
            if new[name] is not None and self.find(other, new[name]) is None:
                raise Refused({name: [f'Invalid pk "{new[name]}" - object does not exist.']})
        check: Callable[[Object, Object | None], None] | None = getattr(self, f"_check_{about.type}", None)
        if check is not None:
            check(new, old)
        for names in about.unique:
            key = [new[name] for name in names]
            for one in self.all(kind):
                if one is not old and [one[name] for name in names] == key:
                    label = " and ".join(name.replace("_", " ").capitalize() for name in names)
                    raise Refused({"__all__": [f"{about.type} with this {label} already exists."]})

    def _check_credential_type(self, new: Object, old: Object | None) -> None:
        credentials.check_type(new["kind"], new["inputs"], new["injectors"])
        used = old is not None and any(one["credential_type"] == old["id"] for one in self.all("credentials"))
        if old is not None and used and old["inputs"] != new["inputs"]:
            text = "Modifications to inputs are not allowed for credential types that are in use"
            raise Refused({"detail": text}, 403)

    def _check_credential(self, new: Object, old: Object | None) -> None:
        if new["organization"] is None:
            raise Refused({"detail": "Missing 'user', 'team', or 'organization'."})
        kind = self.objects["credential_types"][new["credential_type"]]
        credentials.check_inputs(kind, new["inputs"])
        kept = old["inputs"] if old is not None else {}
        new["inputs"] = {
            name: kept.get(name, value) if value == credentials.SECRET else value
            for name, value in new["inputs"].items()
        }

    def _check_project(self, new: Object, _old: Object | None) -> None:
        if new["scm_type"] and not new["scm_url"]:
            raise Refused({"scm_url": ["SCM URL is required."]})

    def _check_host(self, new: Object, _old: Object | None) -> None:
        rules.check_variables(new["variables"], "variables")

    def _check_inventory_source(self, new: Object, _old: Object | None) -> None:
        if new["source"] == "scm" and new["source_project"] is None:
            raise Refused({"detail": "Project required for scm type sources."})

    def _check_notification_template(self, new: Object, _old: Object | None) -> None:
        new["notification_configuration"] = rules.check_notification(
            new["notification_type"], new["notification_configuration"]
        )

    def _check_job_template(self, new: Object, _old: Object | None) -> None:
        project = self.objects["projects"].get(new["project"])
        if project is None:
            raise Refused({"project": ["This field is required."]})
        new["organization"] = project["organization"]
        if new["job_type"] not in ("run", "check"):
            raise Refused({"job_type": [f'"{new["job_type"]}" is not a valid choice.']})
        if new["inventory"] is None and not new["ask_inventory_on_launch"]:
            raise Refused({"inventory": ["You must either set a default value or ask to prompt on launch."]})
        if new["playbook"] not in self.playbooks.get(project["scm_url"], []):
            raise Refused({"playbook": ["Playbook not found for project."]})
        rules.check_variables(new["extra_vars"])

    def _check_workflow_job_template(self, new: Object, _old: Object | None) -> None:
        rules.check_variables(new["extra_vars"])

    def _check_workflow_job_template_node(self, new: Object, _old: Object | None) -> None:
        self._check_prompts(new, complete=False)

    def _check_schedule(self, new: Object, _old: Object | None) -> None:
        rules.check_rule(new["rrule"])
        self._check_prompts(new, complete=True)

    def _check_prompts(self, new: Object, *, complete: bool) -> None:
        template = self.find("unified_job_templates", new["unified_job_template"])
        if template is None:
            return
        for name in ("limit", "job_type", "verbosity", "inventory"):
            if new[name] is not None and not template.get(f"ask_{name}_on_launch"):
                raise Refused({name: ["Field is not configured to prompt on launch."]})
        survey = self.surveys.get(template["id"], {}) if template.get("survey_enabled") else {}
        others = bool(template.get("ask_variables_on_launch"))
        rules.check_answers(survey, new["extra_data"], others=others, complete=complete)

    # --- telling -----------------------------------------------------------------------------------------------------

    def shown(self, kind: str, one: Object) -> Object:
        """Return an object as the API tells it."""
        names = KINDS[kind].related
        summary = {
            name: {"id": other["id"], "name": other.get("name", "")}
            for name in names
            if (other := self.find(names[name], one[name])) is not None
        }
        related = {name: f"{one['url']}{name}/" for name in (*KINDS[kind].lists, "survey_spec", "update", "copy")}
        found = {**one, "summary_fields": summary, "related": related}
        if kind == "credentials":
            found["inputs"] = credentials.shown_inputs(
                self.objects["credential_types"][one["credential_type"]], one["inputs"]
            )
        if kind == "notification_templates":
            hidden = {"password": credentials.SECRET} if one["notification_configuration"].get("password") else {}
            found["notification_configuration"] = {**one["notification_configuration"], **hidden}
        return found
