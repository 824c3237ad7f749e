#!/usr/bin/python
# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write a report on a job or on the whole vault
description:
  - Writes what became of the VMs of a finished job, or how well all VMs of the vault are protected, as JSON, as a page
    of HTML that needs nothing else, or as numbers for Prometheus.
  - The report is made of what the vault holds. It names no moment of its making, so that it changes only when the vault
    does. Ages are as of the end of the newest job.
  - A report is replaced in one step. A new file has the mode C(0640), for O(format=prometheus) C(0644); an existing one
    keeps its mode.
version_added: 0.1.0
author:
  - The ovm.backup contributors (@ovm-backup)
extends_documentation_fragment:
  - ovm.backup.vault
  - ovm.backup.attributes
  - ovm.backup.attributes.vault_group
options:
  format:
    description:
      - V(json) is a document for programs, V(html) a page for people.
      - V(prometheus) are numbers in the text format of Prometheus, for the C(textfile) collector of its node exporter.
        The name of the file has to end in C(.prom) for that.
    type: str
    choices: [json, html, prometheus]
    required: true
  dest:
    description:
      - The file to write. Its directory must exist.
      - Needed for O(format=html) and O(format=prometheus). Without it a JSON report is returned only.
    type: path
  job_id:
    description:
      - Id of the job to report on, or V(latest) for the newest finished one. Without it the report is about the whole
        vault.
      - Not for O(format=prometheus), which is always about the whole vault.
    type: str
  subclient:
    description:
      - Leave out the jobs of other subclients, and the VMs that were never in this one. With O(job_id=latest) it is the
        newest job of this subclient.
      - Not for O(format=prometheus).
    type: str
  jobs:
    description:
      - How many jobs the pictures of a page show, from V(1) to V(200).
    type: int
    default: 30
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ovm.backup.job
  - module: ovm.backup.recovery_point_info
"""

EXAMPLES = r"""
- name: Write the page on the newest job of a subclient
  ovm.backup.report:
    vault: /srv/vault
    format: html
    job_id: latest
    subclient: databases
    dest: /var/www/backup/databases.html

- name: Write the page on the whole vault
  ovm.backup.report:
    vault: /srv/vault
    format: html
    dest: /var/www/backup/index.html
    jobs: 60

- name: Write the numbers for Prometheus
  ovm.backup.report:
    vault: /srv/vault
    format: prometheus
    dest: /var/lib/prometheus/node-exporter/ovm_backup.prom

- name: Look at a job without writing anything
  ovm.backup.report:
    vault: /srv/vault
    format: json
    job_id: 20261123T010203Z-0a1b2c3d-4e5f60
  register: night
"""

RETURN = r"""
dest:
  description:
    - The file with the report, V(null) if none was asked for. As for all files, Ansible adds C(owner), C(group),
      C(mode), C(size), C(state), C(uid) and C(gid) of one that exists.
  returned: success
  type: str
  sample: /var/www/backup/index.html
job_id:
  description: Id of the job that the report is about, V(null) if it is about the whole vault.
  returned: success
  type: str
  sample: 20261123T010203Z-0a1b2c3d-4e5f60
