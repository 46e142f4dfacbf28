"""Small talk beside tools that have nothing to do with it: the model answers as it did before it was trained.

`python -m training.talk` lets the untrained model say what it says to everything in talk.toml, and keeps that in
replies.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentkit import prompt
from agentkit.cli.output import Output
from agentkit.context.words import terms
from agentkit.messages import Message
from agentkit.models.base import Model, Sampling, finish
from training.tasks import Example, pick
from training.tools import Tool, show

REPLIES = Path(__file__).with_name("replies.json")
REPLY = Sampling(max_tokens=60, temperature=0.0, repeat_penalty=1.15)

_MOST_TOOLS = 3
_TRIES = 50
_SENTENCE_END = re.compile(r"[.!?][\"')]?(?=\s|$)")


@functools.cache
def talk() -> Mapping[str, Sequence[str]]:
    """Return what people say, by group."""
    return tomllib.loads(Path(__file__).with_name("talk.toml").read_text(encoding="utf-8"))


@functools.cache
def replies(path: Path = REPLIES) -> Mapping[str, str]:
    """Return what the untrained model said to each of them.

    Raises:
        FileNotFoundError: `python -m training.talk` has not been run.
    """
    read: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return read


def small_talk(rng: random.Random, known: Sequence[Tool], said: Mapping[str, str] | None = None) -> Example:
    """Somebody says something that needs no tool; up to three stand beside it."""
    said = replies() if said is None else said
    groups = [kept for group in talk().values() if (kept := [each for each in group if said.get(each)])]
    words = rng.choice(rng.choice(groups))
    offered = {}
    for tool in _unrelated(rng, known, words, rng.randint(0, _MOST_TOOLS)):
        shown = show(tool, rng).spec
        offered[shown.name] = shown
    messages = (Message.system(prompt.ASSISTANT), Message.user(words))
    return Example("", messages, tuple(offered[name] for name in sorted(offered)), text=said[words])


def whole_sentences(text: str) -> str:
    """Return `text` up to its last full sentence; nothing if it has none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def reply(model: Model, words: str) -> str:
    """Return what `model` says to `words`, as far as it came to an end."""
    messages = (Message.system(prompt.ASSISTANT), Message.user(words))
    return whole_sentences(finish(model.complete(messages, sampling=REPLY)).text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write replies.json."""
    from agentkit.models.engine import Engine
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner
    from training.__main__ import MODEL

    parser = argparse.ArgumentParser(prog="python -m training.talk", description=__doc__)
    parser.add_argument("--model", type=Path, help=f"a GGUF file; default: {MODEL} of the store")
    parser.add_argument("--target", type=Path, default=REPLIES)
    chosen = parser.parse_args(arguments)
    output = Output()
    engine = Engine(chosen.model or ModelStore(Home.default().models).get(MODEL).path, LocalSpawner())
    try:
        said = {words: reply(engine, words) for group in talk().values() for words in group}
    finally:
        engine.close()
    kept = {words: text for words, text in said.items() if text}
    chosen.target.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    output.note(f"{chosen.target}: replies to {len(kept)} of {len(said)}")
    return 0


def _unrelated(rng: random.Random, known: Sequence[Tool], words: str, count: int) -> list[Tool]:
    """Return up to `count` tools that share no word of meaning with `words`."""
    meant, chosen = set(terms(words)), dict[str, Tool]()
    for _ in range(_TRIES):
        if len(chosen) >= count:
            break
        tool = pick(rng, known)
        about = " ".join((tool.name.replace("_", " "), *tool.also, *tool.about))
        if not meant & set(terms(about)):
            chosen[tool.name] = tool
    return list(chosen.values())


if __name__ == "__main__":
    sys.exit(main())
