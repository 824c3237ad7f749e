# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings for ssh, the command line that they make, and what the client says when it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from unit.images.stand_in import StandIn, server

from ansible_collections.ovm.backup.plugins.module_utils._ssh_options import ssh_options
from ansible_collections.ovm.backup.plugins.module_utils.errors import (
    HostKeyError,
    InvalidInputError,
    ServerAlgorithmError,
    ServerAuthenticationError,
    ServerError,
    ServerToolError,
    ServerUnreachableError,
)
from ansible_collections.ovm.backup.plugins.module_utils.images.ssh import (
    Address,
    SshSettings,
    parse_address,
    remote_command,
    ssh_arguments,
)

# --- settings --------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_option() -> None:
    assert SshSettings.parse(None) == SshSettings.parse({}) == SshSettings()
    shown = ssh_options()["options"]
    assert SshSettings.parse({name: spec.get("default") for name, spec in shown.items()}) == SshSettings()


def test_all_settings() -> None:
    given: dict[str, Any] = {
        "user": "backup",
        "port": 2222,
        "key_file": "/etc/ovm/id rsa",
        "known_hosts": "~/hosts",
        "host_keys": "accept_new",
        "sudo": True,
        "legacy": True,
        "streams": 4,
        "connect_timeout": 5,
        "stall_timeout": 120,
        "compare": "proxy",
        "max_load": 0.5,
        "addresses": {"ovs1": "192.0.2.1:2022", "0a:0b": "ovs2.example.com"},
    }
    found = SshSettings.parse(given)
    assert {name: getattr(found, name) for name in given} == given


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "must be a mapping with the keys user, port, "),
        ({"keyfile": "/x"}, "keyfile: unknown key; known here are .* \\(did you mean 'key_file'"),
        ({"user": "-oProxyCommand=x"}, "user: '-oProxyCommand=x' is not the name of a user"),
        ({"port": 0}, "port: must be between 1 and 65535, not 0"),
        ({"key_file": "id_rsa"}, "key_file: 'id_rsa' must be an absolute path"),
        ({"known_hosts": '/a"b'}, "known_hosts: '/a\"b' must be an absolute path without quotes"),
        ({"host_keys": "no"}, "host_keys: 'no' is not a way to check host keys; use one of strict, accept_new, off"),
        ({"streams": 9}, "streams: must be between 1 and 8, not 9"),
        ({"stall_timeout": 1}, "stall_timeout: must be at least 5, not 1"),
        ({"max_load": "much"}, "max_load: must be a number, not the string 'much'"),
        ({"max_load": True}, "max_load: must be a number, not the boolean true"),
        ({"max_load": 0}, "max_load: must be more than 0, not 0"),
        ({"sudo": "perhaps"}, "sudo: must be true or false"),
        ({"addresses": ["x"]}, "addresses: must be a mapping from the name or id of a server to its address"),
        ({"addresses": {"ovs1": 5}}, "addresses.ovs1: must be a string"),
        ({"addresses": {"ovs1": "a b"}}, "addresses.ovs1: 'a b' is not the address of a server"),
    ],
)
def test_what_is_wrong_is_named(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        SshSettings.parse(given)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        SshSettings.parse({"port": "x", "streams": 0})
    assert [item["key"] for item in caught.value.details["problems"]] == ["port", "streams"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ovs1", "ovs1", None),
        ("ovs1.example.com:2222", "ovs1.example.com", 2222),
        ("192.0.2.1:22", "192.0.2.1", 22),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222),
        ("[fe80::1%eth0]", "fe80::1%eth0", None),
    ],
)
def test_addresses(text: str, host: str, port: int | None) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "-oX", "a b", "ovs1:", "ovs1:0", "ovs1:70000", "user@ovs1", "[ovs1]:5", "a;b", "$x"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not the address of a server: give HOST, HOST:PORT"):
        parse_address(text)


# --- the command line ------------------------------------------------------------------------------------------------


def arguments(*, master: bool = True, only_sha1: bool = False, **settings: Any) -> list[str]:
    return ssh_arguments(
        SshSettings.parse(settings),
        Address("ovs1", None),
        program="ssh",
        control="/tmp/x/s%1",
        master=master,
        only_sha1=only_sha1,
    )


