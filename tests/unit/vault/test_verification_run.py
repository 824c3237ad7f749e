# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A verification run: what it is about, that it hides nothing, what it stores, and what people read of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from unit.vault.builders import add_point, make_client, noise, write_image
from unit.vault.chains import FILE, break_manifest, file_of, flip, make_chain

from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    CorruptVaultError,
    InvalidInputError,
    PointNotFoundError,
    VaultError,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault import verification_run
from ansible_collections.ovm.backup.plugins.module_utils.vault.points import Client, Vault
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_record import read_verification
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_run import (
    Outcome,
    Survey,
    survey,
    verify_targets,
)
from ansible_collections.ovm.backup.plugins.module_utils.vault.verification_summary import (
    bad_list,
    complaint,
    verification_summary,
)

pytestmark = pytest.mark.usefixtures("no_sync")
NAME = "VM 'web 01 \u00e4' (client web01)"


def vault_of(client: Client) -> Vault:
    return Vault.open(os.path.dirname(os.path.dirname(client.directory)))


def names(found: Survey) -> list[tuple[str, str]]:
    return [target.key for target in found.targets]


def run(client: Client, *, now: float = 9000.0, **options: Any) -> tuple[Survey, list[Outcome]]:
    """Verify what is due in the client's vault."""
    chosen = {key: options.pop(key) for key in ("clients", "subclient", "point") if key in options}
    found = survey(vault_of(client), **chosen)
    due = found.due(now=now, max_age=options.get("max_age"), share=options.get("share"))
    return found, verify_targets(vault_of(client), due, clock=lambda: now, workers=1)


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    found = {outcome.target.point.id: outcome.status for outcome in outcomes}
    assert len(found) == len(outcomes), "each point once"
    return found


# --- what it is about ------------------------------------------------------------------------------------------------


def test_survey(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path)
    other, (first,) = make_chain(tmp_path, 1, "db01")
    image = write_image(tmp_path / "raw", noise(3000))
    second = add_point(other, image, subclient="weekly")
    make_client(tmp_path / "vault", "nothing yet")
    os.mkdir(tmp_path / "vault" / "clients" / "locked only")
    vault = vault_of(client)
    web = [("web01", point.id) for point in points]
    assert names(survey(vault)) == [("db01", first.id), ("db01", second.id), *web]
    assert names(survey(vault, clients=["web01", "web01"])) == web
    assert names(survey(vault, clients=["web01", "db01"])) == [*web, ("db01", first.id), ("db01", second.id)]
    assert names(survey(vault, subclient="weekly")) == [("db01", second.id)]
    assert names(survey(vault, clients=["db01"], subclient="all")) == [("db01", first.id)]
    assert names(survey(vault, clients=["web01"], point=points[1].id)) == web[1:2]
    assert names(survey(vault, clients=["web01"], point="latest")) == web[2:]
    assert names(survey(vault, clients=["nothing yet"])) == []
    assert survey(Vault.create(str(tmp_path / "empty"))) == Survey((), ())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"clients": []}, InvalidInputError, "clients must not be an empty list: leave it out for all clients"),
        ({"point": "latest"}, InvalidInputError, "A recovery point is named together with its client"),
        ({"point": "latest", "clients": ["a", "b"]}, InvalidInputError, "together with its client, and with no other"),
        ({"clients": ["nobody"]}, PointNotFoundError, "has no client 'nobody'"),
        ({"clients": ["web01"], "point": "x"}, PointNotFoundError, "has no recovery point 'x'"),
        ({"subclient": "typo"}, PointNotFoundError, "no recovery point that a run of subclient 'typo' made"),
    ],
)
def test_what_is_not_there(tmp_path: Path, options: dict[str, Any], kind: type[VaultError], message: str) -> None:
    client, _points = make_chain(tmp_path, 1)
    with pytest.raises(kind) as caught:
        survey(vault_of(client), **options)
    assert message in caught.value.message


def test_what_is_unreadable_is_not_passed_over(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path)
    path = break_manifest(client, points[1])
    what = f"{path} is damaged: its content does not have the hash that it gives"
    for options in ({}, {"clients": ["web01"]}, {"subclient": "all"}):
        found = survey(vault_of(client), **options)  # type: ignore[arg-type]
        assert names(found) == [("web01", points[0].id), ("web01", points[2].id)]
        assert [item.as_dict() for item in found.unreadable] == [
            {"client": "web01", "vm_name": "web01", "point": points[1].id, "problem": what}
        ]
    document = Path(client.directory, "client.json")
    document.unlink()
    found = survey(vault_of(client))
    assert [item.as_dict() for item in found.unreadable] == [
        {
            "client": "web01",
            "vm_name": "web 01 \u00e4",
            "point": None,
            "problem": f"Cannot read {document}: No such file or directory",
        },
        {"client": "web01", "vm_name": "web 01 \u00e4", "point": points[1].id, "problem": what},
    ]
    assert names(found) == [("web01", points[0].id), ("web01", points[2].id)]


