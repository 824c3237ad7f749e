# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pins and removals that meet: a pin is honoured or refused, and a point is whole or gone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import NFS, add_point, make_client, noise, stored_tree, unlink_on_nfs, write_image

from ansible_collections.ovm.backup.plugins.module_utils.errors import PointNotFoundError, VaultWriteError
from ansible_collections.ovm.backup.plugins.module_utils.vault import pins, removal
from ansible_collections.ovm.backup.plugins.module_utils.vault.manifest import read_manifest
from ansible_collections.ovm.backup.plugins.module_utils.vault.pins import Pin, describe_pin, read_pin
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client

PIN = Pin("before the upgrade", 12.5, "a test")
CALLS = ("rename", "unlink", "rmdir", "fsync")


class PowerCut(BaseException):
    """Nothing works any more."""


@pytest.fixture
def folder(client: Client, tmp_path: Path) -> str:
    """The folder of a point."""
    return os.path.join(client.directory, add_point(client, write_image(tmp_path / "raw", noise(5000))).id)


def after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, what: Callable[[], Any]) -> None:
    """Let something happen once, right after a function of a module was called for the first time."""
    function, calls = getattr(module, name), []

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            what()
        return result

    monkeypatch.setattr(module, name, call)


def test_written_read_and_removed(folder: str) -> None:
    manifest, before = read_manifest(folder), stored_tree(folder)
    assert read_pin(folder) is None
    assert describe_pin(None) == {"pinned": False, "pin_note": None}
    pins.write_pin(folder, PIN)
    assert read_pin(folder) == PIN
    assert describe_pin(PIN) == {"pinned": True, "pin_note": "before the upgrade"}
    assert stored_tree(folder) == sorted([*before, "pin.json"])
    pins.write_pin(folder, Pin("", 13.0, None))
    assert read_pin(folder) == Pin("", 13.0, None)
    pins.remove_pin(folder)
    pins.remove_pin(folder)
    assert (read_pin(folder), stored_tree(folder), read_manifest(folder)) == (None, before, manifest)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"note": 1}', "{}"])
def test_a_pin_that_cannot_be_read_is_a_pin(folder: str, content: str) -> None:
    path = Path(folder) / "pin.json"
    path.write_text(content)
    found = read_pin(folder)
    assert found is not None
    assert found.note == found.problem
    assert found.note.startswith(f"{path} is damaged")
    path.unlink()
    path.mkdir()
    assert read_pin(folder) == Pin(
        f"Cannot read {path}: Is a directory", None, None, f"Cannot read {path}: Is a directory"
    )


def test_no_pin_without_a_point(client: Client, folder: str, tmp_path: Path) -> None:
    (Path(folder) / "point.json").unlink()
    before = stored_tree(client.directory)
    for directory in (folder, f"{folder}-other"):
        with pytest.raises(PointNotFoundError, match="has just been removed"):
            pins.write_pin(directory, PIN)
    assert stored_tree(client.directory) == before


def test_an_error_is_no_absence(folder: str) -> None:
    (Path(folder) / "point.json").unlink()
    os.symlink("point.json", Path(folder) / "point.json")  # a loop
    with pytest.raises(VaultWriteError) as error:
        pins.write_pin(folder, PIN)
    assert error.value.message == f"Cannot open {folder}/point.json: Too many levels of symbolic links"
    assert read_pin(folder) is None


# --- two at once -----------------------------------------------------------------------------------------------------


def test_removed(client: Client, folder: str) -> None:
    assert removal.expire_point(folder) is True
    assert stored_tree(client.directory) == ["client.json"]


def test_removed_while_it_is_read_on_nfs(client: Client, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "unlink", unlink_on_nfs)
    assert removal.expire_point(folder) is True  # there is no such point any more
    assert client.scan() == ([], [])
    assert stored_tree(folder) == [NFS]
    assert removal.clear_away(folder) is False  # it is cleared away once, when the reader is done
    monkeypatch.undo()
    assert removal.clear_away(folder) is True
    assert stored_tree(client.directory) == ["client.json"]