def test_the_client_takes_every_option() -> None:
    everything = {"key_file": "/etc/ovm/id rsa %h", "known_hosts": "/etc/ovm/hosts", "legacy": True, "port": 2222}
    command = arguments(**everything)
    shown = subprocess.run([*command[:-2], "-G", *command[-2:]], capture_output=True, text=True, check=True).stdout
    found = dict(line.split(" ", 1) for line in shown.splitlines())
    assert found["port"] == "2222"
    assert found["user"] == "root"
    assert found["batchmode"] == "yes"
    assert found["stricthostkeychecking"] == "true"
    assert found["controlmaster"] == "true"
    assert found["controlpath"] == "/tmp/x/s%1"
    assert found["identityfile"] in ("/etc/ovm/id rsa %%h", "/etc/ovm/id rsa %h")
    assert found["userknownhostsfile"] == "/etc/ovm/hosts"
    assert "ssh-rsa" in found["hostkeyalgorithms"].split(",")
    assert "ssh-rsa" in found["pubkeyacceptedalgorithms"].split(",")


def test_host_keys() -> None:
    assert "StrictHostKeyChecking=yes" in arguments()
    assert "StrictHostKeyChecking=accept-new" in arguments(host_keys="accept_new")
    off = arguments(host_keys="off", known_hosts="/etc/ovm/hosts")
    assert {"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"} < set(off)
    assert 'UserKnownHostsFile="/etc/ovm/hosts"' not in off