# --- what it does ----------------------------------------------------------------------------------------------------


def test_results_are_stored_and_decide_what_is_due(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path)
    found, outcomes = run(client, share=34)
    assert statuses(outcomes) == {points[0].id: "good", points[1].id: "good"}
    assert all(outcome.stored for outcome in outcomes)
    for outcome in outcomes:
        folder = os.path.join(client.directory, outcome.target.point.id)
        assert read_verification(folder) == outcome.verification
    assert statuses(run(client, max_age=60)[1]) == {points[2].id: "good"}
    assert run(client, max_age=60)[1] == []
    assert len(run(client, max_age=60, now=9060.0)[1]) == 3
    assert complaint(found, outcomes, bad_too=True) is None


def test_a_damaged_file_concerns_all_that_need_it(tmp_path: Path) -> None:
    """Only the full is due; the incremental that needs its file is found bad with it, other chains are left alone."""
    client, points = make_chain(tmp_path, 2)
    image = write_image(tmp_path / "raw", noise(3000))
    separate = add_point(client, image, now=3000.0)
    assert statuses(run(client, now=7000.0)[1]) == {point.id: "good" for point in (*points, separate)}
    path = file_of(client, points[0])
    flip(path, 20)
    _found, outcomes = run(client, clients=["web01"], point=points[0].id)
    assert statuses(outcomes) == {points[0].id: "bad", points[1].id: "bad"}
    assert [outcome.target.why for outcome in outcomes] == [
        "it was verified 33 min 20 s ago",
        "it needs a file in which damage was found",
    ]
    assert outcomes[1].verification is not None
    # The file of the full was not read again.
    assert outcomes[1].verification.bytes_read == points[1].stored
    for point in points:
        found = client.problem_of(point)
        assert found is not None
        assert found.startswith(f"recovery point {point.id} was found bad by a verification: {path} is damaged")
    assert client.problem_of(separate) is None
    # They are due again, however old the results may be, until they are good.
    assert set(statuses(run(client, max_age=10**6)[1])) == {point.id for point in points}
    flip(path, 20)
    assert statuses(run(client, max_age=10**6)[1]) == {point.id: "good" for point in points}
    assert run(client, max_age=10**6)[1] == []
    assert client.problem_of(points[1]) is None


def test_damage_that_is_found_by_way_of_an_incremental(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path)
    flip(file_of(client, points[0]), 20)
    _found, outcomes = run(client, clients=["web01"], point="latest")
    assert statuses(outcomes) == {point.id: "bad" for point in points}


def test_a_point_that_is_gone(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path)
    found = survey(vault_of(client))
    due = found.due(now=9000.0, max_age=None, share=None)
    shutil.rmtree(os.path.join(client.directory, points[2].id))
    outcomes = verify_targets(vault_of(client), due, workers=1)
    assert statuses(outcomes) == {points[0].id: "good", points[1].id: "good", points[2].id: "gone"}
    assert not os.path.exists(os.path.join(client.directory, points[2].id))
    assert verification_summary(found, outcomes, 1.0)[1:] == [
        f"Note: {NAME}, recovery point {points[2].id} was removed meanwhile"
    ]
    shutil.rmtree(client.directory)
    assert set(statuses(verify_targets(vault_of(client), due, workers=1)).values()) == {"gone"}


def test_a_client_that_goes_while_damage_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = make_chain(tmp_path)
    flip(file_of(client, points[0]), 20)

    def gone(folder: str, *_arguments: Any) -> None:
        shutil.rmtree(os.path.dirname(folder))
        raise VaultError("Cannot write")

    found = survey(vault_of(client))
    due = found.due(now=9000.0, max_age=None, share=None)[:1]
    monkeypatch.setattr(verification_run, "write_verification", gone)
    assert statuses(verify_targets(vault_of(client), due, workers=1)) == {points[0].id: "gone"}


