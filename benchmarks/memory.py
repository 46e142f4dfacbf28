"""Measure the encrypted memory beside a plain `chromadb.PersistentClient`, in the same run, and attack it.

`python -m benchmarks.memory [--quick]` prints a table, then one flat JSON object. Ratios are ours to Chroma's, higher
is better; `disk_ratio` is the whole folder, once the index is sealed in it, to the raw texts and vectors,
`database_ratio` the database alone. Both sides get the same texts of 1 KB, ids and vectors (384 dimensions, clustered),
in the same batches; ours are committed and encrypted, words and all, when `add` returns (`add_durable_ratio`); the
vector index is built afterwards in the background, and `add_ratio` counts that time too, since Chroma builds its own
while adding. Queries ask both for the ten nearest, with their texts; `query_p95_ms` are hybrid ones. `rss_mb` and
`chroma_rss_mb` are of a fresh process that holds the store open and has answered.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkit_memory import KdfParameters, NewRecord, Vault
from tests.attacks import vault_battery as battery

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS = 384
BATCH = 1000
TEXT_BYTES = 1024
QUERIES = 200
K = 10
PASSPHRASE = b"benchmark passphrase"
KEYS = (
    "add_ratio",
    "query_ratio",
    "open_100k_seconds",
    "open_ratio",
    "recall_at_10",
    "disk_ratio",
    "database_ratio",
    "attacks_tried",
    "attacks_undetected",
    "kills",
    "kills_lost",
    "add_durable_ratio",
    "ready_seconds",
    "query_p95_ms",
    "chroma_rss_mb",
    "add_ratio_10k",
    "query_ratio_10k",
    "change_passphrase_extra_ms",
    "rss_mb",
)


OPEN_OURS = """
import sys
from pathlib import Path
from agentkit_memory import Vault
vault = Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2].encode(), index_folder=Path(sys.argv[3]))
vault.warm(wait=True)
import numpy as np
vault.search("the river", np.full(384, 0.05, np.float32), k=10)
"""
OPEN_CHROMA = """
import sys
import chromadb
collection = chromadb.PersistentClient(sys.argv[1]).get_collection("plain", embedding_function=None)
collection.query(query_embeddings=[[0.05] * 384], n_results=10)
"""
SAY_RESIDENT = """
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) / 1024)
"""


def resident(opening: str, *arguments: str) -> float:
    """Return the memory in MB of a fresh process that has opened a store."""
    command = [sys.executable, "-c", opening + SAY_RESIDENT, *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(said.stdout.split()[-1])


def make_texts(number: int, chosen: random.Random) -> list[str]:
    """Return texts of one kilobyte in words of a made-up vocabulary, frequent ones more often."""
    words = [
        "".join(chosen.choice("abcdefghijklmnoprstuvw") for _ in range(chosen.randint(3, 9)))
        for _ in range(20_000)
    ]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    pool = chosen.choices(words, weights, k=200_000)
    texts = []
    for _ in range(number):
        start = chosen.randrange(len(pool) - 200)
        texts.append(" ".join(pool[start : start + 200])[:TEXT_BYTES])
    return texts


def make_vectors(number: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Return clustered unit vectors, (number, 384)."""
    centres = chance.normal(size=(200, DIMENSIONS))
    vectors = centres[chance.integers(0, 200, number)] + 0.9 * chance.normal(size=(number, DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def chroma(
    folder: Path, texts: list[str], vectors: NDArray[np.float32], asked: NDArray[np.float32]
) -> dict[str, float]:
    """Add and query with Chroma as its documentation shows."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.create_collection(
        "plain", embedding_function=None, configuration={"hnsw": {"space": "ip"}}
    )
    started = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        collection.add(
            ids=[str(number) for number in range(start, min(start + BATCH, len(texts)))],
            embeddings=vectors[part],
            documents=texts[part],
        )
    add = time.perf_counter() - started
    collection.query(query_embeddings=asked[:1], n_results=K)
    started = time.perf_counter()
    for vector in asked:
        collection.query(query_embeddings=vector.reshape(1, -1), n_results=K)
    query = time.perf_counter() - started
    client.close()  # type: ignore[attr-defined] # the interface lacks it, the client has it
    return {"add": add, "query": query, "rss": resident(OPEN_CHROMA, str(folder))}


def ours(
    folder: Path, texts: list[str], vectors: NDArray[np.float32], asked: NDArray[np.float32]
) -> dict[str, float]:
    """Add, open again and query with the vault."""
    memory = Path(tempfile.mkdtemp(prefix="agentkit-bench-", dir="/dev/shm"))
    try:
        floor = KdfParameters.floor()
        vault = Vault.create(
            folder, passphrase=PASSPHRASE, embedder="bench", dimensions=DIMENSIONS, kdf=floor
        )
        ids = []
        started = time.perf_counter()
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            ids += vault.add([NewRecord(text) for text in texts[part]], vectors[part])
        add = time.perf_counter() - started
        vault.close()
        database = (folder / "vault.db").stat().st_size
        started = time.perf_counter()
        vault = Vault.open(folder, passphrase=PASSPHRASE, index_folder=memory)
        opened = time.perf_counter() - started
        started = time.perf_counter()
        vault.warm(wait=True)
        warmed = time.perf_counter() - started
        place = {identity: number for number, identity in enumerate(ids)}
        found = 0
        vault.search("", asked[0], k=K)
        started = time.perf_counter()
        answers = [vault.search("", vector, k=K) for vector in asked]
        query = time.perf_counter() - started
        for vector, hits in zip(asked, answers, strict=True):
            exact = set(np.argpartition(-(vectors @ vector), K)[:K].tolist())
            found += len(exact & {place[hit.record.id] for hit in hits})
        took = []
        for vector, text in zip(asked, texts, strict=False):
            words = " ".join(text.split()[5:15])
            started = time.perf_counter()
            vault.search(words, vector, k=K)
            took.append((time.perf_counter() - started) * 1000)
        vault.close()
        whole = sum(path.stat().st_size for path in folder.iterdir())
        raw = sum(map(len, texts)) + vectors.nbytes
        started = time.perf_counter()
        vault = Vault.open(folder, passphrase=PASSPHRASE, index_folder=memory)
        vault.warm(wait=True)
        ready = time.perf_counter() - started
        vault.close()
        return {
            "ready": ready,
            "query_p95_ms": float(np.percentile(took, 95)),
            "rss": resident(OPEN_OURS, str(folder), PASSPHRASE.decode(), str(memory)),
            "add": add,
            "open": opened,
            "warm": warmed,
            "query": query,
            "recall": found / (K * len(asked)),
            "disk": whole / raw,
            "database": database / raw,
            "change_ms": change_passphrase(folder.with_name("change")),
        }
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def change_passphrase(folder: Path) -> float:
    """Return the milliseconds a change takes beside its two key derivations: in a vault where those cost nothing."""
    kdf = KdfParameters.for_tests()
    took = []
    with Vault.create(
        folder, passphrase=PASSPHRASE, embedder="bench", dimensions=DIMENSIONS, kdf=kdf, allow_weak_kdf=True
    ) as vault:
        for old, new in ((b"", b" again"), (b" again", b"")) * 5:
            started = time.perf_counter()
            vault.change_passphrase(PASSPHRASE + old, PASSPHRASE + new)
            took.append((time.perf_counter() - started) * 1000)
    return float(np.median(took))


def compare(number: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return Chroma's and our seconds for `number` records."""
    chosen, chance = random.Random(number), np.random.default_rng(number)
    texts, vectors = make_texts(number, chosen), make_vectors(number, chance)
    asked = make_vectors(QUERIES, chance)
    asked = np.asarray(vectors[: len(asked)] + 0.3 * asked, np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        peer = chroma(Path(folder) / "chroma", texts, vectors, asked)
        mine = ours(Path(folder) / "vault", texts, vectors, asked)
    for name in ("add", "query"):
        print(f"{number:>7} {name:<6} chroma {peer[name]:8.2f} s   ours {mine[name]:8.2f} s", flush=True)
    print(
        f"{number:>7} open   {mine['open']:.2f} s, index built in {mine['warm']:.2f} s more; "
        f"from its snapshot ready in {mine['ready']:.2f} s\n"
        f"{'':>7} hybrid query p95 {mine['query_p95_ms']:.1f} ms; recall@10 {mine['recall']:.3f}; "
        f"disk {mine['disk']:.2f} x raw (database {mine['database']:.2f}); "
        f"memory {mine['rss']:.0f} MB, chroma {peer['rss']:.0f} MB",
        flush=True,
    )
    return peer, mine


def attack(*, quick: bool) -> dict[str, int]:
    """Run the attack battery and the kills; return their counts."""
    chosen = random.Random(11)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = battery.Target(folder)
        rounds = {
            "bit flips": battery.flips(target, 1500 if quick else 20_000, chosen),
            "cuts": battery.cuts(target, "vault.db", 3 if quick else 1),
            "header cuts": battery.cuts(target, "vault.json"),
            "head cuts": battery.cuts(target, "head.sealed"),
            "page swaps and replays": battery.pages(target, 200 if quick else 1000, chosen),
            "file swaps and replays": battery.swaps(target, folder),
            "downgrades": battery.downgrades(target),
            "flips and cuts of the index": battery.snapshots(
                folder / "index", 150 if quick else 2000, chosen, 7 if quick else 1
            ),
        }
        target.crash(folder / "crash")
        crashed = ("vault.db-wal", "vault.db", "head.sealed")
        rounds["flips after a crash"] = battery.flips(target, 150 if quick else 1000, chosen, crashed)
        rounds["log cuts"] = battery.cuts(target, "vault.db-wal", 2 if quick else 1)
        for what, counts in rounds.items():
            print(
                f"{what}: {counts.tried} tried, {counts.refused} refused, {counts.undetected} undetected",
                flush=True,
            )
        kills, lost = battery.kills(folder / "killed", 20 if quick else 200, chosen)
        print(f"kill -9: {kills}, of which {lost} lost something", flush=True)
    return {
        "attacks_tried": sum(counts.tried for counts in rounds.values()),
        "attacks_undetected": sum(counts.undetected for counts in rounds.values()),
        "kills": kills,
        "kills_lost": lost,
    }


def main() -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="10,000 records and fewer attacks; under 5 minutes"
    )
    parser.add_argument("--without-attacks", action="store_true", help="speed and size only")
    options = parser.parse_args()
    quick: bool = options.quick
    said: dict[str, Any] = dict.fromkeys(KEYS)
    peer, mine = compare(10_000)
    said["add_ratio_10k"] = peer["add"] / (mine["add"] + mine["warm"])
    said["query_ratio_10k"] = peer["query"] / mine["query"]
    said["change_passphrase_extra_ms"] = mine["change_ms"]
    if not quick:
        peer, mine = compare(100_000)
        said["open_100k_seconds"] = mine["open"]
    said |= {
        "add_ratio": peer["add"] / (mine["add"] + mine["warm"]),
        "add_durable_ratio": peer["add"] / mine["add"],
        "query_ratio": peer["query"] / mine["query"],
        "open_ratio": peer["add"] / mine["open"],
        "recall_at_10": mine["recall"],
        "disk_ratio": mine["disk"],
        "database_ratio": mine["database"],
        "ready_seconds": mine["ready"],
        "query_p95_ms": mine["query_p95_ms"],
        "rss_mb": mine["rss"],
        "chroma_rss_mb": peer["rss"],
    }
    if not options.without_attacks:
        said |= attack(quick=quick)
    print(json.dumps({name: round(value, 4) if value is not None else None for name, value in said.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