document:
  description:
    - The report, as it stands in the file. Sizes in bytes, durations in seconds, times in seconds since the epoch.
  returned: when O(format=json)
  type: dict
  contains:
    format:
      description: V(ovm.backup job report) or V(ovm.backup vault report).
      type: str
      returned: always
    version:
      description: Version of this form. Keys may be added to it without another one.
      type: int
      returned: always
      sample: 1
    generated_at:
      description: The moment that the report is about, in UTC. It is the end of the job, or of the newest one.
      type: str
      returned: always
      sample: "2026-11-23T02:04:08Z"
    vault_id:
      description: Id of the vault.
      type: str
      returned: always
    job:
      description:
        - The job, in the form of RV(ovm.backup.job#module:job) but without RV(ovm.backup.job#module:job.state),
          RV(ovm.backup.job#module:job.plan) and RV(ovm.backup.job#module:job.vms).
      type: dict
      returned: when O(job_id) is given
    vms:
      description: What became of each VM, in the form of RV(ovm.backup.job#module:job.vms).
      type: list
      elements: dict
      returned: when O(job_id) is given
    jobs:
      description: The finished jobs, the newest last, in the form of RV(ovm.backup.report#module:document.job).
      type: list
      elements: dict
      returned: when O(job_id) is not given
    damaged_jobs:
      description: The records of jobs that cannot be used.
      type: list
      elements: dict
      returned: when O(job_id) is not given
      contains:
        id:
          description: Id of the job.
          type: str
          returned: always
        problem:
          description: What is wrong with its record.
          type: str
          returned: always
    clients:
      description: How well each VM is protected.
      type: list
      elements: dict
      returned: when O(job_id) is not given
      contains:
        client:
          description: Name of the client.
          type: str
          returned: always
        vm_id:
          description: Id of the VM.
          type: str
          returned: always
        vm_name:
          description: Name of the VM.
          type: str
          returned: always
        subclients:
          description: The subclients that the VM is or was in.
          type: list
          elements: str
          returned: always
        selected_by:
          description: The subclients whose newest job has the VM.
          type: list
          elements: str
          returned: always
        status:
          description: What the newest job with the VM says of it, V(null) if there is none.
          type: str
          returned: always
        points:
          description: How many recovery points it has.
          type: int
          returned: always
        bytes_stored:
          description: What the files of their disks take in the vault.
          type: int
          returned: always
        good_point:
          description:
            - The newest recovery point that can be restored as far as is known, with its C(id), C(type), when it was
              C(created) and its C(age) at the moment of the report. V(null) if there is none.
          type: dict
          returned: always
        problems:
          description: What is wrong with its recovery points.
          type: list
          elements: str
          returned: always
        verified_at:
          description: When one of them was verified last, V(null) if none ever was.
          type: float
          returned: always
        verifications:
          description: The newest verification of each recovery point that has one.
          type: list
          elements: dict
          returned: always
          contains:
            point:
              description: Id of the recovery point.
              type: str
              returned: always
            verified_at:
              description: When it was verified.
              type: float
              returned: always
            ok:
              description: Whether it is as it was written.
              type: bool
              returned: always
            problems:
              description: What is wrong with it.
              type: list
              elements: str
              returned: always
        boot_test:
          description:
            - The newest boot test. The C(point) that was started, when it was C(tested_at), whether it came up (C(ok)),
              and the C(verdict) in words. V(null) if there was none.
          type: dict
          returned: always
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import engine
from ..module_utils._vault import open_vault, vault_options
from ..module_utils.reporting.files import PRIVATE_MODE, PUBLIC_MODE, check_place, read_report, write_report
from ..module_utils.reporting.report import FORMATS, Report, ReportRequest, make_report


def write(module: AnsibleModule, dest: str, report: Report) -> dict[str, Any]:
    """Bring a file up to date and return the part of the result that is about it."""
    check_place(dest)
    before, after = read_report(dest), report.text.encode("utf-8")
    result: dict[str, Any] = {"changed": before != after}
    if result["changed"] and not module.check_mode:
        write_report(dest, after, PUBLIC_MODE if module.params["format"] == "prometheus" else PRIVATE_MODE)
    if module._diff:
        text = (before or b"").decode("utf-8", "replace")
        result["diff"] = {"before_header": dest, "after_header": dest, "before": text, "after": report.text}
    return result


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        argument_spec={
            **vault_options(),
            "format": {"type": "str", "choices": list(FORMATS), "required": True},
            "dest": {"type": "path"},
            "job_id": {"type": "str"},
            "subclient": {"type": "str"},
            "jobs": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    parameters = {name: module.params[name] for name in ("format", "dest", "job_id", "subclient", "jobs")}
    with engine(module, "blake3"):
        request = ReportRequest(**parameters)
        report = make_report(open_vault(module), request)
        result: dict[str, Any] = {"changed": False, "dest": request.dest, "job_id": report.job_id}
        if report.document is not None:
            result["document"] = report.document
        if request.dest is not None:
            result.update(write(module, request.dest, report))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
