# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""How a restore makes things on the manager, and how they are known to be its own (ovm-rest-api 14.5).

An object is created with the mark of its restore, but its id is known only from the result of the job; then the mark
gets it. A mark with another id was copied along when somebody cloned the object, and proves nothing. One without an id
is on an object that an interrupted call has just made: it is empty and hangs on nothing, so nobody has cloned it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

from ..errors import InvalidInputError, ManagerError, ManagerResponseError, NotFoundError
from .clone_records import Mark, Purpose, read_mark, unmarked
from .clone_removal import add_problems
from .jobs import describe, is_over
from .objects import object_id, object_name, reference, text

if TYPE_CHECKING:
    from .client import Job, ManagerClient

_SEARCH_LIMIT = 30.0  # seconds to look for what became of a request whose answer got lost
_PAUSE = 1.0  # seconds

Find = Callable[[], "str | None"]
Remove = Callable[[str], None]


def new_mark(client: ManagerClient, run_id: str, vm_id: str | None, purpose: Purpose | None = None) -> Mark:
    """Return the mark of a restore on this manager. C(vm_id) is the VM that was backed up."""
    return Mark("restore", client.manager_id, vm_id or "", run_id, purpose=purpose)


def given(client: ManagerClient, kind: str, id_: str, option: str, what: str) -> dict[str, Any]:
    """Return the object that an option names; raise C(InvalidInputError), which names the option, if there is none."""
    try:
        return client.get(kind, id_)
    except NotFoundError:
        raise InvalidInputError(f"{option}: Oracle VM Manager has no {what} {id_!r}", option=option) from None


def restore_mark(client: ManagerClient, item: Mapping[str, Any]) -> Mark | None:
    """Return the mark of a restore on this manager that an object carries as its own."""
    mark = read_mark(item.get("description"), "restore")
    if mark is None or mark.manager_id != client.manager_id or mark.own_id not in (None, object_id(item)):
        return None
    return mark


def is_of_run(client: ManagerClient, item: Mapping[str, Any], run_id: str) -> bool:
    """Whether a restore has made this object."""
    mark = restore_mark(client, item)
    return mark is not None and mark.run_id == run_id


def make(
    client: ManagerClient, *segments: str, query: Mapping[str, Any] | None = None, body: Any, find: Find, remove: Remove
) -> str:
    """Create an object and return its id, from the result of the job.

    If the answer gets lost, C(find) looks for the object by the mark that it was created with. If it does not come
    off, what the job or C(find) leads to is removed.
    """
    job: Job | None = None
    try:
        try:
            job = client.submit("POST", *segments, query=query, body=body)
        except ManagerError as error:
            made = _find_lost(client, find) if error.details.get("outcome") == "unknown" else None
            if made is None:
                raise
            return made
        return result_of(client.wait(job))
    except BaseException as error:
        take_back(client, error, job, remove, find)
        raise


def claim(
    client: ManagerClient, kind: str, object_id_: str, mark: Mark, remove: Remove, *, words: str = "", name: str = ""
) -> None:
    """Write its own id into the mark of a new object; if that fails, remove the object."""
    description = replace(mark, own_id=object_id_).description(words)
    try:
        client.modify(kind, object_id_, {"description": description, **({"name": name} if name else {})})
    except BaseException as error:
        _remove(error, object_id_, remove)
        raise


def result_of(job: Job) -> str:
    """Return the id of what a finished job has made. Raises C(ManagerResponseError)."""
    made = reference(job, "resultId")
    if made is None:
        raise ManagerResponseError(f"Oracle VM Manager finished {describe(job)} without a result.")
    return made


def take_back(
    client: ManagerClient, error: BaseException, job: Job | None, remove: Remove, find: Find | None = None
) -> None:
    """After an error end a job that still goes on, and remove what it has made; problems are written into the error."""
    try:
        made = None
        if job is not None:
            last = client.get("Job", object_id(job))
            made = reference(last if is_over(last) else client.abort(last), "resultId")
        # Refused at once: then there is nothing to look for.
        if made is None and find is not None and (job is not None or _is_unknown(error)):
            made = find()
    except ManagerError as problem:
        if not isinstance(problem, NotFoundError):  # a job that the manager has forgotten is over
            add_problems(error, "It may have been made all the same, and could not be looked for", [problem.message])
        return
    if made is not None:
        _remove(error, made, remove)


def release(client: ManagerClient, kind: str, object_id_: str, *, run_id: str, check: bool = False) -> bool:
    """Take the mark of a run off a finished object, so that nothing removes it as a leftover; return if it had one.

    The manager learns how much space a disk takes by now.
    """
    try:
        item = client.get(kind, object_id_)
    except NotFoundError:
        return False
    if not is_of_run(client, item, run_id):
        return False
    if not check:
        client.modify(kind, object_id_, {"description": unmarked(text(item, "description"))})
        repository_id = reference(item, "repositoryId")
        if kind == "VirtualDisk" and repository_id is not None:
            # All is done, and without its mark it is not found again: no reason to fail, and so to be repeated.
            with contextlib.suppress(ManagerError):
                refresh(client, repository_id)
    return True


def refresh(client: ManagerClient, repository_id: str) -> None:
    """Let the manager learn how full the file system of a storage repository is (ovm-rest-api 14.5).

    Not by a refresh of the storage repository, of which nobody has told that it exists in the REST API (21, row 16).
    """
    file_system_id = reference(client.get("Repository", repository_id), "fileSystemId")
    if file_system_id is not None:
        client.run("PUT", "FileSystem", file_system_id, "refresh", repeatable=True)


def begun(client: ManagerClient, kind: str, mark: Mark, name: str, repository_id: str) -> str | None:
    """Return the id of the object that an interrupted call has created and not claimed."""
    for item in client.list(kind):
        same = object_name(item) == name and reference(item, "repositoryId") == repository_id
        if same and restore_mark(client, item) == mark:
            return object_id(item)
    return None


def _is_unknown(error: BaseException) -> bool:
    """Whether a request may have been carried out: its answer got lost, or we were interrupted."""
    return not isinstance(error, ManagerError) or error.details.get("outcome") == "unknown"


def _find_lost(client: ManagerClient, find: Find) -> str | None:
    deadline = client.clock() + _SEARCH_LIMIT
    while True:
        try:
            found = find()
        except ManagerError:
            found = None  # the connection may still be down: that is how the answer got lost
        if found is not None or client.clock() >= deadline:
            return found
        client.sleep(_PAUSE)


def _remove(error: BaseException, object_id_: str, remove: Remove) -> None:
    try:
        remove(object_id_)
    except ManagerError as problem:
        add_problems(error, f"{object_id_} was made for it and could not be removed", [problem.message])