def test_pinned_before_the_removal(client: Client, folder: str) -> None:
    pins.write_pin(folder, PIN)
    before = stored_tree(client.directory)
    assert removal.expire_point(folder) is False
    assert stored_tree(client.directory) == before


def test_pinned_right_after_the_manifest_is_hidden(
    client: Client, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def pin() -> None:
        with pytest.raises(PointNotFoundError) as error:
            pins.write_pin(folder, PIN)
        refused.append(error.value.message)

    after(monkeypatch, removal, "_rename", pin)
    assert removal.expire_point(folder) is True
    assert refused == [f"Recovery point {os.path.basename(folder)} has just been removed"]
    assert stored_tree(client.directory) == ["client.json"]


def test_hidden_right_after_the_first_look_of_a_pin(
    client: Client, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, removed = stored_tree(client.directory), []

    def expire() -> None:
        # The pin is not written yet: the point goes.
        removed.append(removal.expire_point(folder))

    after(monkeypatch, pins, "check_published", expire)
    with pytest.raises(PointNotFoundError, match="has just been removed"):
        pins.write_pin(folder, PIN)
    assert removed == [True]
    assert stored_tree(client.directory) == ["client.json"]
    assert before != ["client.json"]


def test_hidden_right_after_the_pin_is_written(client: Client, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[bool] = []
    after(monkeypatch, pins, "write_json", lambda: removed.append(removal.expire_point(folder)))
    pins.write_pin(folder, PIN)
    assert removed == [False]
    assert client.point().id == os.path.basename(folder)
    assert read_pin(folder) == PIN


def test_hidden_when_the_pin_looks_again(client: Client, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored_tree(folder)
    after(monkeypatch, pins, "write_json", lambda: removal._rename(folder, "point.json", removal.HIDDEN_NAME))
    with pytest.raises(PointNotFoundError, match="has just been removed"):
        pins.write_pin(folder, PIN)
    assert read_pin(folder) is None
    # The removal may have seen the pin before it was taken back, and let the point live on.
    removal._rename(folder, removal.HIDDEN_NAME, "point.json")
    assert stored_tree(folder) == before


def test_a_vault_that_cannot_be_written_refuses_a_pin(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_json(path: str, _document: Any) -> None:
        raise VaultWriteError(f"Cannot write {path}: the vault is full")

    monkeypatch.setattr(pins, "write_json", write_json)
    with pytest.raises(VaultWriteError, match=r"Cannot write .*pin\.json: the vault is full"):
        pins.write_pin(folder, PIN)


# --- interrupted -----------------------------------------------------------------------------------------------------


def failing_from(last: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what makes functions fail together from their call number C(last) on."""
    calls = itertools.count(1)

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) >= last:
                raise PowerCut
            return function(*arguments, **options)

        return call

    return wrap


@pytest.mark.parametrize("pinned", [False, True])
def test_power_cut_at_any_step_of_a_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: bool) -> None:
    """A point that is pinned between the two steps of its removal is honoured, whenever the power fails."""
    image, outcomes = write_image(tmp_path / "raw", noise(5000)), []
    for last in range(1, 100):
        client = make_client(tmp_path / f"vault{last}")
        folder = os.path.join(client.directory, add_point(client, image).id)
        failing = failing_from(last)
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, failing(getattr(os, name)))
            if pinned:  # written, and not yet seen by whoever decides
                (Path(folder) / "pin.json").write_text('{"note": ""}')
            try:
                removal.expire_point(folder)
                cut = False
            except PowerCut:
                cut = True
        points = [point.id for point in client.scan()[0]]
        cleared = client.remove_unpublished()
        whole = [point.id for point in client.scan()[0] if client.problem_of(point) is None]
        if pinned:
            assert (whole, cleared) == ([os.path.basename(folder)], [])
        else:
            assert whole == points
            # Nothing but the folder of the client is left when the point is gone.
            assert (stored_tree(client.directory) == ["client.json"]) == (whole == [])
        outcomes.append(len(whole))
        if not cut:
            break
    assert not cut
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0] == 1
    assert len(outcomes) > 3
