# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses, trust and credentials are checked before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from ansible_collections.ovm.backup.plugins.module_utils.errors import InvalidInputError
from ansible_collections.ovm.backup.plugins.module_utils.manager.settings import ConnectionSettings

GOOD = {"url": "ovmm", "user": "admin", "password": "geheim-Passw0rd"}


def settings(**changes: Any) -> ConnectionSettings:
    return ConnectionSettings(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://ovmm.example.com:7002", "https://ovmm.example.com:7002/ovm/core/wsapi/rest"),
        ("https://ovmm.example.com:7002/", "https://ovmm.example.com:7002/ovm/core/wsapi/rest"),
        ("https://ovmm:7002/ovm/core/wsapi/rest", "https://ovmm:7002/ovm/core/wsapi/rest"),
        ("https://ovmm:7002//ovm/core/wsapi/rest/", "https://ovmm:7002/ovm/core/wsapi/rest"),
        ("https://gate/site1/ovm/core/wsapi/rest", "https://gate:7002/site1/ovm/core/wsapi/rest"),
        ("ovmm", "https://ovmm:7002/ovm/core/wsapi/rest"),
        (" ovmm:443 ", "https://ovmm:443/ovm/core/wsapi/rest"),
        ("192.0.2.7:7002", "https://192.0.2.7:7002/ovm/core/wsapi/rest"),
        ("https://[2001:db8::7]:7002", "https://[2001:db8::7]:7002/ovm/core/wsapi/rest"),
        ("HTTPS://OVMM", "https://ovmm:7002/ovm/core/wsapi/rest"),
    ],
)
def test_addresses_are_normalised(given: str, expected: str) -> None:
    assert settings(url=given).url == expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "is empty"),
        ("http://ovmm:7002", "by https only"),
        ("ftp://ovmm", "by https only"),
        ("https://", "names no host"),
        ("https://ovmm:70022", "Port out of range"),
        ("https://ovmm:port", "is not an address"),
        ("https://ovmm/ovm/console", "may end in /ovm/core/wsapi/rest"),
        ("https://ovmm?x=1", "may end in"),
        ("https://ovmm#x", "may end in"),
        ("ovm m", "names no host"),
        ("https://[::1", "is not an address"),
    ],
)
def test_bad_addresses_are_refused(given: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        settings(url=given)
    assert caught.value.details == {"option": "url"}


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as caught:
        settings(url="https://admin:geheim@ovmm:7002")
    assert "geheim" not in caught.value.message
    assert "must not hold a user name or password" in caught.value.message


def test_repr_hides_the_password() -> None:
    assert "geheim" not in repr(settings())
    assert "admin" in repr(settings())


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"user": ""}, "user"),
        ({"user": "a:b"}, "user"),
        ({"password": ""}, "password"),
        ({"request_timeout": 0.0}, "request_timeout"),
        ({"request_timeout": float("nan")}, "request_timeout"),
        ({"fingerprint": "aa:bb"}, "fingerprint"),
        ({"fingerprint": ""}, "fingerprint"),
    ],
)
def test_bad_options_are_refused(change: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        settings(**change)
    assert caught.value.details == {"option": option}
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize("form", ["{plain}", "{colons}", "SHA256:{plain}", "sha256 Fingerprint={colons}", " {upper} "])
def test_fingerprints_are_normalised(form: str) -> None:
    plain = "0123456789abcdef" * 4
    colons = ":".join(plain[index : index + 2] for index in range(0, 64, 2)).upper()
    given = form.format(plain=plain, colons=colons, upper=plain.upper())
    assert settings(fingerprint=given).fingerprint == plain


def test_ca_must_be_usable(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="No such file"):
        settings(ca_path=str(tmp_path / "none.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(InvalidInputError, match="holds no certificate"):
        settings(ca_path=str(empty))
    good = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(good)
    assert settings(ca_path=str(good)).ca_path == str(good)
    assert settings(ca_path=str(tmp_path)).ca_path == str(tmp_path)