def test_the_client_does_not_learn_our_secrets(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVM_VAULT_ENCRYPTION_KEY", "secret")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    with server(stand_in.client(f'env > {tmp_path}/seen\nexec sh -c "$command"\n')):
        seen = (tmp_path / "seen").read_text(encoding="utf-8").splitlines()
    assert {"LC_ALL=C", "SSH_AUTH_SOCK=/run/agent"} <= set(seen)
    assert not [line for line in seen if line.startswith("OVM_")]


def test_old_algorithms_only_where_wanted() -> None:
    assert not any("ssh-rsa" in word for word in arguments())
    old = arguments(legacy=True)
    # The name that only new clients know is to be ignored by old ones, so that comes before it.
    assert old.index("IgnoreUnknown=PubkeyAcceptedAlgorithms") < old.index("PubkeyAcceptedAlgorithms=+ssh-rsa")
    assert "PubkeyAcceptedAlgorithms=ssh-rsa" in arguments(legacy=True, only_sha1=True)


def test_one_connection_is_shared() -> None:
    assert {"ControlMaster=yes", 'ControlPath="/tmp/x/s%%1"'} < set(arguments())
    assert {"ControlMaster=no", 'ControlPath="/tmp/x/s%%1"'} < set(arguments(master=False))


def test_sudo_is_for_others_than_root() -> None:
    assert remote_command(SshSettings(user="backup", sudo=True), "true") == "exec sudo -n /bin/sh -c 'true'"
    assert remote_command(SshSettings(user="root", sudo=True), "true") == "exec /bin/sh -c 'true'"
    assert remote_command(SshSettings(user="backup"), "true") == "exec /bin/sh -c 'true'"


# --- failures, as OpenSSH 9.2 and 7.4 and sudo 1.8 and 1.9 tell them -------------------------------------------------

OFFER = "Unable to negotiate with 192.0.2.1 port 22: no matching {} found. Their offer: {}"
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key for 192.0.2.1 has changed and you have requested strict checking.
Host key verification failed."""
UNKNOWN = """\
No RSA host key is known for 192.0.2.1 and you have requested strict checking.
Host key verification failed."""
DENIED = "root@192.0.2.1: Permission denied (publickey,password)."
OPEN_KEY = """\
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
Permissions 0644 for '/root/id' are too open.
Load key "/root/id": bad permissions
root@192.0.2.1: Permission denied (publickey,password)."""


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("ssh: connect to host 192.0.2.1 port 22: Connection refused", ServerUnreachableError, "failed: ssh: connect"),
        ("ssh: connect to host 192.0.2.1 port 22: Connection timed out", ServerUnreachableError, "timed out"),
        ("ssh: connect to host 192.0.2.1 port 22: No route to host", ServerUnreachableError, "No route to host"),
        ("ssh: Could not resolve hostname ovs1: Name or service not known", ServerUnreachableError, "resolve"),
        ("Connection timed out during banner exchange", ServerUnreachableError, "banner"),
        ("kex_exchange_identification: Connection closed by remote host", ServerUnreachableError, "MaxStartups"),
        ("Timeout, server 192.0.2.1 not responding.", ServerUnreachableError, "not responding"),
        ("client_loop: send disconnect: Broken pipe", ServerUnreachableError, "Broken pipe"),
        ("", ServerUnreachableError, "The connection to server ovs1 .* was lost"),
        (UNKNOWN, HostKeyError, "ssh-keyscan"),
        (CHANGED, HostKeyError, "has changed and you have requested strict checking"),
        (DENIED, ServerAuthenticationError, "set legacy: true"),
        (
            "Received disconnect from x: 2: Too many authentication failures",
            ServerAuthenticationError,
            "let user root in",
        ),
        (OPEN_KEY, ServerAuthenticationError, "cannot be used: Permissions 0644 for '/root/id' are too open"),
        ('Load key "/root/id": error in libcrypto\n' + DENIED, ServerAuthenticationError, "Load key"),
        (OFFER.format("host key type", "ssh-rsa"), ServerAlgorithmError, "use an RSA key and set legacy: true"),
        (OFFER.format("key exchange method", "dh-group1"), ServerAlgorithmError, "no algorithm in common"),
        (OFFER.format("cipher", "aes128-cbc"), ServerAlgorithmError, "Their offer: aes128-cbc"),
        (OFFER.format("MAC", "hmac-md5"), ServerAlgorithmError, "Their offer: hmac-md5"),
        ("sign_and_send_pubkey: no mutual signature supported\n" + DENIED, ServerAlgorithmError, "legacy"),
        ("ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: error in libcrypto", ServerAlgorithmError, "legacy"),
        ("Bad server host key: Invalid key length", ServerAlgorithmError, "Invalid key length"),
        ("command-line: line 0: Bad configuration option: pubkeyacceptedalgorithms", ServerToolError, "does not start"),
    ],
)
def test_failures_of_the_client(stand_in: StandIn, said: str, kind: type[ServerError], told: str) -> None:
    with pytest.raises(kind, match=told) as caught, server(stand_in.saying(said)):
        pass
    assert caught.type is kind
    assert (caught.value.details["server"], caught.value.details["address"]) == ("ovs1", "192.0.2.1")
    assert caught.value.retryable is (kind is ServerUnreachableError)


def test_advice_after_old_algorithms_were_allowed(stand_in: StandIn) -> None:
    said = "ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: error in libcrypto"
    with pytest.raises(ServerAlgorithmError, match="DEFAULT:SHA1"), server(stand_in.saying(said), legacy=True):
        pass


@pytest.mark.parametrize(
    "said",
    [
        "sudo: a password is required",
        "sudo: sorry, you must have a tty to run sudo",
        "sudo: no tty present and no askpass program specified",
        "backup is not in the sudoers file.  This incident will be reported.",
        "Sorry, user backup is not allowed to execute '/bin/sh -c x' as root on ovs1.",
        "/bin/sh: sudo: command not found\nsudo: command not found",
    ],
)
def test_failures_of_sudo(stand_in: StandIn, said: str) -> None:
    with (
        pytest.raises(
            ServerAuthenticationError, match="sudo on server ovs1 .* refuses user backup.*It must run /bin/sh"
        ),
        server(stand_in.saying(said, 1), user="backup", sudo=True),
    ):
        pass


def test_other_failures_are_shown_as_they_are(stand_in: StandIn) -> None:
    said = "Traceback (most recent call last):\nImportError: No module named fcntl"
    with (
        pytest.raises(ServerToolError, match="ended with status 1: Traceback .*; ImportError: No module named fcntl"),
        server(stand_in.saying(said, 1)),
    ):
        pass
