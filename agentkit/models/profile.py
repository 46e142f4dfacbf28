"""The profile of a model: how it is run here, as tuning found or the user chose, kept beside its manifest.

    models/NAME/profile.json    {"format": 1, "profiles": {KEY: {…}}}

A profile belongs to one file of weights, one processor and one build of llama.cpp (`profile_key`): anything else has
none, and the model runs as it came. It is read like a file that a stranger may have changed: bounded, checked field
by field, and what is wrong with it makes it absent.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError
from agentkit.models.adapters import Adapter
from agentkit.models.cache_levers import check_heads
from agentkit.models.catalogue import AGENT, shipped_adapter
from agentkit.models.gguf import read_header
from agentkit.models.gpu import read_gpu
from agentkit.models.levers import Levers, check_levers
from agentkit.models.manifest import StoredModel
from agentkit.models.probe import library_key, processor
from agentkit.models.store import ModelStore
from agentkit.models.threads import default_threads

PROFILE = "profile.json"
_FORMAT = 1
_MAX_BYTES = 1 << 20
_MAX_PROFILES = 64


@dataclass(frozen=True, slots=True)
class Profile:
    """How a model is run here."""

    levers: Levers
    variant: str | None
    """Name of the stored variant to run instead; `None`: the file as it came."""
    variant_sha256: str | None
    perplexity_change: float
    """Relative to the file as it came: 0.01 is one per cent worse."""
    before: tuple[float, float]
    """Tokens a second as it came: prefill, generate."""
    after: tuple[float, float]


def profile_key(model: StoredModel) -> str:
    """Return what stands for the weights, the processor and the build of llama.cpp."""
    parts = [model.sha256, processor(), library_key()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def read_profile(store: ModelStore, model: StoredModel) -> Profile | None:
    """Return the profile of a stored model here; `None` where there is none that can be used.

    Where its variant is gone, or has another hash, what tuning found is gone with it; what the user chose stays.
    """
    profile = _profile(_read(store.folder / model.name / PROFILE).get(profile_key(model)))
    if profile is None or profile.variant is None:
        return profile
    variant = (profile.variant, profile.variant_sha256)
    is_there = any((each.name, each.sha256) == variant for each in store.entries())
    return profile if is_there else _chosen(profile.levers)


def write_profile(store: ModelStore, model: StoredModel, profile: Profile) -> Path:
    """Write the profile of a stored model beside its manifest, whole or not at all; return where."""
    return _write(store, model, profile)


def _write(store: ModelStore, model: StoredModel, profile: Profile | None) -> Path:
    """Write the profile of a model beside those of other machines; `None`: take the one that is there away."""
    path = store.folder / model.name / PROFILE
    profiles = _read(path)
    profiles.pop(profile_key(model), None)
    kept = dict(list(profiles.items())[-(_MAX_PROFILES - 1) :])
    if profile is not None:
        kept[profile_key(model)] = asdict(profile)
    if not kept:
        path.unlink(missing_ok=True)
        return path
    draft = path.with_name(f".{PROFILE}.{os.getpid()}")
    try:
        draft.write_text(json.dumps({"format": _FORMAT, "profiles": kept}, indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def as_tuned(store: ModelStore, name: str, *, untuned: bool = False) -> tuple[Path, dict[str, Any]]:
    """Return which file to run for a stored model, and what to hand to `Engine` with it.

    Args:
        store: Holds the model.
        name: Of the model.
        untuned: Leave its profile aside.

    Raises:
        ModelMissingError: It is not in the store.
    """
    model = store.get(name)
    profile = None if untuned or model.path.suffix != ".gguf" else read_profile(store, model)
    runs = model if profile is None or profile.variant is None else store.get(profile.variant)
    options: dict[str, Any] = {"sha256": runs.sha256}
    if shipped := shipped_adapter(*runs.origin):
        options["adapters"] = {AGENT: Adapter(shipped.path, shipped.sha256)}
    if profile is not None:
        options |= {each.name: getattr(profile.levers, each.name) for each in fields(Levers)}
    return runs.path, options


def levers_of(store: ModelStore, model: StoredModel) -> Levers:
    """Return how a stored model is run here.

    Raises:
        ConfigError: It is no GGUF file.
    """
    if model.path.suffix != ".gguf":
        raise ConfigError(f"model {model.name} is no GGUF file, and has no levers")
    profile = read_profile(store, model)
    return Levers(default_threads()) if profile is None else profile.levers


def set_levers(store: ModelStore, model: StoredModel, **changes: Any) -> Levers:
    """Change how a stored model is run here; return how it is run now.

    Args:
        store: Holds the model.
        model: In a GGUF file.
        **changes: Fields of `Levers`; the others stay as they are.

    Raises:
        ConfigError: A value is out of its range, does not go with another, or not with this model.
    """
    kept = levers_of(store, model)
    levers, header = replace(kept, **changes), read_header(model.path)
    check_levers(levers)
    check_heads(header, levers.k_type, levers.v_type)
    trained, wanted = header.context_length, levers.context_tokens
    if trained and wanted and wanted > trained:
        raise ConfigError(
            f"a context of {wanted} tokens is outside what the model was trained for (1 to {trained})",
            hint=f"--context {trained}",
        )
    if levers != kept:
        profile = read_profile(store, model) or _of_file(levers)
        write_profile(store, model, replace(profile, levers=levers))
    return levers


def untuned(levers: Levers) -> Levers:
    """Return levers without what tuning finds: what costs quality, or is not about speed, stays as it is."""
    plain = Levers(default_threads())
    return replace(
        levers,
        threads=plain.threads,
        flash_attention=plain.flash_attention,
        repack=plain.repack,
        batch_tokens=plain.batch_tokens,
    )


def forget_tuning(store: ModelStore, model: StoredModel) -> Levers:
    """Run the file of a stored model as if it had never been tuned here; return how it is run now.

    Levers that tuning does not look for stay as they were set.
    """
    profile = _profile(_read(store.folder / model.name / PROFILE).get(profile_key(model)))
    kept = None if profile is None else _chosen(profile.levers)
    _write(store, model, kept)
    return Levers(default_threads()) if kept is None else kept.levers


def _chosen(levers: Levers) -> Profile | None:
    """Return the profile of levers that the user chose, without what tuning found; `None` where nothing is left."""
    levers = untuned(levers)
    return None if levers == Levers(default_threads()) else _of_file(levers)


def _of_file(levers: Levers) -> Profile:
    """Return the profile of a file as it came, run with these levers."""
    return Profile(levers, None, None, 0.0, (0.0, 0.0), (0.0, 0.0))


def forget_profile(store: ModelStore, model: StoredModel) -> None:
    """Run the model as it came again, on every machine that shares the store."""
    (store.folder / model.name / PROFILE).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        said = json.loads(raw) if len(raw) <= _MAX_BYTES else {}
        profiles = said["profiles"] if said["format"] == _FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return profiles if isinstance(profiles, dict) else {}


def _profile(raw: object) -> Profile | None:
    if not isinstance(raw, dict):
        return None
    try:
        return Profile(
            _levers(raw["levers"]),
            None if raw["variant"] is None else str(raw["variant"]),
            None if raw["variant_sha256"] is None else str(raw["variant_sha256"]),
            float(raw["perplexity_change"]),
            (float(raw["before"][0]), float(raw["before"][1])),
            (float(raw["after"][0]), float(raw["after"][1])),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ConfigError):
        return None


def _levers(raw: dict[str, Any]) -> Levers:
    """Read levers; what an older release did not write is as it is by default."""
    known = {each.name for each in fields(Levers)}
    values = {name: value for name, value in raw.items() if name in known}
    levers = Levers(**{**values, "gpu": read_gpu(values.get("gpu", {}))})
    if not isinstance(levers.flash_attention, bool) or not isinstance(levers.repack, bool):
        raise TypeError("a switch is on or off")
    check_levers(levers)
    return levers
