# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subclients in files: they are backed up like those in variables, and one that is wrong stops every run."""

from __future__ import annotations

import json

import pytest

from playbooks.bench import Bench, only


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["run", "check"])
def test_a_wrong_file_stops_every_run(bench: Bench, options: tuple[str, ...]) -> None:
    files = bench.directory / "subclients"
    files.mkdir()
    (files / "good.yml").write_text(json.dumps(only("web01")), encoding="utf-8")
    (files / "wrong.yml").write_text("content: []\nmax_age: soon\n", encoding="utf-8")
    bench.subclients = {"good": only("web01"), "other": {**only("db 01"), "kil": True}}
    outcome = bench.backup("good", *options, code=2, ovm_backup_subclients_path=str(files))
    said = outcome.messages["localhost"]
    for line in (
        "the set of subclients has 4 problems:",
        "- ovm_backup_subclients.other.kil: unknown key; known here are",
        f"- {files}/good.yml: the subclient 'good' is defined twice, here and in ovm_backup_subclients.good",
        f"- {files}/wrong.yml, line 1: content: must not be an empty list of groups",
        f"- {files}/wrong.yml, line 2: max_age: the string 'soon' is not a duration",
    ):
        assert line in said
    assert bench.simulator.calls() == []
    assert bench.jobs() == []


def test_files_and_variable_together(bench: Bench) -> None:
    files = bench.directory / "subclients"
    files.mkdir()
    (files / "büro 1.yml").write_text(json.dumps(only("web01")), encoding="utf-8")
    bench.subclients = {"other": only("db 01")}
    # The inventory of a bench lies in a folder of the run.
    bench.variables = {"ovm_backup_subclients_path": "{{ inventory_dir }}/../subclients"}
    outcome = bench.backup("büro 1", "--check")
    assert outcome.shown[0][0].startswith("Plan for subclient büro 1, incremental asked for")
    outcome = bench.backup("daly", code=2)
    assert outcome.messages["localhost"] == "There is no subclient 'daly'. Defined are: büro 1, other."
