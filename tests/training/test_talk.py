"""Small talk is answered as before, whatever tools stand beside it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from agentkit import prompt
from agentkit.messages import Message
from agentkit.models.scripted import ScriptedModel
from training import talk
from training.mix import trained_tools
from training.talk import replies, reply, small_talk, whole_sentences

SAID = {words: f"Reply to {words}" for group in talk.talk().values() for words in group}


def test_there_is_much_to_say_and_nothing_twice() -> None:
    said = [words for group in talk.talk().values() for words in group]
    assert len(said) >= 145
    assert len(set(said)) == len(said)
    assert len(talk.talk()) >= 10


def test_the_reply_is_looked_up_and_no_tool_is_called() -> None:
    rng, counts = random.Random(1), set()
    for _ in range(100):
        example = small_talk(rng, trained_tools(), SAID)
        system, user = example.messages
        assert system == Message.system(prompt.ASSISTANT)
        assert example.text == SAID[user.text]
        assert not example.calls
        assert [tool.name for tool in example.tools] == sorted({tool.name for tool in example.tools})
        counts.add(len(example.tools))
    assert counts == {0, 1, 2, 3}


def test_the_same_seed_gives_the_same_example() -> None:
    made = [small_talk(random.Random(7), trained_tools(), SAID) for _ in range(2)]
    assert made[0] == made[1]


def test_what_has_no_reply_is_not_said() -> None:
    for seed in range(10):
        example = small_talk(random.Random(seed), trained_tools(), {"hi": "Hello.", "ok": ""})
        assert example.messages[-1].text == "hi"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hello. How are", "Hello."),
        ('He said "no." Then', 'He said "no."'),
        ("It is 3.5 metres", ""),
        ("Yes!", "Yes!"),
        ("", ""),
    ],
)
def test_a_reply_is_cut_at_the_last_full_sentence(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept


def test_replies_are_read_from_the_file_that_the_model_made(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    path.write_text(json.dumps({"hi": "Hello."}), encoding="utf-8")
    assert replies(path) == {"hi": "Hello."}


def test_a_model_is_asked_as_it_came_and_its_last_full_sentence_is_kept() -> None:
    model = ScriptedModel(["Good morning. What can I"])
    assert reply(model, "hi") == "Good morning."
    assert model.prompts == [(Message.system(prompt.ASSISTANT), Message.user("hi"))]
