"""What was said in one conversation is found in a later one, with its labels, until it is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime

from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Message
from agentkit.recall import Recall, Relevant
from agentkit.rounds import Rounds, expand, keys
from agentkit_memory import Filter, HashEmbedder, NewRecord, Vault

EMBEDDER = HashEmbedder(64)
FRIDAY = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
MODEL = Labels(Origin.MODEL, Privacy.PRIVATE)


def _turn(question: str, answer: str, labels: Labels = MODEL) -> list[Message]:
    return [Message.user(question), Message.assistant(answer, labels)]


def _recall(vault: Vault, now: datetime, **options: str) -> Recall:
    return Recall(vault, EMBEDDER, now=lambda: now, **options)  # type: ignore[arg-type]


def test_a_fact_is_found_in_a_later_conversation_by_its_absolute_date(vault: Vault) -> None:
    kitchen = Rounds(vault, EMBEDDER, "kitchen")
    kitchen.keep(_turn("The plumber comes next Tuesday for the boiler.", "I see."), FRIDAY)
    kitchen.keep(_turn("My sister likes owls.", "How nice."), FRIDAY)
    for number in range(20):
        kitchen.keep(_turn(f"Something else, number {number}.", "Fine."), FRIDAY)
    later = datetime(2027, 2, 1, tzinfo=UTC)
    for question in (
        "What was planned for 24 November 2026?",
        "2026-11-24",
        "what happened on November 24, 2026",
    ):
        found = _recall(vault, later).search(question)
        assert "plumber" in found[0].quote, question
    then = datetime(2026, 11, 25, tzinfo=UTC)
    assert "plumber" in _recall(vault, then).search("Who was here yesterday?")[0].quote
    assert _recall(vault, later).search("owls")[0].source == "kitchen"


def test_a_round_is_verbatim_and_carries_keys_labels_and_sources(vault: Vault) -> None:
    (source,) = vault.add([NewRecord("the file says 1,940 euros", kind="document")], EMBEDDER.embed(["x"]))
    labels = Labels(Origin.DOCUMENT, Privacy.SECRET, (source,))
    question = "What did Annegret Vogel pay?"
    record_id = Rounds(vault, EMBEDDER, "money").keep(
        _turn(question, "She paid 1,940 euros.", labels), FRIDAY
    )
    (record,) = vault.records(Filter(kinds=("round",)))
    assert record.id == record_id
    assert record.text == "user: What did Annegret Vogel pay?\nassistant: She paid 1,940 euros."
    assert record.title == "2026-11-20 Friday 20 November 2026; Annegret Vogel; 1940"
    assert (record.origin, record.privacy, record.sources) == ("document", "secret", (source,))
    assert (record.source, record.position, record.created) == ("money", 0, FRIDAY.timestamp())
    gone = vault.forget([source])
    assert record_id in gone.ids
    assert gone.proven
    assert vault.count() == 0


def test_rounds_of_the_own_conversation_are_not_recalled_into_it(vault: Vault) -> None:
    Rounds(vault, EMBEDDER, "kitchen").keep(_turn("The boiler leaks.", "Oh."), FRIDAY)
    assert _recall(vault, FRIDAY, apart_from="kitchen").search("boiler") == []
    assert len(_recall(vault, FRIDAY, apart_from="attic").search("boiler")) == 1


def test_a_document_is_found_however_long_the_conversation_about_it_is(vault: Vault) -> None:
    manual = NewRecord(
        "Of the boiler: it wants 1.5 bar, says the maker, and never more than 2.",
        source="/notes/boiler.md",
        kind="document",
    )
    vault.add([manual], EMBEDDER.embed([manual.text]))
    rounds = Rounds(vault, EMBEDDER, "kitchen")
    for number in range(40):
        rounds.keep(_turn(f"What pressure does the boiler need, {number}?", "The boiler needs some."), FRIDAY)
    found = _recall(vault, FRIDAY, apart_from="kitchen").search("What pressure does the boiler need?")
    assert [each.source for each in found] == ["/notes/boiler.md"]


def test_a_turn_without_an_answer_is_no_round(vault: Vault) -> None:
    rounds = Rounds(vault, EMBEDDER, "kitchen")
    assert rounds.keep([Message.user("hello")], FRIDAY) is None
    assert rounds.keep(_turn("hello", "  "), FRIDAY) is None
    assert rounds.keep([], FRIDAY) is None
    assert vault.count() == 0


def test_keys_are_few_whatever_is_pasted() -> None:
    pasted = " ".join(
        f"said Mrs Number{number} {number}00 on 3 March {1900 + number}" for number in range(99)
    )
    assert len(keys(pasted, FRIDAY).split("; ")) <= 1 + 3 * 12
    assert expand("who is it?", FRIDAY) == "who is it?"


def test_what_is_said_late_in_a_long_turn_is_near_and_the_whole_round_is_served(vault: Vault) -> None:
    rounds = Rounds(vault, EMBEDDER, "kitchen")
    for number in range(5):
        rounds.keep(_turn(f"Anything about boat number {number}?", "Nothing at all."), FRIDAY)
    fact = (
        "the spare key hangs behind an old fuse box under loose bricks; her neighbour Petra, who waters ferns each "
        "morning, knows where every other one lies, should ours get lost while hiking near Lviv"
    )
    rounds.keep(
        _turn("What do we know?", f"{'It is as it was before. ' * 60}\n{fact}\n{'And so on. ' * 60}"), FRIDAY
    )
    asked = EMBEDDER.embed([fact])[0]
    (hit,) = vault.search("", asked, k=1)
    assert hit.record.text.startswith("user: What do we know?\nassistant: It is")
    (whole,) = EMBEDDER.embed([hit.record.text]) @ asked
    assert hit.dense > 2 * whole
    assert vault.count() == 6


def test_what_a_model_said_once_is_no_source_for_what_is_asked_again(vault: Vault) -> None:
    """A guess would become a fact by being repeated; asked what was said, it is found."""
    rounds = Rounds(vault, EMBEDDER, "people")
    rounds.keep(_turn("who is Ole?", "Ole is a Norwegian footballer."), FRIDAY)
    rounds.keep(_turn("My dentist is called Marta Berg.", "Your dentist is called Paul Klee."), FRIDAY)
    recall = Recall(vault, EMBEDDER, minimum_score=-1)
    assert [each.quote for each in recall.search("Ole", replies=False)] == [
        "My dentist is called Marta Berg."
    ]

    def quoted(question: str) -> str:
        return " ".join(each.quote for each in Relevant(vault, EMBEDDER).search(question))

    assert quoted("What is my dentist called?") == "My dentist is called Marta Berg."
    assert "Paul Klee" in quoted("What did you say: is your dentist called Paul Klee?")


def test_what_was_done_once_is_no_answer_to_an_order_of_today(vault: Vault) -> None:
    """A small model says once more that it is done and does nothing, or does what was wanted then once more."""
    order = "Book a visit at the dentist for Ole on 3 December 2026 at 2 pm."
    rounds = Rounds(vault, EMBEDDER, "teeth")
    rounds.keep(_turn(order, "Booked 2026-12-03 14:00 Ole."), FRIDAY)
    rounds.keep(_turn("A visit for Ole at the dentist", "Booked."), FRIDAY)
    rounds.keep(_turn("Ole is afraid of the dentist.", "I see."), FRIDAY)

    recall = Recall(vault, EMBEDDER, minimum_score=-1)
    found = recall.search(order, replies=False, orders=False)
    assert [each.quote for each in found] == ["Ole is afraid of the dentist."]
    assert not any("3 December" in each.quote for each in Relevant(vault, EMBEDDER).search(order))
    asked = Relevant(vault, EMBEDDER).search("When does Ole have to visit the dentist?")
    assert any("3 December" in each.quote for each in asked)
