"""Asking documents: the model writes, but what is shown is borne out, quoted, or said to be missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit import prompt
from agentkit.answering.answer import NOT_FOUND, REPLY_TOKENS, Answerer
from agentkit.errors import Cancelled
from agentkit.events import Ending, Event, Finished, Prompted, Recalled, TextDelta
from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Evidence, Message
from agentkit.models.engine import Engine
from agentkit.models.scripted import ScriptedModel
from agentkit.recall import Recall
from agentkit.spawn import LocalSpawner
from agentkit_memory import HashEmbedder, KdfParameters, NewRecord, Vault

LEASE = Evidence(
    "r1",
    "lease.md",
    "line 3",
    "The monthly rent of 1,180 euros is payable early. Small pets are allowed.",
    0.7,
)


class Found:
    def __init__(self, *evidence: Evidence) -> None:
        self._evidence = list(evidence)

    def search(self, question: str) -> list[Evidence]:
        return self._evidence


def ask(question: str, *said: str, found: tuple[Evidence, ...] = (LEASE,)) -> tuple[Finished, list[Event]]:
    events = list(Answerer(ScriptedModel(list(said)), Found(*found)).run(question))
    last = events[-1]
    assert isinstance(last, Finished)
    return last, events


def test_an_answer_that_is_borne_out_is_the_models_own_with_its_source() -> None:
    done, events = ask("How much is the monthly rent?", "The monthly rent is 1,180 euros.")
    assert [type(each) for each in events] == [Recalled, Prompted, TextDelta, Finished]
    assert done.text == "The monthly rent is 1,180 euros."
    assert (done.ending, done.confidence) == (Ending.ANSWERED, "high")
    assert done.evidence[0].source == "lease.md"
    assert done.evidence[0].quote == "The monthly rent of 1,180 euros is payable early."


def test_the_numbers_of_an_answer_are_spelt_as_its_source_spells_them() -> None:
    done, _ = ask("How much is the monthly rent?", "The monthly rent is 1180 euros.")
    assert done.text == "The monthly rent is 1,180 euros."
    shop = replace(LEASE, quote="The shop opens at 05:30.")
    done, _ = ask("What time does the shop open?", "5:30", found=(shop,))
    assert (done.text, done.confidence) == ("05:30", "high")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("The monthly rent is 3,000 euros.", "the documents do not hold the numbers"),
        ("A wizard decides upon it.", "the documents do not bear out"),
        ("The monthly rent.", "the model only repeated the question"),
        ("", "the model said nothing"),
        (prompt.NOT_SAID, "the model did not find the answer there"),
        ("The monthly rent is payable.", "the model did not give a sum of money"),
        ("1,180 euros " * REPLY_TOKENS, "the model did not come to an end"),
    ],
)
def test_an_answer_that_is_not_borne_out_is_replaced_by_the_sentence_and_the_reason_tells(
    said: str, why: str
) -> None:
    done, _ = ask("How much is the monthly rent?", said)
    assert done.text == 'Your documents say: "The monthly rent of 1,180 euros is payable early."'
    assert done.confidence == "low"
    assert done.confidence_reason.startswith(why)


@pytest.mark.parametrize(
    ("text", "question", "said"),
    [
        ("The key is with Ingrid.", "Who has the key?", "Ingrid"),
        ("Anna is 34 years old.", "How old is Anna?", "34"),
        ("The dough bakes 35 minutes.", "How long does the dough bake?", "35"),
    ],
)
def test_a_short_answer_is_one(text: str, question: str, said: str) -> None:
    done, _ = ask(question, said, found=(replace(LEASE, quote=text),))
    assert done.text == said
    assert done.confidence == "high"


@pytest.mark.parametrize(
    ("question", "said", "shown"),
    [
        ("Is the rent payable?", "The rent is payable early.", "The rent is payable early."),
        ("Are small pets allowed?", "small", 'Your documents say: "Small pets are allowed."'),
        ("Are pets or bees allowed?", "Small pets", "Small pets"),
        ("Can you tell me how much the monthly rent is?", "1,180 euros", "1,180 euros"),
        ("Do you know the monthly rent?", "1,180 euros", "1,180 euros"),
    ],
)
def test_what_is_neither_yes_nor_no_is_no_answer_where_one_of_them_is_asked(
    question: str, said: str, shown: str
) -> None:
    assert ask(question, said)[0].text == shown


@pytest.mark.parametrize("question", ["Show me the lease", "What does the lease say?", "Summarise the lease"])
def test_a_text_that_is_named_is_shown_in_its_order(question: str) -> None:
    later, other = (
        replace(LEASE, record_id="r3", place="line 12", quote="Pets are"),
        replace(LEASE, source="a.md"),
    )
    done, events = ask(question, found=(later, LEASE, other))
    assert done.text == f"Your documents say:\n\n{LEASE.quote}\n[...]\nPets are"
    assert done.evidence == (LEASE, later)
    assert not any(isinstance(each, Prompted) for each in events)


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [
        ("the pancakes", True),
        ("the recipe of pancakes", True),
        ("the recipes", False),
        ("the plum pancakes", False),
    ],
)
def test_the_folder_of_a_text_may_be_named_with_it(name: str, is_shown: bool) -> None:
    recipe = replace(LEASE, source="/notes/recipes/pancakes.txt", quote="Four eggs and some flour.")
    done, _ = ask(f"Show me {name}", found=(recipe,))
    assert (done.evidence == (recipe,)) is is_shown


def test_what_is_not_in_the_documents_is_said_without_asking_the_model() -> None:
    done, events = ask("What is the capital of Australia?")  # the script is empty: a completion would raise
    assert (done.text, done.ending) == (NOT_FOUND, Ending.NOT_FOUND)
    assert done.evidence == ()
    assert done.confidence_reason
    assert not any(isinstance(each, Prompted) for each in events)


OATS = Evidence(
    "r2",
    "oats.md",
    "",
    "Rolled oats cost 2 euros. They keep for 12 months in a jar. Open bags keep for 6 weeks.",
    0.4,
)
SURE, UNSURE = "How long do rolled oats keep?", "How long do rolled beans keep?"
"""The rules find the first answered, and the second nearly so."""


def may_decline(question: str, *said: str) -> tuple[Finished, int]:
    """Ask a model that can say no; return what came of it, and how often it was asked."""
    model = ScriptedModel(list(said))
    events = list(Answerer(model, Found(OATS), declines=True).run(question))
    last = events[-1]
    assert isinstance(last, Finished)
    return last, sum(isinstance(each, Prompted) for each in events)


def test_a_model_that_can_say_no_is_asked_about_the_next_sentence_that_may_hold_the_answer() -> None:
    done, times = may_decline(SURE, prompt.NOT_SAID, "Open bags keep for 6 weeks.")
    assert (done.text, done.confidence, times) == ("Open bags keep for 6 weeks.", "medium", 2)
    assert done.confidence_reason == "the sentence it stands in is not the one nearest to the question"
    assert done.evidence[0].quote == "Open bags keep for 6 weeks."


def test_where_it_finds_no_answer_the_rules_decide() -> None:
    done, _ = may_decline(SURE, *[prompt.NOT_SAID] * 3)
    assert done.text.startswith(
        'Your documents say: "Rolled oats cost 2 euros. They keep for 12 months in a jar.'
    )
    done, times = may_decline(UNSURE, *[prompt.NOT_SAID] * 3)
    assert (done.ending, done.evidence, times > 1) == (Ending.NOT_FOUND, (), True)
    assert done.confidence_reason == "the model did not find the answer there"


def test_what_the_rules_are_not_sure_of_is_believed_where_such_a_model_finds_it_and_it_is_borne_out() -> None:
    done, _ = may_decline(UNSURE, "They keep for 12 months.")
    assert (done.text, done.ending, done.confidence) == (
        "They keep for 12 months.",
        Ending.ANSWERED,
        "low",
    )
    done, _ = may_decline(UNSURE, "They keep for 90 years.")
    assert done.ending is Ending.NOT_FOUND
    done, events = ask(UNSURE, found=(OATS,))  # any other model is not asked
    assert done.ending is Ending.NOT_FOUND
    assert not any(isinstance(each, Prompted) for each in events)


@pytest.mark.parametrize(
    ("question", "said", "confidence"),
    [
        ("Is the rent payable early?", "The monthly rent of 1,180 euros is payable early.", "medium"),
        ("Are pets welcome?", "Small pets are allowed.", "low"),
    ],
)
def test_yes_or_no_of_a_text_is_left_to_who_reads_the_sentence(
    question: str, said: str, confidence: str
) -> None:
    answerer = Answerer(ScriptedModel([]), Found(), declines=True)
    events = list(answerer.run(question, among=[LEASE]))
    done = events[-1]
    assert isinstance(done, Finished)
    assert (done.text, done.confidence) == (f'It says: "{said}"', confidence)
    assert not any(isinstance(each, Prompted) for each in events)
    *_, done = answerer.run("Does the lift stop on Sundays?", among=[LEASE])
    assert isinstance(done, Finished)
    assert done.ending is Ending.NOT_FOUND


def test_an_empty_vault_holds_no_answer() -> None:
    done, _ = ask("How much is the rent?", found=())
    assert (done.ending, done.confidence) == (Ending.NOT_FOUND, "high")


def test_more_than_one_number_in_the_sentence_is_never_high_confidence() -> None:
    budget = Evidence("r", "a.md", "", "The budget is 84,000 euros, of which 51,300 are spent.", 0.7)
    done, _ = ask("What is the budget?", "The budget is 51,300 euros.", found=(budget,))
    assert done.confidence == "medium"


def test_a_cancelled_question_ends_so() -> None:
    def stop(_: Sequence[Message]) -> str:
        raise Cancelled("cancelled")

    events = list(Answerer(ScriptedModel([stop]), Found(LEASE)).run("How much is the monthly rent?"))
    assert isinstance(events[-1], Finished)
    assert events[-1].ending is Ending.CANCELLED


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = Vault.create(
        tmp_path / "vault",
        passphrase=b"only a test",
        embedder="hash",
        dimensions=64,
        kdf=KdfParameters(1024, 1, 1),
        allow_weak_kdf=True,
    )
    embedder = HashEmbedder(dimensions=64)
    texts = ["The rent is 1,180 euros.", "The deposit is 2,360 euros.", "Pets are allowed."]
    records = [
        NewRecord(
            text,
            source="/home/me/lease.md",
            kind="document",
            place=f"line {n}",
            origin="document",
            position=n,
        )
        for n, text in enumerate(texts)
    ]
    records.append(NewRecord("The landlord likes the rent on time.", privacy="secret", sources=("x1",)))
    made.add(records, embedder.embed([each.text for each in records]))
    yield made
    made.close()


def test_recall_brings_passages_with_their_labels_and_places(vault: Vault) -> None:
    found = Recall(vault, HashEmbedder(dimensions=64), k=4).search("How much is the rent?")
    lease = next(each for each in found if each.source == "/home/me/lease.md")
    assert (lease.quote, lease.place) == ("The rent is 1,180 euros.", "line 0")
    assert lease.labels == Labels(Origin.DOCUMENT, Privacy.PRIVATE, (lease.record_id,))
    memory = next(each for each in found if each.labels.origin is Origin.USER)
    assert memory.labels.privacy is Privacy.SECRET
    assert "x1" in memory.labels.sources


def test_recall_keeps_to_the_kinds_it_was_given(vault: Vault) -> None:
    found = Recall(vault, HashEmbedder(dimensions=64), kinds=("memory",)).search("rent")
    assert [each.labels.origin for each in found] == [Origin.USER]


def test_neighbours_are_joined_in_order_and_so_are_their_labels(vault: Vault) -> None:
    found = Recall(vault, HashEmbedder(dimensions=64), k=1, kinds=("document",), neighbours=1).search(
        "the deposit"
    )
    assert found[0].quote == "The rent is 1,180 euros.\nThe deposit is 2,360 euros.\nPets are allowed."
    assert len(found[0].labels.sources) == 3


@pytest.mark.model
@pytest.mark.slow
def test_the_real_model_answers_from_one_sentence(smollm2_path: Path) -> None:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024)
    try:
        for question, held in (
            ("How much is the monthly rent?", "1,180"),
            ("Are small pets allowed?", "Small pets"),
        ):
            last = list(Answerer(engine, Found(LEASE)).run(question))[-1]
            assert isinstance(last, Finished)
            assert last.ending is Ending.ANSWERED
            assert held.lower() in last.text.lower()
            assert last.evidence[0].source == "lease.md"
    finally:
        engine.close()
