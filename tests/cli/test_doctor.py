"""`doctor`: it works with nothing set up, judges what it is told, and names a fix for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit import doctor
from agentkit.doctor import Check, State

OK_RECEIPT: dict[str, Any] = {"self_test": {"TCP": "EACCES"}, "namespaces": "own", "not_enforced": []}


@pytest.mark.slow
def test_it_works_with_no_models_and_a_core(core: Any, run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    core.vault = "absent"
    core.answers["probe_egress"] = {
        "core": {"TCP": "EACCES"},
        "sandbox": {"TCP": "EPERM"},
        "tier": "bubblewrap",
    }
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "none"))
    ended = run("doctor", "--json")
    said = json.loads(ended.out)
    by_name = {check["name"]: check for check in said["checks"]}
    assert {
        "python", "system", "core", "no way out", "namespaces", "sandbox", "tried just now",
        "vault", "engine", "keyring", "disk",
        "memory", "swap", "core dumps", "inotify", "llama.cpp", "graphics card",
        "model smollm2-135m", "model minilm-l6-v2",
    } <= by_name.keys()  # fmt: skip
    assert all(set(check) == {"name", "state", "text", "fix"} for check in said["checks"])
    assert by_name["vault"]["fix"] == "agentkit init"
    assert by_name["model smollm2-135m"] | {"text": ""} == {
        "name": "model smollm2-135m",
        "state": "fail",
        "text": "",
        "fix": "agentkit models pull smollm2-135m",
    }
    assert by_name["llama.cpp"]["state"] == "ok"
    assert ended.code == 1
    assert said["fail"] >= 2


def test_a_home_that_cannot_be_made_is_a_failure_among_the_other_checks(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_HOME", "/proc/none")
    checks = json.loads(run("doctor", "--json").out)["checks"]
    by_name = {check["name"]: check for check in checks}
    assert by_name["core"]["state"] == "fail"
    assert "AGENTKIT_HOME" in by_name["core"]["fix"]
    assert {"disk", "memory", "swap"} <= by_name.keys()


def test_without_a_failure_the_exit_code_is_0(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("one", State.OK, "fine"), Check("two", State.WARN, "less", "type this")]
    monkeypatch.setattr(doctor, "examine", lambda home: iter(checks))
    ended = run("doctor")
    assert ended.code == 0
    assert ended.out == "ok    one: fine\nwarn  two: less\n      fix: type this\n"
    checks.append(Check("three", State.FAIL, "gone", "type that"))
    assert run("doctor").code == 1


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({}, "no way out", State.OK),
        ({"self_test": {}}, "no way out", State.WARN),
        ({"namespaces": "shared with the system (EPERM)"}, "namespaces", State.WARN),
        ({"not_enforced": ["Landlock is not in this kernel"]}, "not enforced", State.WARN),
    ],
)
def test_what_the_receipt_lacks_is_a_warning(change: dict[str, Any], name: str, state: State) -> None:
    checks = {check.name: check for check in doctor.egress_checks({**OK_RECEIPT, **change})}
    assert checks[name].state is state
    assert bool(checks[name].fix) is (state is not State.OK)


@pytest.mark.parametrize(
    ("tier", "state"), [("bubblewrap", State.OK), ("landlock", State.WARN), ("none", State.WARN)]
)
def test_the_sandbox_is_judged_by_its_tier(tier: str, state: State) -> None:
    check = doctor.sandbox_check({"tier": tier, "reason": "because"})
    assert check.state is state
    assert (check.fix == "install bubblewrap") is (state is not State.OK)


def test_key_slots_are_listed_and_a_vault_nobody_opens_is_a_failure() -> None:
    locked = {"state": "locked", "format": 1, "slots": [{"name": "passphrase", "kind": "passphrase"}]}
    vault, slots = doctor.vault_checks(locked)
    assert (vault.text, slots.text) == ("locked, format 1", "passphrase (passphrase)")
    _, slots = doctor.vault_checks({**locked, "slots": []})
    assert slots.state is State.FAIL


def test_an_engine_that_fell_back_is_a_warning() -> None:
    assert doctor.engine_check(None).state is State.OK
    loaded = {"context_tokens": 4096, "fallback": None, "worker_pid": 7}
    assert doctor.engine_check({"m": loaded}).state is State.OK
    assert doctor.engine_check({"m": {**loaded, "fallback": "it crashed"}}).state is State.WARN
    assert (
        doctor.engine_check({"m": {"name": "m", "fallback": None, "worker_pid": None}}).text
        == "m, not loaded"
    )


def test_unencrypted_swap_is_a_warning() -> None:
    heads = "Filename Type Size Used Priority\n"
    assert doctor._swap(heads).state is State.OK
    assert doctor._swap(heads + "/dev/zram0 partition 1 0 -1\n").state is State.OK
    assert doctor._swap(heads + "/swapfile file 1 0 -1\n").state is State.WARN


def test_too_few_watches_are_a_warning(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_watches"
    assert doctor._inotify(limit).state is State.OK
    limit.write_text("8192\n")
    assert doctor._inotify(limit).state is State.WARN
    limit.write_text("524288\n")
    assert doctor._inotify(limit).state is State.OK


CPU = {"name": "CPU", "description": "a processor", "kind": "processor", "free_bytes": 0, "total_bytes": 0}
CARD = {
    "name": "CUDA0", "description": "Card 4090", "kind": "card", "free_bytes": 20 * 10**9, "total_bytes": 24 * 10**9,
}  # fmt: skip


@pytest.mark.parametrize(
    ("offloads", "devices", "nodes", "state", "text"),
    [
        (False, [CPU], [], State.OK, "none"),
        (False, [CPU], ["nvidia0"], State.WARN, "nvidia0 is there, but this build"),
        (True, [CPU], [], State.WARN, "sees none"),
        (True, [CPU, CARD], ["nvidia0"], State.OK, "0: CUDA0, Card 4090, 20.0 of 24.0 GB free"),
    ],
)
def test_a_card_that_is_not_used_is_a_warning(
    offloads: bool, devices: list[dict[str, Any]], nodes: list[str], state: State, text: str
) -> None:
    check = doctor.card_check({"offloads": offloads, "devices": devices}, nodes)
    assert check.state is state
    assert text in check.text
    assert bool(check.fix) is (state is not State.OK)


@pytest.mark.parametrize(
    ("features", "flags", "state"),
    [
        (["AVX2", "AVX512"], {"avx2", "avx512f"}, State.OK),
        (["SSE3"], {"avx2"}, State.WARN),
        (["AVX2", "AMX_INT8"], {"avx2", "amx_tile"}, State.WARN),
        (None, {"avx2"}, State.FAIL),
    ],
)
def test_a_build_that_does_not_fit_the_processor_is_named(
    features: list[str] | None, flags: set[str], state: State
) -> None:
    build = {"version": "1", "offloads": False, "features": features, "devices": [CPU]}
    check = next(doctor.build_checks(None if features is None else build, flags))
    assert check.state is state
    assert bool(check.fix) is (state is not State.OK)
