# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of Sphinx for the HTML pages of the documentation. Nothing is fetched from anywhere."""

from __future__ import annotations

from typing import Any

from docutils import nodes

project = "ovm.backup"
copyright = "2026, ovm.backup contributors"
extensions = ["sphinx_antsibull_ext"]
html_theme = "furo"
html_title = "ovm.backup"
html_copy_source = False
html_show_sphinx = False
pygments_style = "ansible"
default_role = "any"

# Labels of Ansible's own documentation, to which the pages of modules refer.
ANSIBLE = "https://docs.ansible.com/ansible/latest/reference_appendices"
ELSEWHERE = {
    "action_plugins": "https://docs.ansible.com/ansible/latest/plugins/action.html",
    "common_return_values": f"{ANSIBLE}/common_return_values.html",
    "ansible_configuration_settings": f"{ANSIBLE}/config.html",
}


def refer_elsewhere(_app: Any, _environment: Any, node: Any, content: nodes.Element) -> nodes.Element | None:
    """Return a link to a page of Ansible's documentation."""
    address = ELSEWHERE.get(node.get("reftarget", ""))
    return None if address is None else nodes.reference("", "", content, internal=False, refuri=address)


def setup(app: Any) -> dict[str, Any]:
    """Extend Sphinx."""
    app.connect("missing-reference", refer_elsewhere)
    return {"parallel_read_safe": True}
