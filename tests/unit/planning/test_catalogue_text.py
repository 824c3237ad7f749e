# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recovery points of clients as text: every word of it."""

from __future__ import annotations

from typing import Any

from unit.transfer.builders import MOMENT

from ansible_collections.ovm.backup.plugins.module_utils.planning.catalogue_text import catalogue_summary

GIB = 1024**3
DB = {"client": "db_01", "vm_name": "db/01"}
WEB = {"client": "web", "vm_name": "web\n"}


def point(sequence: int, client: str = "db_01", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": f"20261123T010203Z-{sequence:04}",
        "client": client,
        "sequence": sequence,
        "created": MOMENT + 0.9,
        "type": "full",
        "disks": [{"size": 8 * GIB, "file_size": GIB}, {"size": 4 * GIB, "file_size": GIB // 2}],
        "consistency": "crash_consistent",
        "verification": None,
        "problem": None,
        "pinned": False,
        "pin_note": None,
        "held": None,
    }
    return {**values, **changes}


def catalogue(points: list[Any], damaged: list[Any], **changes: Any) -> dict[str, Any]:
    return {"clients": [DB, WEB], "recovery_points": points, "damaged": damaged, **changes}


def test_table_of_each_client() -> None:
    points = [
        point(1, pinned=True, pin_note="before the\nupgrade", held="under a legal hold of object lock"),
        point(
            2,
            type="incremental",
            disks=[{"size": 8 * GIB, "file_size": 1000}],
            consistency="clean_shutdown",
            verification={"ok": True, "verified_at": MOMENT + 86400},
            pinned=True,
            pin_note="",
        ),
        # A clock went back.
        point(
            10,
            created=MOMENT - 3600,
            type="synthetic_full",
            verification={"ok": False, "verified_at": MOMENT},
            problem="/v/0.img has 5 bytes instead of 6",
        ),
    ]
    damaged = [{"client": "db_01", "id": "20261123T010203Z-0009", "problem": "/v/point.json is damaged: it is empty"}]
    assert catalogue_summary(catalogue(points, damaged), all_points=True) == [
        "Client db_01, VM db/01:",
        "  id                     created                  type                size   stored  consistency       "
        "verification                   note",
        "  ---------------------  -----------------------  --------------  --------  -------  ----------------  "
        "-----------------------------  ----",
        "  20261123T010203Z-0010  2026-11-23 00:02:03 UTC  synthetic_full  12.0 GiB  1.5 GiB  crash consistent  "
        "bad, 2026-11-23 01:02:03 UTC   cannot be restored: /v/0.img has 5 bytes instead of 6",
        "  20261123T010203Z-0009  -                        -                      -        -  -                 "
        "-                              cannot be read: /v/point.json is damaged: it is empty",
        "  20261123T010203Z-0002  2026-11-23 01:02:03 UTC  incremental      8.0 GiB   1000 B  clean shutdown    "
        "good, 2026-11-24 01:02:03 UTC  pinned",
        "  20261123T010203Z-0001  2026-11-23 01:02:03 UTC  full            12.0 GiB  1.5 GiB  crash consistent  "
        "never                          pinned: before the upgrade; under a legal hold of object lock",
        "",
        "Client web, VM web :",
        "  no recovery points",
        "",
        "3 recovery points of 2 clients, 3.0 GiB stored; 1 more cannot be read",
    ]


def test_nothing_of_the_kind() -> None:
    assert catalogue_summary(catalogue([point(1)], []), all_points=False)[4:] == [
        "",
        "Client web, VM web :",
        "  no recovery points of the kind that is asked for",
        "",
        "1 recovery point of 2 clients, 1.5 GiB stored",
    ]
    assert catalogue_summary(catalogue([], [], clients=[]), all_points=True) == [
        "0 recovery points of 0 clients, 0 B stored"
    ]
