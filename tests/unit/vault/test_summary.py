# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary of a job, literally, and the units and columns that it is made of."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transfer.builders import MOMENT, RUN

from ansible_collections.ovm.backup.plugins.module_utils.vault.summary import (
    format_bytes,
    format_seconds,
    job_summary,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.text import left, one_line, right, width


def vm(name: str, client: str, status: str = "Completed", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "vm_name": name,
        "client": client,
        "status": status,
        "reason": "first backup of this VM",
        "method": "hot_clone",
        "requested_type": "incremental",
        "type": "full",
        "bytes_read": 0,
        "bytes_stored": 0,
        "duration": 4.2,
        "outage": None,
        "skipped_disks": [],
        "warnings": [],
    }
    return {**values, **changes}


def job(*vms: dict[str, Any], **changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("Completed", "Completed with warnings", "Failed", "Skipped"), 0)
    for item in vms:
        counts[item["status"]] += 1
    values: dict[str, Any] = {
        "id": RUN,
        "subclient": "nightly",
        "status": "Completed with errors",
        "started": MOMENT,
        "finished": MOMENT + 3725.0,
        "duration": 3725.0,
        "requested_type": "incremental",
        "counts": counts,
        "bytes_read": sum(item["bytes_read"] for item in vms),
        "bytes_stored": sum(item["bytes_stored"] for item in vms),
        "warnings": [],
        "vms": list(vms),
    }
    return {**values, **changes}


PHYSICAL = {"slot": 1, "name": "asm", "kind": "physical", "reason": "physical disks are not backed up"}
TAKEN_OUT = {"slot": 2, "name": "swap", "kind": "virtual", "reason": "taken out by exclude.disks[0]"}
SUMMARY = """\
Job 20261123T010203Z-0a1b2c3d-4e5f60 of subclient nightly: Completed with errors
  2026-11-23 01:02:03 UTC to 2026-11-23 02:04:08 UTC (1 h 02 min), incremental asked for
  5 VMs: 2 completed, 1 completed with warnings, 1 failed, 1 skipped; 7.0 GiB read, 1.5 MiB stored
  Warning: the rule content[0].rules[1] selects nothing

VM                  client              status                   method     asked        done            read     stored    duration      outage
------------------  ------------------  -----------------------  ---------  -----------  -----------  -------  ---------  ----------  ----------
Büro / Ñandú        Büro___Ñandú        Completed                hot clone  incremental  full         7.0 GiB    1.0 MiB       4.2 s           -
データベース 01     データベース_01     Completed                cold       incremental  incremental      0 B  512.0 KiB       4.2 s           -
web "01" $(reboot)  web__01____reboot_  Completed with warnings  shutdown   incremental  full             0 B        0 B  3 min 05 s  2 min 10 s
mail 01\ufffd[31m        mail_01_[31m        Failed                   hot clone  incremental  -                0 B        0 B       4.2 s           -
e\u0301                   e\u0301                   Skipped                  skip       incremental  -                0 B        0 B       0.0 s           -

Büro / Ñandú (Completed)
  reason: first backup of this VM

データベース 01 (Completed)
  reason: changes since P1
  disk in slot 2 not backed up: taken out by exclude.disks[0]

web "01" $(reboot) (Completed with warnings)
  reason: first backup of this VM
  warning: disk 'asm' (slot 1) is not backed up: physical disks are not backed up
  warning: took over

mail 01\ufffd[31m (Failed)
  reason: not selected: - no - not at all

e\u0301 (Skipped)
  reason: templates are not backed up
"""  # noqa: E501 - as wide as it is shown


def test_summary_of_a_job() -> None:
    lines = job_summary(
        job(
            vm("Büro / Ñandú", "Büro___Ñandú", bytes_read=7 << 30, bytes_stored=1 << 20),
            vm("データベース 01", "データベース_01", method="cold", type="incremental", reason="changes since P1",
               bytes_stored=512 << 10, skipped_disks=[TAKEN_OUT]),
            vm('web "01" $(reboot)', "web__01____reboot_", "Completed with warnings", method="shutdown",
               duration=185.4, outage=130.0, skipped_disks=[PHYSICAL],
               warnings=["disk 'asm' (slot 1) is not backed up: physical disks are not backed up", "took over"]),
            vm("mail\n01\x1b[31m", "mail_01_[31m", "Failed", type=None, reason="not selected:\n- no\n- not at all"),
            vm("e\u0301", "e\u0301", "Skipped", method="skip", type=None, reason="templates are not backed up",
               duration=0.0),
            warnings=["the rule content[0].rules[1] selects nothing"],
        )
    )  # fmt: skip
    assert lines == SUMMARY.splitlines()


def test_summary_of_a_job_without_vms() -> None:
    assert job_summary(job(status="Completed")) == [
        "Job 20261123T010203Z-0a1b2c3d-4e5f60 of subclient nightly: Completed",
        "  2026-11-23 01:02:03 UTC to 2026-11-23 02:04:08 UTC (1 h 02 min), incremental asked for",
        "  0 VMs: none; 0 B read, 0 B stored",
    ]


def test_one_vm_is_one_vm() -> None:
    assert job_summary(job(vm("a", "a")))[2] == "  1 VM: 1 completed; 0 B read, 0 B stored"


def test_a_physical_disk_that_a_filter_takes_out_is_told() -> None:
    taken_out = {**PHYSICAL, "reason": "taken out by exclude.disks[0]"}
    lines = job_summary(job(vm("a", "a", skipped_disks=[taken_out])))
    assert lines[-1] == "  disk in slot 1 not backed up: taken out by exclude.disks[0]"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (1000 << 30, "1000.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 50, "5.0 PiB"),
        (5000 << 50, "5000.0 PiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (4.24, "4.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (185.4, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown", "columns"),
    [
        ("web 01", "web 01", 6),
        ("a\r\n  b\n\nc", "a b c", 5),
        ("a\tb\x00c\x9b", "a\ufffdb\ufffdc\ufffd", 6),
        ("a\u2028b\u2029c", "a\ufffdb\ufffdc", 5),
        ("\u202egnp.exe", "\ufffdgnp.exe", 8),
        ("half \ud83d", "half \ufffd", 6),
        ("データ", "データ", 6),
        ("\uff21b", "\uff21b", 3),
        ("e\u0301", "e\u0301", 1),
        ("a\u200db", "a\u200db", 2),
        ("Ñandú", "Ñandú", 5),
    ],
)
def test_one_line_and_its_width(text: str, shown: str, columns: int) -> None:
    assert one_line(text) == shown
    assert width(shown) == columns
    assert (left(shown, 9), right(shown, 9)) == (shown + " " * (9 - columns), " " * (9 - columns) + shown)
