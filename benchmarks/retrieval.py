"""Measure what search finds on SciFact, each arm alone and fused, and how long a hybrid query takes.

`python -m benchmarks.retrieval [--quick]` prints a table, then one flat JSON object. SciFact is read from
`AGENTKIT_DATA`, or `../shared/data`; without it, or without the embedding model, the figures that need them are null.
The time of a query is measured with the same settings over 100,000 texts of 1 KB (`--quick`: 10,000, and the figure is
null); then with filters that few, some and most records pass, with diversity, and with the neighbours of each hit. The
time it takes to embed the question is not in these figures: `embed_p95_ms` is, with the light embedder.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkit.paths import Home
from agentkit_memory import Filter, HashEmbedder, KdfParameters, MiniLMEmbedder, NewRecord, Vault
from benchmarks._data import data_folder
from benchmarks.memory import make_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentkit_memory import Embedder

DATA = data_folder() / "scifact"
DEPTH = 10
KEYS = (
    "scifact_hybrid_ndcg10",
    "scifact_bm25_ndcg10",
    "scifact_dense_ndcg10",
    "query_p95_ms",
    "query_p95_ms_10k",
    "scifact_query_p95_ms",
    "embed_p95_ms",
)


def ndcg(ranked: list[str], relevant: dict[str, int]) -> float:
    """Return the normalised discounted cumulative gain of the first ten."""
    gain = sum(relevant.get(each, 0) / math.log2(rank + 2) for rank, each in enumerate(ranked[:DEPTH]))
    ideal = sum(
        value / math.log2(rank + 2)
        for rank, value in enumerate(sorted(relevant.values(), reverse=True)[:DEPTH])
    )
    return gain / ideal if ideal else 0.0


def bulk(folder: Path) -> Embedder:
    """Return the quick embedder for many texts, or the light one where torch is not there."""
    try:
        from agentkit_memory import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(folder)
    except ImportError:
        return MiniLMEmbedder(folder)


def scifact(model: Path, folder: Path) -> dict[str, float]:
    """Return nDCG@10 of both arms and of their fusion over the test questions."""
    documents = [json.loads(line) for line in (DATA / "corpus.jsonl").read_text().splitlines()]
    questions = {
        str(each["_id"]): str(each["text"])
        for each in map(json.loads, (DATA / "queries.test.jsonl").read_text().splitlines())
    }
    relevant: dict[str, dict[str, int]] = {}
    for line in (DATA / "qrels.test.tsv").read_text().splitlines():
        question, document, value = line.split("\t")[:3]
        if value.isdecimal():
            relevant.setdefault(question, {})[document] = int(value)
    light = MiniLMEmbedder(model)
    texts = [f"{each.get('title', '')}. {each['text']}" for each in documents]
    vectors = bulk(model).embed(texts)
    vault = Vault.create(
        folder,
        passphrase=b"benchmark",
        embedder=light.name,
        dimensions=light.dimensions,
        kdf=KdfParameters.floor(),
    )
    records = [
        NewRecord(str(each["text"]), title=str(each.get("title", "")), source=str(each["_id"]))
        for each in documents
    ]
    vault.add(records, vectors)
    asked = {number: light.embed([text])[0] for number, text in questions.items() if number in relevant}

    def run(weight: float | None) -> float:
        total = 0.0
        for number, vector in asked.items():
            if weight is None:
                hits = vault.search(questions[number], None, k=DEPTH)
            else:
                hits = vault.search(questions[number] if weight else "", vector, k=DEPTH, **options(weight))
            total += ndcg([hit.record.source for hit in hits], relevant[number])
        return total / len(asked)

    said = {
        "scifact_bm25_ndcg10": run(None),
        "scifact_dense_ndcg10": run(0.0),
        "scifact_hybrid_ndcg10": run(0.5),
        "scifact_query_p95_ms": p95(
            lambda number: vault.search(questions[number], asked[number], k=DEPTH), list(asked)
        ),
        "embed_p95_ms": p95(lambda number: light.embed([questions[number]]), list(asked)[:100]),
    }
    vault.close()
    return said


def options(weight: float) -> dict[str, Any]:
    """Return the search options for a share of BM25; the default is the configuration everything is measured with."""
    return {} if weight == 0.5 else {"lexical_weight": weight}


def p95(ask: Callable[[Any], object], questions: list[Any]) -> float:
    """Return the 95th percentile of the milliseconds `ask` takes."""
    took = []
    for question in questions:
        started = time.perf_counter()
        ask(question)
        took.append((time.perf_counter() - started) * 1000)
    return float(np.percentile(took, 95))


def large(number: int, folder: Path, questions: list[str]) -> float:
    """Return the p95 of hybrid queries in milliseconds over `number` texts of 1 KB."""
    import random

    chosen, chance = random.Random(number), np.random.default_rng(number)
    embedder = HashEmbedder(384)
    vault = Vault.create(
        folder, passphrase=b"benchmark", embedder=embedder.name, dimensions=384, kdf=KdfParameters.floor()
    )
    # Questions are real sentences; their words are mixed into the texts, so that every one of them is common.
    words = sorted({word for question in questions for word in question.lower().split()})
    for start in range(0, number, 2000):
        texts = make_texts(2000, chosen)
        texts = [f"{' '.join(chosen.sample(words, 40))} {text}"[:1024] for text in texts]
        vectors = np.asarray(chance.normal(size=(len(texts), 384)), np.float32)
        records = [
            NewRecord(
                text,
                source=f"/notes/{place // 20 % 5}/{place // 20}.md",
                kind=_kind(place),
                position=place % 20,
            )
            for place, text in enumerate(texts, start)
        ]
        vault.add(records, vectors)
        print(f"  {start + 2000} of {number} texts", end="\r", file=sys.stderr)
    vault.warm(wait=True)
    vault.search(questions[0], embedder.embed([questions[0]])[0], k=DEPTH)

    def ask(**options: Any) -> float:
        return p95(
            lambda text: vault.search(text, embedder.embed([text])[0], k=DEPTH, **options), questions[:200]
        )

    def with_neighbours(text: str) -> None:
        for hit in vault.search(text, embedder.embed([text])[0], k=DEPTH):
            vault.neighbours(hit.record.id)

    taken = ask()
    ways = {
        "as it is": taken,
        "words alone": p95(lambda text: vault.search(text, None, k=DEPTH), questions[:200]),
        "filter, 1 in 100 pass": ask(where=Filter(kinds=("round",))),
        "filter, 1 in 5 pass": ask(where=Filter(under="/notes/1")),
        "filter, 99 in 100 pass": ask(where=Filter(kinds=("document",))),
        "diversity": ask(diversity=0.3),
        "with neighbours": p95(with_neighbours, questions[:200]),
    }
    for way, milliseconds in ways.items():
        print(f"{number:>7} texts, {way:<22} p95 {milliseconds:6.1f} ms", flush=True)
    vault.close()
    return taken


def _kind(place: int) -> str:
    return "round" if place % 100 == 7 else "document"


def main() -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="10,000 texts for the time of a query; under 5 minutes"
    )
    quick = parser.parse_args().quick
    said: dict[str, float | None] = dict.fromkeys(KEYS)
    model = Home.default().models / "minilm-l6-v2"
    questions = ["how long does the battery of the old boat last when the sun does not shine"]
    with tempfile.TemporaryDirectory() as name:
        if DATA.is_dir() and (model / "model.safetensors").is_file():
            said |= scifact(model, Path(name) / "scifact")
            questions = [
                json.loads(line)["text"] for line in (DATA / "queries.test.jsonl").read_text().splitlines()
            ]
        else:
            print("SciFact or the embedding model is not there: its figures are null")
        said["query_p95_ms_10k"] = large(10_000, Path(name) / "small", questions)
        if not quick:
            said["query_p95_ms"] = large(100_000, Path(name) / "large", questions)
    for key, value in said.items():
        print(f"{key:<26} {'-' if value is None else f'{value:.4f}'}")
    print(json.dumps({key: None if value is None else round(value, 4) for key, value in said.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
