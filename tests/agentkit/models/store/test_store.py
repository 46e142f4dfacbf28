"""The model store: complete or absent, under its hash, and nobody else's files touched."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit.errors import (
    ConfigError,
    HashMismatchError,
    LimitError,
    ModelError,
    ModelMissingError,
    ModelRefusedError,
    NotFoundError,
)
from agentkit.models.catalogue import CATALOGUE
from agentkit.models.describe import describe
from agentkit.models.formats.choose import fingerprint
from agentkit.models.levers import Levers
from agentkit.models.manifest import StoredModel, check_file_name, name_for
from agentkit.models.progress import Meter, Progress
from agentkit.models.store import ModelStore, Transfer
from agentkit.spawn import LocalSpawner

if TYPE_CHECKING:
    from tests.agentkit.models.gguf_writer import GGUFWriter


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", clock=lambda: 1_700_000_000.0)


@pytest.fixture
def original(tmp_path: Path, gguf_bytes: bytes) -> Path:
    path = tmp_path / "Tiny Model.Q4_0.GGUF"
    path.write_bytes(gguf_bytes)
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_an_empty_store_is_empty_and_stays_uncreated(store: ModelStore) -> None:
    assert store.entries() == []
    with pytest.raises(ModelMissingError, match="not in the store") as caught:
        store.get("smollm2-135m")
    assert caught.value.hint == "type: agentkit models pull smollm2-135m"
    assert not store.folder.exists()


@pytest.mark.parametrize("transfer", ["copy", "link", "move"])
def test_what_is_imported_is_found_again(store: ModelStore, original: Path, transfer: Transfer) -> None:
    raw = original.read_bytes()
    model = store.import_file(original, transfer=transfer)
    assert model == store.get("tiny-model.q4_0") == store.verify("tiny-model.q4_0")
    assert store.entries() == [model]
    assert model.path.read_bytes() == raw
    assert (model.kind, model.size, model.context_tokens, model.licence) == ("chat", len(raw), 512, "cc0-1.0")
    assert model.sha256 == hashlib.sha256(raw).hexdigest()
    assert (model.checked, model.added, model.source) == ("nothing", 1_700_000_000.0, f"file:{original.name}")
    assert original.exists() == (transfer != "move")
    assert model.path.stat().st_nlink == (2 if transfer == "link" else 1)


def test_everything_in_it_is_private_but_a_shared_file_keeps_its_rights(
    store: ModelStore, original: Path
) -> None:
    copied = store.import_file(original, "copied", transfer="copy")
    linked = store.import_file(original, "linked", transfer="link")
    moved = store.import_file(original, "moved", transfer="move")
    assert mode(copied.path) == 0o600
    assert mode(linked.path) == mode(moved.path)  # the same file: linked keeps it shared
    for folder in (store.folder, copied.path.parent, store.folder / ".staging"):
        assert mode(folder) == 0o700
    assert mode(copied.path.parent / "manifest.json") == 0o600
    assert list((store.folder / ".staging").iterdir()) == []


def test_a_linked_file_keeps_the_rights_its_owner_gave(store: ModelStore, original: Path) -> None:
    store.import_file(original, "linked", transfer="link")
    assert mode(original) == 0o644


def test_a_given_hash_is_checked(store: ModelStore, original: Path) -> None:
    right = hashlib.sha256(original.read_bytes()).hexdigest()
    with pytest.raises(HashMismatchError, match="instead of"):
        store.import_file(original, "tiny", sha256="0" * 64)
    assert store.entries() == []
    assert store.import_file(original, "tiny", sha256=right).checked == "given"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\0b", "x" * 81, "-flag", "a\\b", "ü"])
def test_names_that_could_leave_the_store_are_refused(store: ModelStore, original: Path, name: str) -> None:
    for use in (store.get, store.verify, store.remove, lambda n: store.import_file(original, n)):
        with pytest.raises(ConfigError, match="no model name"):
            use(name)


@pytest.mark.parametrize("file", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\\b", "./a", "x" * 300])
def test_file_names_that_could_leave_the_model_are_refused(file: str) -> None:
    with pytest.raises(ValueError, match="no file of a model"):
        check_file_name(file)


def test_a_name_is_made_from_a_file_name() -> None:
    assert name_for("Qwen2.5 0.5B_Instruct (Q8).gguf") == "qwen2.5-0.5b_instruct-q8"
    assert name_for("...gguf") == name_for("") == "model"


def test_malformed_files_never_enter(store: ModelStore, original: Path, gguf_bytes: bytes) -> None:
    original.write_bytes(gguf_bytes[:-1])
    with pytest.raises(ModelRefusedError, match="truncated"):
        store.import_file(original, "tiny")
    original.write_bytes(b"")
    with pytest.raises(ModelRefusedError, match="empty"):
        store.import_file(original, "tiny", transfer="move")
    assert original.exists()
    assert store.entries() == []


@pytest.mark.parametrize(("key", "value", "words"), [
    ("general.type", "adapter", "adapter, not a model"),
    ("split.count", 2, "one of 2 parts"),
])  # fmt: skip
def test_what_cannot_run_alone_never_enters(
    store: ModelStore, original: Path, gguf: GGUFWriter, key: str, value: str | int, words: str
) -> None:
    raw = (gguf.text(key, value) if isinstance(value, str) else gguf.u32(key, value)).file()
    original.write_bytes(raw)
    with pytest.raises(ModelRefusedError, match=words):
        store.import_file(original, "tiny")


def test_a_link_is_followed_and_what_is_no_file_refused(
    store: ModelStore, original: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(original)
    assert not store.import_file(link, "tiny").path.is_symlink()
    (tmp_path / "dangling.gguf").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(NotFoundError):
        store.import_file(tmp_path / "dangling.gguf")
    with pytest.raises(ModelError, match="not a regular file"):
        store.import_file(tmp_path / "pipe.gguf")
    with pytest.raises(ModelError, match="a folder"):
        store.import_file(tmp_path, "tiny2")


def test_a_taken_name_is_not_overwritten(store: ModelStore, original: Path, gguf: GGUFWriter) -> None:
    before = store.import_file(original, "tiny", transfer="copy")
    assert store.import_file(original, "tiny", transfer="copy") == before  # the same again is no conflict
    original.write_bytes(gguf.u32("more", 1).file())
    with pytest.raises(ConfigError, match="already is another model tiny"):
        store.import_file(original, "tiny", transfer="copy")
    assert store.verify("tiny") == before


def test_a_catalogue_name_takes_only_what_the_catalogue_names(store: ModelStore, original: Path) -> None:
    with pytest.raises(HashMismatchError):
        store.import_file(original, "smollm2-135m")
    with pytest.raises(ConfigError, match="10 files"):
        store.import_file(original, "minilm-l6-v2")
    assert store.entries() == []


@pytest.mark.model
@pytest.mark.slow
def test_the_default_models_can_be_brought_in_without_a_network(
    store: ModelStore, smollm2_path: Path, minilm_path: Path
) -> None:
    chat = store.import_file(smollm2_path, "smollm2-135m")
    embedding = store.import_file(minilm_path, "minilm-l6-v2")
    assert chat.files == CATALOGUE["smollm2-135m"].files
    assert embedding.path.joinpath("1_Pooling/config.json").is_file()
    assert (chat.checked, embedding.checked, embedding.kind) == ("catalogue", "catalogue", "embedding")
    assert store.verify("minilm-l6-v2") == embedding


@pytest.mark.parametrize("where", [0, -1])
def test_verify_finds_a_changed_byte_of_the_same_size(store: ModelStore, original: Path, where: int) -> None:
    model = store.import_file(original, "tiny", transfer="copy")
    raw = bytearray(model.path.read_bytes())
    raw[where] ^= 1
    model.path.write_bytes(raw)
    assert store.get("tiny") == model  # `get` does not read the file
    with pytest.raises(ModelRefusedError, match="is not what came in"):
        store.verify("tiny")
    assert model.path.exists()


def test_a_cut_or_missing_file_is_seen_at_once(store: ModelStore, original: Path) -> None:
    model = store.import_file(original, "tiny", transfer="copy")
    os.truncate(model.path, 100)
    with pytest.raises(ModelError, match=f"100 bytes instead of {model.size}"):
        store.get("tiny")
    model.path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        store.get("tiny")


def test_a_folder_without_manifest_is_no_model(store: ModelStore, original: Path) -> None:
    half = store.folder / "half"
    half.mkdir(parents=True)
    (half / "weights.gguf").write_bytes(b"GGUF")
    assert store.entries() == []
    with pytest.raises(ModelMissingError):
        store.get("half")
    assert store.import_file(original, "half").path.parent == half  # and is in nobody's way
    assert not (half / "weights.gguf").exists()


def damage(field: str, value: object) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        fields = json.loads(raw)
        fields[field] = value
        return json.dumps(fields).encode()

    return change


@pytest.mark.parametrize("change", [
    lambda raw: b"",
    lambda raw: raw[: len(raw) // 2],
    lambda raw: b"[" * 100_000,
    lambda raw: b"\xff" + raw,
    lambda raw: b" " * (2 << 20),
    lambda raw: b"[]",
    damage("name", "other"),
    damage("format", 2),
    damage("kind", "script"),
    damage("files", []),
    damage("files", [{"name": "../../x", "size_bytes": 1, "sha256": "0" * 64}]),
    damage("files", [{"name": "x", "size_bytes": -1, "sha256": "0" * 64}]),
    damage("files", [{"name": "x", "size_bytes": 1, "sha256": "short"}]),
    damage("context_tokens", "many"),
])  # fmt: skip
def test_a_damaged_manifest_is_an_error_and_hides_no_other_model(
    store: ModelStore, original: Path, change: Callable[[bytes], bytes]
) -> None:
    good = store.import_file(original, "good", transfer="copy")
    bad = store.import_file(original, "bad", transfer="copy")
    manifest = bad.path.with_name("manifest.json")
    manifest.write_bytes(change(manifest.read_bytes()))
    with pytest.raises(ModelError, match=r"model bad: its manifest is damaged") as caught:
        store.get("bad")
    assert caught.value.hint is not None
    assert "models rm bad" in caught.value.hint
    assert store.entries() == [good]
    store.remove("bad")
    assert not bad.path.exists()


def test_remove_takes_the_model_and_says_how_much(store: ModelStore, original: Path) -> None:
    model = store.import_file(original, "tiny", transfer="copy")
    assert store.remove("tiny") >= model.size
    assert not model.path.parent.exists()
    with pytest.raises(ModelMissingError):
        store.remove("tiny")
    with pytest.raises(ModelMissingError, match="smolm2-135m") as caught:
        store.remove("smolm2-135m")
    assert caught.value.hint == "did you mean smollm2-135m?"


def test_removing_a_linked_folder_leaves_what_it_points_to(
    store: ModelStore, original: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").write_bytes(b"x")
    store.folder.mkdir()
    (store.folder / "link").symlink_to(elsewhere)
    store.remove("link")
    assert (elsewhere / "keep").exists()
    assert not (store.folder / "link").exists()


def test_describe_says_all_of_it_as_json(store: ModelStore, original: Path) -> None:
    said = describe(store.import_file(original, "tiny"), LocalSpawner(), Levers(1, context_tokens=64))
    assert json.loads(json.dumps(said)) == said
    assert said["gguf"]["architecture"] == "llama"
    assert said["gguf"]["chat_template"] == "{{ messages }}"
    assert said["tool_calls"]["format"] == "generic"
    assert said["tool_calls"]["fingerprint"] == fingerprint("{{ messages }}")
    assert said["files"][0]["sha256"] == said["sha256"]
    assert said["memory"]["context_tokens"] == 64


def test_progress_reaches_the_end(store: ModelStore, original: Path) -> None:
    reports: list[Progress] = []
    model = store.import_file(original, "tiny", transfer="copy", on_progress=reports.append)
    store.verify("tiny", reports.append)
    assert {report.step for report in reports} == {"copy", "check"}
    assert all(report.done == report.total == model.size for report in reports)


def test_a_meter_tells_the_speed_of_the_last_seconds() -> None:
    now = 0.0
    meter = Meter(clock=lambda: now)
    assert meter.due(0)
    assert not meter.due(10)
    assert meter.speed is None
    for second in range(1, 20):
        now = float(second)
        assert meter.due(second * (100 if second < 10 else 200))
    assert meter.speed == pytest.approx(200, rel=0.01)
    assert Progress("copy", "x", 50, 250, 100.0).seconds_left == 2.0
    assert Progress("copy", "x", 50, None, 100.0).seconds_left is None


IMPORT = """
import resource, sys
from pathlib import Path
from agentkit.errors import AgentkitError
from agentkit.models.store import ModelStore
if sys.argv[3] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    ModelStore(Path(sys.argv[1])).import_file(Path(sys.argv[2]), "tiny", transfer="copy")
except AgentkitError as error:
    print(type(error).__name__, error)
