# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX accepts as a survey, as a recurrence rule, as extra variables and as the configuration of a notification."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from dateutil import rrule

from .credentials import Refused

_TYPES: dict[str, type] = {
    "text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int,
    "float": float,
}  # fmt: skip
# What each type of notification needs, with what AWX adds where it is left out.
NOTIFICATIONS: dict[str, dict[str, Any]] = {
    "webhook": {
        "url": ..., "headers": ..., "http_method": "POST", "disable_ssl_verification": False, "username": "",
        "password": "",
    },
    "email": {
        "host": ..., "port": ..., "sender": ..., "recipients": ..., "username": ..., "password": ..., "use_tls": ...,
        "use_ssl": ..., "timeout": 30,
    },
}  # fmt: skip


def check_survey(spec: Any) -> None:
    """Refuse a survey that AWX would."""
    for key, kind in (("name", str), ("description", str), ("spec", list)):
        if key not in spec:
            raise Refused({"error": f"Field '{key}' is missing from survey spec."})
        if not isinstance(spec[key], kind):
            raise Refused({"error": f"Expected {kind.__name__} for field '{key}'."})
    if not spec["spec"]:
        raise Refused({"error": "'spec' doesn't contain any items."})
    seen: set[str] = set()
    for number, question in enumerate(spec["spec"]):
        _check_question(question, number)
        if question["variable"] in seen:
            raise Refused({"error": f"'variable' '{question['variable']}' duplicated in survey question {number}."})
        seen.add(question["variable"])


def _check_question(question: Any, number: int) -> None:
    if not isinstance(question, dict):
        raise Refused({"error": f"Survey question {number} is not a json object."})
    for key in ("type", "question_name", "variable", "required"):
        if key not in question:
            raise Refused({"error": f"'{key}' missing from survey question {number}"})
        if not isinstance(question[key], bool if key == "required" else str):
            raise Refused({"error": f"'{key}' in survey question {number} is of the wrong type"})
    kind, default = question["type"], question.get("default", "")
    if kind not in _TYPES:
        raise Refused({"error": f"'{kind}' in survey question {number} is not one of '{', '.join(_TYPES)}'"})
    if default != "" and not isinstance(default, _TYPES[kind]):
        raise Refused({"error": f"Default value {default} in survey question {number} expected to be {kind}."})
    for key in ("min", "max"):
        if question.get(key) is not None and not isinstance(question[key], int):
            raise Refused({"error": f"The {key} limit in survey question {number} expected to be integer."})
    if kind in ("multiselect", "multiplechoice"):
        if "choices" not in question:
            raise Refused({"error": f"Survey question {number} of type {kind} must specify choices."})
        if any(line not in question["choices"] for line in default.splitlines()):
            raise Refused({"error": "Default choice must be answered from the choices listed."})
    if isinstance(default, str) and default.startswith("$encrypted$"):
        raise Refused({"error": "$encrypted$ is a reserved keyword for password question defaults"})


def check_answers(survey: dict[str, Any], answers: dict[str, Any], *, others: bool, complete: bool) -> None:
    """Refuse variables that a launch may not set, or that lack an answer."""
    questions = {question["variable"]: question for question in survey.get("spec", [])}
    unknown = sorted(set(answers) - set(questions))
    if unknown and not others:
        raise Refused({"extra_data": [f"Variables {', '.join(unknown)} are not allowed on launch."]})
    for name, question in questions.items():
        if name not in answers:
            if question["required"] and complete:
                raise Refused({"variables_needed_to_start": [f"'{name}' value missing"]})
        elif question["type"] == "multiplechoice" and answers[name] not in question["choices"]:
            raise Refused({"variables_needed_to_start": [f"Value {answers[name]} for '{name}' is no choice"]})
        elif question["type"] in ("text", "textarea") and not isinstance(answers[name], str):
            raise Refused({"variables_needed_to_start": [f"Value {answers[name]} for '{name}' is no string."]})


def check_rule(text: Any) -> None:
    """Refuse a recurrence rule that AWX would."""
    errors = []
    if not isinstance(text, str) or not text:
        raise Refused({"rrule": ["This field may not be blank."]})
    starts = re.findall(r"DTSTART(?:;[^:]+)?:[0-9]+T[0-9]+Z?", text)
    if not starts:
        errors.append("Valid DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ")
    if len(starts) > 1:
        errors.append("Multiple DTSTART is not supported.")
    if re.search(r"DTSTART:[0-9]+T[0-9]+ ", text):
        errors.append("DTSTART cannot be a naive datetime.  Require ;TZINFO= or YYYYMMDDTHHMMSSZZ.")
    if "rrule:" not in text.lower():
        errors.append("One or more rule required in rrule.")
    errors += [f"{word} not allowed in rrule." for word in ("EXDATE", "RDATE") if f"{word.lower()}:" in text.lower()]
    for rule in re.findall(r"RULE:\S*", text):
        if "interval" not in rule.lower():
            errors.append(f"INTERVAL required in rrule: {rule}")
        if "secondly" in rule.lower():
            errors.append(f"SECONDLY is not supported: {rule}")
        if re.search(r"BYDAY[:=][0-9]+[a-zA-Z]{2}", rule):
            errors.append(f"BYDAY with numeric prefix not supported: {rule}")
        if "COUNT" in rule and "UNTIL" in rule:
            errors.append(f"RRULE may not contain both COUNT and UNTIL: {rule}")
        if any(int(count) > 999 for count in re.findall(r"COUNT=([0-9]+)", rule)):
            errors.append(f"COUNT > 999 is unsupported: {rule}")
    try:
        rrule.rrulestr(text, forceset=True)
    except Exception as error:  # whatever it is, AWX shows it
        errors.append(f"rrule parsing failed validation: {error}")
    if errors:
        raise Refused({"rrule": errors})


def check_variables(text: Any, key: str = "extra_vars") -> None:
    """Refuse variables that are no mapping in JSON or YAML."""
    try:
        value = json.loads(text) if text else {}
    except (TypeError, ValueError):
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, AttributeError):
            value = None
    if not isinstance(value, dict):
        raise Refused({key: ["Cannot parse as JSON or YAML, or it is no mapping."]})


def check_notification(kind: Any, configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration as AWX keeps it; refuse one that lacks something."""
    if kind not in NOTIFICATIONS:
        raise Refused({"notification_type": [f'"{kind}" is not a valid choice.']})
    known = NOTIFICATIONS[kind]
    missing = [name for name, default in known.items() if default is ... and name not in configuration]
    if missing:
        text = f"Missing required fields for Notification Configuration: {missing}."
        raise Refused({"notification_configuration": [text]})
    return {**{name: default for name, default in known.items() if default is not ...}, **configuration}
