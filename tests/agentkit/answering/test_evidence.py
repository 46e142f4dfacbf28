"""Which sentence answers, and when none does: decided by rules that can be read."""

from __future__ import annotations

import pytest

from agentkit.answering.evidence import FOUND_STRENGTH, find
from agentkit.answering.expected import counted, expected
from agentkit.answering.support import support, trust
from agentkit.messages import Evidence

LEASE = Evidence(
    "r1",
    "home/lease.md",
    "lines 3-9",
    "Rent\n\nThe monthly rent is 1,180 euros, payable on the third working day. A late payment costs 25 euros.\n\n"
    "Deposit\n\nThe tenant pays a deposit of 2,360 euros. It is returned within six weeks.\n\n"
    "Boiler: serviced every autumn by Nordvik Heating",
    0.6,
)
GARDEN = Evidence(
    "r2",
    "garden_club.md",
    "",
    "1. The tank. Ben reported that it holds 2,000 litres.\n"
    "2. Seed swap. Mei hosts it in the village hall on 20 April.",
    0.3,
)


@pytest.mark.parametrize(
    ("question", "held", "source"),
    [
        ("How much is the monthly rent?", "1,180", "home/lease.md"),
        ("What deposit does the tenant pay?", "2,360", "home/lease.md"),
        ("Who services the boiler?", "Nordvik", "home/lease.md"),
        ("When is the seed swap?", "20 April", "garden_club.md"),
        ("How many litres does the tank hold?", "2,000", "garden_club.md"),
    ],
)
def test_the_sentence_with_the_kind_of_thing_asked_for_is_quoted(
    question: str, held: str, source: str
) -> None:
    finding = find(question, [LEASE, GARDEN])
    assert finding.found
    assert held in finding.leads[0].text
    assert held in finding.quotes[0].quote
    assert finding.quotes[0].source == source


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Australia?",
        "How many calories does the deposit have?",
        "How old is the tenant?",
        "Who is the lawyer of the landlord?",
        "Which hotel did we stay at in Madrid?",
    ],
)
def test_what_is_not_there_is_not_found(question: str) -> None:
    finding = find(question, [LEASE, GARDEN])
    assert not finding.found
    assert finding.strength < FOUND_STRENGTH


def test_a_sentence_that_points_back_is_read_and_quoted_with_what_it_points_to() -> None:
    finding = find("Within how many weeks is the deposit returned?", [LEASE])
    assert (
        "The tenant pays a deposit of 2,360 euros. It is returned within six weeks."
        in finding.quotes[0].quote
    )


def test_the_number_of_a_list_item_is_not_given_to_the_model() -> None:
    assert find("When is the seed swap?", [GARDEN]).leads[0].text.startswith("Seed swap.")


def test_every_quote_is_made_of_the_passages_own_sentences() -> None:
    for quote in find("How much is the rent and the deposit?", [LEASE, GARDEN]).quotes:
        original = LEASE if quote.source == LEASE.source else GARDEN
        assert all(part in original.quote for part in quote.quote.split(" [...] "))
        assert quote.labels == original.labels


def test_no_passages_are_nothing_found() -> None:
    finding = find("How much is the rent?", [])
    assert (finding.found, finding.quotes, finding.leads) == (False, (), ())


@pytest.mark.parametrize(
    ("question", "kind", "yes", "no"),
    [
        ("When does it start?", "a date", "on 6 October", "at the hall"),
        ("How much is the rent?", "a sum of money", "1,180 euros", "on Monday"),
        ("How long does it bake?", "a length of time", "35 minutes", "190 degrees"),
        ("Who has the key?", "a name", "it is with Ingrid Solberg", "it is next door"),
        ("What is Joana's phone number?", "a telephone number", "+351 912 555 014", "room 12"),
        ("What time is the flight?", "a time", "departs 07:25", "in October"),
        ("How tall is the tower?", "a length", "it is 40 metres high", "40 people"),
        ("What day is the rent due?", "a date", "on the first Monday of each month", "750 euros"),
        ("What was the final price of the bicycle?", "a sum of money", "it was 320 euros", "it is red"),
        ("What does Lena pay for the room?", "a sum of money", "400 euros", "every month"),
        ("What is the door code?", "a number or code", "it is 4711", "it is with the neighbour"),
        ("At what temperature is it stored?", "a number", "at 4 degrees", "in the fridge"),
    ],
)
def test_a_question_expects_a_kind_of_thing(question: str, kind: str, yes: str, no: str) -> None:
    found = expected(question)
    assert found is not None
    assert found.name == kind
    assert found.answer.search(yes)
    assert not found.answer.search(no)


def test_a_question_of_no_known_kind_expects_nothing() -> None:
    for question in (
        "Why was it dropped?",
        "What should I do when the alarm goes off?",
        "Which account do I pay the rent to?",
        "What is the refund policy?",
        "Where is my phone charger?",
        "How do I change the size of the font?",
        "What is the wifi password?",
    ):
        assert expected(question) is None, question
    assert expected("Wie hoch ist die Miete?") is None


def test_what_is_counted_has_to_be_there() -> None:
    assert counted("How many calories does it have?") == "calories"
    assert counted("How much is the rent?") == ""


def test_support_counts_new_words_and_foreign_numbers() -> None:
    text = "The rent is 1,180 euros a month."
    assert support("The rent is 1180 euros.", [text], "How much is the rent?").share == 1.0
    assert support("It is 1,200 euros.", [text]).missing_numbers == ("1200",)
    assert support("The rent.", [text], "How much is the rent?").new == 0
    assert support("A dragon pays.", [text]).share == 0.0
    assert support("It is 555.", ["call 555 0190"]).missing_numbers == ("555",)
    two_hours = support("2 hours.", ["Soak the barley for two hours."])
    assert (two_hours.share, two_hours.missing_numbers) == (1.0, ())
    assert support("3 hours.", ["Soak the barley for two hours."]).missing_numbers == ("3",)


@pytest.mark.parametrize(
    ("request_", "confidence"),
    [
        ("What do 12 boxes at 14 euros come to?", "high"),
        ("12 x 14", "high"),
        ("How many days are 3 weeks and 4 days?", "high"),
        ("I have 12 apples and my sister eats 3, how many are left?", "high"),
        ("Wie viel ist 12 mal 14?", "low"),
        ("\u00bfCu\u00e1nto es 12 por 14?", "low"),
        ("Combien font 12 fois 14 ?", "low"),
    ],
)
def test_a_sum_that_the_request_does_not_say_in_english_is_not_relied_on(
    request_: str, confidence: str
) -> None:
    assert trust("It is 26.", request_, ["26"], [], called={"calculator"})[0] == confidence
    assert trust("It is 26.", request_, ["26"], [], called={"lookup"})[0] == "high"


def test_what_does_not_name_the_code_asked_about_is_about_something_else() -> None:
    lost = Evidence("r1", "post.md", "", "The parcel TRK9151 is in Bergen. It was sent on Monday.", 0.6)
    other = Evidence("r2", "post.md", "", "The parcel TRK7733 is in Oslo.", 0.7)
    finding = find("Where is the parcel TRK9151?", [other, lost])
    assert [each.quote for each in finding.quotes] == ["The parcel TRK9151 is in Bergen."]
    assert not find("Where is the parcel TRK4040?", [other, lost]).found
