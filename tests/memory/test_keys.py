"""Keys: guessing is dear, parameters are bounded, and a key shows itself to nobody."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import KdfParameters, TamperedError, WeakKeyError, WrongPassphraseError
from agentkit_memory.keys import MasterKey, WrappedKey, check_passphrase, check_secret, derive, expand

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

VAULT_ID = "00" * 16


def test_a_derived_key_depends_on_passphrase_salt_and_cost() -> None:
    salt, cost = b"somesaltsomesalt", KdfParameters(64, 1, 1)
    keys = [
        derive(b"password", salt, cost),
        derive(b"Password", salt, cost),
        derive(b"password", b"somesaltsomesalu", cost),
        derive(b"password", salt, KdfParameters(72, 1, 1)),
        derive(b"password", salt, KdfParameters(64, 2, 1)),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}
    assert derive(b"password", salt, cost) == keys[0]


@pytest.mark.parametrize(
    "parameters",
    [
        KdfParameters(64 * 1024 - 1, 3, 4),
        KdfParameters(64 * 1024, 2, 4),
        KdfParameters.for_tests(),
        KdfParameters(4 * 1024 * 1024, 3, 4),
        KdfParameters(64 * 1024, 1000, 4),
        KdfParameters(64 * 1024, 3, 0),
        KdfParameters(64 * 1024, 3, 1000),
        KdfParameters(-1, 3, 1),
    ],
)
def test_parameters_out_of_bounds_are_refused(parameters: KdfParameters) -> None:
    with pytest.raises(WeakKeyError):
        parameters.check()


def test_the_ceiling_holds_even_where_weak_parameters_are_allowed() -> None:
    KdfParameters.for_tests().check(allow_weak=True)
    with pytest.raises(WeakKeyError):
        KdfParameters(1 << 40, 3, 4).check(allow_weak=True)
    with pytest.raises(WeakKeyError):
        KdfParameters(1, 0, 1).check(allow_weak=True)


@pytest.mark.slow
def test_tuned_parameters_are_never_under_the_floor() -> None:
    parameters = KdfParameters.tuned()
    parameters.check()
    assert 64 * 1024 <= parameters.memory_kib <= 256 * 1024


@pytest.mark.parametrize("passphrase", [b"", b"x" * ((1 << 20) + 1)])
def test_passphrases_out_of_bounds_are_refused(passphrase: bytes) -> None:
    with pytest.raises(WeakKeyError):
        check_passphrase(passphrase)


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"x" * 33])
def test_keyring_secrets_of_another_size_are_refused(secret: bytes) -> None:
    with pytest.raises(WeakKeyError):
        check_secret(secret)


def test_a_wrapped_key_tells_a_wrong_key_from_a_changed_slot() -> None:
    master, slot_key = bytes(range(32)), bytes(32)
    wrapped = WrappedKey.wrap(master, slot_key, b"slot")
    assert wrapped.unwrap(slot_key, b"slot") == master
    with pytest.raises(WrongPassphraseError):
        wrapped.unwrap(b"\1" * 32, b"slot")
    with pytest.raises(TamperedError):
        wrapped.unwrap(slot_key, b"another slot")


def test_purposes_and_vaults_have_different_keys() -> None:
    master = MasterKey(bytes(32), VAULT_ID)
    other = MasterKey(bytes(32), "01" * 16)
    keys = {
        master.subkey("database"),
        master.subkey("snapshot"),
        other.subkey("database"),
        expand(bytes(32), "x"),
    }
    assert len(keys) == 4


def test_a_key_does_not_show_itself() -> None:
    master = MasterKey(b"K" * 32, VAULT_ID)
    wrapped = WrappedKey(b"N" * 12, b"W" * 48, b"C" * 32)
    assert "KKKK" not in repr(master)
    assert "WWWW" not in repr(wrapped)


@pytest.mark.parametrize(
    "passphrase",
    [
        b"\xff\xfe\x00\x80 bytes that are no text",
        "umlaut \u00e4 \U0001f600 \u202e reversed".encode(),
        b"x" * (1 << 20),
        b"\x00",
        b"  spaces kept  ",
    ],
    ids=["bytes", "unicode", "1 MiB", "a zero", "spaces"],
)
def test_a_hostile_passphrase_opens_what_it_was_given_for_and_its_neighbours_do_not(
    vaults: Vaults, passphrase: bytes
) -> None:
    vault = vaults.create()
    vault.add_passphrase("hostile", passphrase, kdf=KdfParameters.for_tests())
    vault.close()
    vaults.open(passphrase).close()
    for wrong in (
        passphrase[:-1],
        passphrase + b"\x00",
        passphrase.strip() + b"?",
        passphrase.swapcase() + b" ",
    ):
        with pytest.raises((WrongPassphraseError, WeakKeyError)) as refused:
            vaults.open(wrong)
        assert repr(wrong)[2:10] not in str(refused.value)
    vaults.open(passphrase).close()


@pytest.mark.slow
def test_too_little_memory_for_a_derivation_is_said() -> None:
    script = """
import resource
from agentkit_memory import KdfParameters, StoreError
from agentkit_memory.keys import derive
derive(b"x", bytes(16), KdfParameters.for_tests())
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
try:
    derive(b"x", bytes(16), KdfParameters(2 << 20, 3, 4))
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "deriving the key needs 2048 MiB of memory, more than there is\n"