def test_a_result_that_cannot_be_stored_is_reported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, points = make_chain(tmp_path, 2)
    flip(file_of(client, points[1]), 20)

    def full(_source: str, target: str) -> None:
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr(os, "replace", full)
    found, outcomes = run(client)
    assert statuses(outcomes) == {points[0].id: "good", points[1].id: "bad"}
    assert not any(outcome.stored for outcome in outcomes)
    reason = "the vault is full: free space there or let recovery points expire"
    lines = [
        f"Error: {NAME}, recovery point {point.id}: its result could not be stored: "
        f"Cannot write {client.directory}/{point.id}/verification.json: {reason}"
        for point in points
    ]
    assert verification_summary(found, outcomes, 1.0)[2:] == lines
    failure = complaint(found, outcomes, bad_too=False)
    assert isinstance(failure, VaultError) and not isinstance(failure, CorruptVaultError)
    assert failure.message == "; ".join(lines)
    bad = complaint(found, outcomes, bad_too=True)
    assert isinstance(bad, CorruptVaultError)
    assert bad.message.endswith("; ".join(lines))


def test_a_result_that_cannot_be_read_now_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = make_chain(tmp_path, 2)
    run(client)
    path = os.path.join(client.directory, points[0].id, "verification.json")
    opened = open

    def refuse(name: Any, *arguments: Any, **options: Any) -> Any:
        if str(name) == path:
            raise PermissionError(13, "Permission denied", name)
        return opened(name, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    assert [target.before is None for target in survey(vault_of(client)).targets] == [True, False]


def test_what_cannot_be_verified_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, points = make_chain(tmp_path, 1)
    other, (readable,) = make_chain(tmp_path, 1, "web02")
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == str(file_of(client, points[0])):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    found, outcomes = run(client)
    assert [outcome.status for outcome in outcomes] == ["unknown", "good"]
    assert read_verification(os.path.join(client.directory, points[0].id)) is None
    assert read_verification(os.path.join(other.directory, readable.id)) is not None
    failure = complaint(found, outcomes, bad_too=False)
    assert failure is not None
    path = file_of(client, points[0])
    assert failure.message == (
        f"Error: {NAME}, recovery point {points[0].id}: could not be verified: Cannot read {path}: Permission denied"
    )


# --- what people read ------------------------------------------------------------------------------------------------


def test_summary_and_failure_name_everything_that_is_bad(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path, 4)
    path, cut = file_of(client, points[2]), file_of(client, points[3])
    flip(path, 20)
    os.truncate(cut, 100)
    manifest = break_manifest(client, points[1])
    found, outcomes = run(client)
    lines = verification_summary(found, outcomes, 2.0)
    size, read = points[3].stored, sum(outcome.verification.bytes_read for outcome in outcomes if outcome.verification)
    damaged = f"{manifest} is damaged: its content does not have the hash that it gives"
    together = f"disk system (slot 0) cannot be put together: {damaged}"
    assert lines == [
        f"3 recovery points of 1 client: 1 good, 2 bad, 1 not readable; {read / 1024:.1f} KiB read in 2.0 s",
        f"Bad: VM 'web01' (client web01), recovery point {points[1].id}: {damaged}",
        f"Bad: {NAME}, recovery point {points[2].id}: {together}",
        f"Bad: {NAME}, recovery point {points[3].id}: {together}",
    ]
    failure = complaint(found, outcomes, bad_too=True)
    assert isinstance(failure, CorruptVaultError)
    assert failure.message == "; ".join(["3 recovery points are bad", *lines[1:]])
    assert failure.as_failure() == {
        "kind": "CorruptVaultError",
        "bad": bad_list(outcomes),
        "unreadable": [item.as_dict() for item in found.unreadable],
    }
    assert [item["point"] for item in bad_list(outcomes)] == [points[2].id, points[3].id]
    assert complaint(found, outcomes, bad_too=False) is None
    assert size > 100


def test_summary_names_file_and_offset(tmp_path: Path) -> None:
    client, points = make_chain(tmp_path, 2)
    path = file_of(client, points[0])
    os.truncate(path, 100)
    found, outcomes = run(client)
    what = f"{path} has 100 bytes instead of {points[0].stored}"
    assert verification_summary(found, outcomes, 2.0)[1:] == [
        f"Bad: {NAME}, recovery point {point.id}: {what}" for point in points
    ]
    failure = complaint(found, outcomes, bad_too=True)
    assert failure is not None
    assert failure.details["bad"][1] == {
        "client": "web01",
        "vm_name": "web 01 \u00e4",
        "point": points[1].id,
        "problems": [{"point": points[0].id, "file": FILE, "offset": 100, "message": what}],
    }


def test_summary_of_nothing_due(tmp_path: Path) -> None:
    client, _points = make_chain(tmp_path, 1)
    found = survey(vault_of(client))
    assert verification_summary(found, [], 0.1) == ["1 recovery point of 1 client: none due"]
    due = found.due(now=9000.0, max_age=None, share=None)
    assert verification_summary(found, [Outcome(target, "due") for target in due], 0.1) == [
        "1 recovery point of 1 client: 1 due",
        f"Due: {NAME}, recovery point {due[0].point.id}: it was never verified",
    ]
