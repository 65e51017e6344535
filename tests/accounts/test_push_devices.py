"""Registering where push messages go."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from accounts.models import PushDevice, User
from tests.accounts.calls import bearer, call, post

pytestmark = pytest.mark.django_db

PUSH_DEVICES = "/api/v1/push-devices/"
FORMAT = serialization.PublicFormat


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def a_point(curve: ec.EllipticCurve | None = None, form: FORMAT = FORMAT.UncompressedPoint) -> bytes:
    key = ec.derive_private_key(20261123, curve or ec.SECP256R1())
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


P256DH = base64url(a_point())
AUTH = base64url(bytes(range(16)))


def subscription(number: int = 0, **keys: str) -> dict[str, Any]:
    return {
        "endpoint": f"https://push.example.net/send/{number}",
        "expirationTime": None,
        "keys": {"p256dh": P256DH, "auth": AUTH, **keys},
    }


def register(client: Client, user: User, fields: Any) -> Any:
    return post(client, PUSH_DEVICES, fields, headers=bearer(user))


def test_a_browsers_subscription_is_registered_and_listed_without_its_keys(
    client: Client, owner: User, stranger: User
) -> None:
    answer = register(client, owner, {**subscription(), "name": "Phone"})
    assert answer.status_code == 201
    device = PushDevice.objects.get()
    assert (device.user, device.p256dh, device.auth) == (owner, P256DH, AUTH)
    [listed] = client.get(PUSH_DEVICES, headers=bearer(owner)).json()
    assert listed == answer.json()
    assert set(listed) == {"id", "name", "endpoint", "created_at"}
    assert client.get(PUSH_DEVICES, headers=bearer(stranger)).json() == []


def test_the_same_endpoint_again_changes_what_is_registered(client: Client, owner: User) -> None:
    first = register(client, owner, subscription()).json()
    other_secret = base64url(bytes(16))
    answer = register(client, owner, {**subscription(auth=other_secret), "name": "Tablet"})
    assert answer.status_code == 200
    assert answer.json()["id"] == first["id"]
    device = PushDevice.objects.get()
    assert (device.name, device.auth) == ("Tablet", other_secret)


def test_a_browser_that_changes_hands_no_longer_gets_the_others_messages(
    client: Client, owner: User, stranger: User
) -> None:
    register(client, owner, subscription())
    assert register(client, stranger, subscription()).status_code == 201
    assert PushDevice.objects.get().user == stranger


def test_who_knows_only_the_address_takes_nobodys_messages_away(client: Client, owner: User, stranger: User) -> None:
    register(client, owner, subscription())
    assert register(client, stranger, subscription(auth=base64url(bytes(16)))).status_code == 201
    assert {device.user for device in PushDevice.objects.all()} == {owner, stranger}


@pytest.mark.parametrize("padded", [P256DH + "=", P256DH])
def test_keys_are_taken_with_and_without_padding(client: Client, owner: User, padded: str) -> None:
    assert register(client, owner, subscription(p256dh=padded)).status_code == 201


BAD_POINTS = [
    "",
    "!",
    base64url(b"\x04" + bytes(64)),
    base64url(a_point()[:-1]),
    base64url(a_point() + b"\0"),
    base64url(a_point(form=FORMAT.CompressedPoint)),
    base64url(a_point(ec.SECP256K1())),
    base64url(b"\x05" + a_point()[1:]),
    base64url(a_point()[:-1] + bytes([a_point()[-1] ^ 1])),
    P256DH + "!!",
    "é" * 87,
]


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        *[(subscription(p256dh=point), {"keys.p256dh"}) for point in BAD_POINTS],
        *[(subscription(auth=auth), {"keys.auth"}) for auth in ("", "x", base64url(bytes(15)), base64url(bytes(17)))],
        ({**subscription(), "endpoint": "http://push.example.net/1"}, {"endpoint"}),
        ({**subscription(), "endpoint": "https://me:secret@push.example.net/1"}, {"endpoint"}),
        ({**subscription(), "endpoint": "javascript:alert(1)"}, {"endpoint"}),
        ({**subscription(), "endpoint": "https://push.example.net/" + "x" * 500}, {"endpoint"}),
        ({**subscription(), "name": "x" * 201}, {"name"}),
        ({**subscription(), "keys": "x"}, {"keys.non_field_errors"}),
        ({**subscription(), "keys": {}}, {"keys.p256dh", "keys.auth"}),
        ({}, {"endpoint", "keys"}),
        ([], {"non_field_errors"}),
    ],
)
def test_what_is_no_subscription_is_refused_with_its_field(
    client: Client, owner: User, fields: Any, blamed: set[str]
) -> None:
    answer = register(client, owner, fields)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_field"
    assert set(answer.json()["errors"]) == blamed
    assert not PushDevice.objects.exists()


def test_twenty_devices_are_enough(client: Client, owner: User, stranger: User) -> None:
    headers = bearer(owner)
    for number in range(20):
        assert post(client, PUSH_DEVICES, subscription(number), headers=headers).status_code == 201
    answer = post(client, PUSH_DEVICES, subscription(20), headers=headers)
    assert answer.status_code == 400
    assert "20" in answer.json()["errors"]["endpoint"][0]
    # One that is there can still be changed, and others have their own twenty.
    assert post(client, PUSH_DEVICES, subscription(3), headers=headers).status_code == 200
    assert register(client, stranger, subscription(99)).status_code == 201
    assert PushDevice.objects.filter(user=owner).count() == 20


def test_a_device_is_removed_by_its_owner_only(client: Client, owner: User, stranger: User) -> None:
    path = f"{PUSH_DEVICES}{register(client, owner, subscription()).json()['id']}/"
    assert call(client, "DELETE", path).status_code == 401
    assert call(client, "DELETE", path, headers=bearer(stranger)).status_code == 404
    assert PushDevice.objects.exists()
    assert call(client, "DELETE", path, headers=bearer(owner)).status_code == 204
    assert not PushDevice.objects.exists()
    assert call(client, "DELETE", path, headers=bearer(owner)).status_code == 404