"""


def run_import(store: ModelStore, original: Path, limit: int, *before: str) -> str:
    command = [*before, sys.executable, "-c", IMPORT, str(store.folder), str(original), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_a_limit_and_leaves_nothing(store: ModelStore, original: Path) -> None:
    assert run_import(store, original, 3000).startswith("LimitError")
    assert store.entries() == []
    assert list((store.folder / ".staging").iterdir()) == []


@pytest.mark.slow
def test_a_small_disk_is_seen_before_anything_is_written(store: ModelStore, original: Path) -> None:
    store.folder.mkdir()
    mount = f'mount -t tmpfs -o size=1m none "{store.folder}" && exec "$@"'
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*shell, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount here: allow user namespaces")
    assert "the disk has" in run_import(store, original, 0, *shell)


KILLED = """
import os, signal, sys
from pathlib import Path
from agentkit.models.store import ModelStore
def die(report):
    os.kill(os.getpid(), signal.SIGKILL)
ModelStore(Path(sys.argv[1])).import_file(Path(sys.argv[2]), "tiny", transfer="copy", on_progress=die)
"""


@pytest.mark.slow
def test_what_a_killed_import_left_is_swept_by_the_next(store: ModelStore, original: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.folder), str(original)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.entries() == []
    assert len(list((store.folder / ".staging").iterdir())) == 1
    with store.staging():  # one that is in use is left alone
        model: StoredModel = store.import_file(original, "tiny", transfer="copy")
        assert len(list((store.folder / ".staging").iterdir())) == 1
    assert store.verify("tiny") == model


def test_an_unwritable_store_is_an_error_with_a_hint(tmp_path: Path, original: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere: run as an ordinary user")
    (tmp_path / "models").mkdir(mode=0o500)
    with pytest.raises(ModelError, match="permission denied") as caught:
        ModelStore(tmp_path / "models").import_file(original, "tiny")
    assert caught.value.hint


def test_a_full_disk_error_names_no_other(
    store: ModelStore, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.models.disk.SPARE_BYTES", 1 << 62)
    with pytest.raises(LimitError, match="to spare"):
        store.import_file(original, "tiny", transfer="copy")
    assert store.entries() == []
