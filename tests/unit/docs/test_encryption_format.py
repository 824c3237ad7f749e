# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages on encryption show is what the code does: layout, names of keys, contexts, messages, costs."""

from __future__ import annotations

import ast
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from unit.docs.test_reference import parts_of, texts_of
from unit.vault.storage.test_keys import KNOWN

from ansible_collections.ovm.backup.plugins.module_utils.vault import decrypt_script
from ansible_collections.ovm.backup.plugins.module_utils.vault.access import variable
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage import cipher, key_source, keys, recipients
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.encryption import encryption_setting
from ansible_collections.ovm.backup.plugins.module_utils.vault.storage.plain import PLAIN_FILES, PLAIN_FOLDER

if TYPE_CHECKING:
    from conftest import Documentation

ROOT = Path(__file__).resolve().parents[3]
FORMAT, GUIDE = "encryption_format", "guide_encryption"


def test_header_is_laid_out_as_shown(documentation: Documentation) -> None:
    rows = documentation.table(FORMAT, "Header")
    sizes = [int(size) for _offset, size, _name, _meaning in rows]
    assert [int(row[0]) for row in rows] == [sum(sizes[:number]) for number in range(len(sizes))]
    assert "<" + "".join("I" if size == 4 else f"{size}s" for size in sizes) == cipher.HEADER.format
    assert sum(sizes) == cipher.HEADER_SIZE == 72
    shown = {row[2]: row[3] for row in rows}
    assert (shown["magic"], int(shown["version"])) == (cipher.MAGIC.decode(), cipher.VERSION)
    assert int(shown["chunk_size"]) == cipher.CHUNK_SIZE
    assert f"at offset ``72 + n * {cipher.SEALED_SIZE}``" in documentation.guide(FORMAT)


def test_script_and_page_know_the_numbers_and_contexts_of_the_engine(documentation: Documentation) -> None:
    own = [cipher.FILE_CONTEXT, cipher.DATA_KEY_ID_CONTEXT, keys.MAC_CONTEXT]
    assert own == list(decrypt_script.CONTEXT.values())
    assert (recipients.KEY_ID_CONTEXT, recipients.WRAP_CONTEXT) == (decrypt_script.KEY_ID, decrypt_script.WRAP)
    layout: struct.Struct = decrypt_script.HEADER
    assert (layout.format, decrypt_script.CHUNK, decrypt_script.TAG) == (cipher.HEADER.format, 65536, cipher.TAG_SIZE)
    contexts = [*own, *recipients.KEY_ID_CONTEXT.values(), *recipients.WRAP_CONTEXT.values()]
    page = documentation.guide(FORMAT)
    assert [context for context in contexts if f"``{context.decode()}``" not in page] == []


def test_keys_of_the_documents_are_those_that_are_shown(documentation: Documentation) -> None:
    assert sorted(row[0] for row in documentation.table(FORMAT, "Keys of keys.json")) == sorted(KNOWN)
    shown = {row[0] for row in documentation.table(FORMAT, "Keys of a recipient")}
    recipient: dict[str, Any] = KNOWN["recipients"][1]
    assert shown == set(recipient)
    page = documentation.guide(FORMAT)
    assert f"(``{encryption_setting()['format']}``) and ``version`` ({encryption_setting()['version']})" in page
    assert [name for name in (*PLAIN_FILES, PLAIN_FOLDER) if f"``{name}``" not in page] == []


def test_ways_to_give_the_key_are_those_of_the_options(documentation: Documentation) -> None:
    names = [key_source.PREFIX + source for source in key_source.SOURCES]
    rows = documentation.table(GUIDE, "Ways to give the key")
    assert [row[:2] for row in rows] == [(name, variable(name)) for name in names]
    assert f"has {key_source.COMMAND_SECONDS:g} s" in documentation.guide(GUIDE)
    assert [name for name in names if variable(name) not in keys.HOW_TO_GIVE] == []


def test_messages_are_those_of_the_code(documentation: Documentation) -> None:
    sources = [texts_of(path) for path in ROOT.glob("plugins/module_utils/vault/**/*.py")]
    plain = [" ".join(text.replace("\0", " ").split()) for text in sources]
    page = documentation.guide(GUIDE)
    rows = re.findall(r"^   \* - (``.*)$", page[page.index("When it fails") :], re.MULTILINE)
    shown = [part for row in rows for text in re.findall(r"``(.+?)``", row) for part in parts_of(text)]
    assert len(shown) > 20
    assert [part for part in shown if not any(part in text for text in plain)] == []


@pytest.mark.parametrize("name", ["decrypt_script", "restore_script"])
def test_scripts_import_nothing_of_ours(name: str) -> None:
    tree = ast.parse((ROOT / f"plugins/module_utils/vault/{name}.py").read_text(encoding="utf-8"))
    assert [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level] == []
