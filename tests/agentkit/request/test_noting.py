"""What a request wants kept: found at either end of what it says, and left alone wherever it says more than that."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.request.noting import fact_to_keep, refuses_to_keep


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        ("Remember that my aunt lives in Oslo.", "my aunt lives in Oslo"),
        ("Save my gym locker code, which is 2290.", "my gym locker code, which is 2290"),
        ("Note to self: the bins go out on Thursday", "the bins go out on Thursday"),
        ("The gate opens at 6:45. Don't forget that!", "The gate opens at 6:45"),
        ("Commit this to memory: I am allergic to cashews.", "I am allergic to cashews"),
        ("I want you to remember that I take the blue line.", "I take the blue line"),
        ("Could you please keep in mind that Ada is vegan?", "Ada is vegan"),
        ("Hi! Please store the following fact. Our router is in the attic.", "Our router is in the attic"),
        ("dont forget the winter tyres are in the cellar", "the winter tyres are in the cellar"),
        ("My seat is 14C, please remember it. Thank you!", "My seat is 14C"),
        ("I always forget that the bank shuts at 4, so please note it.", "the bank shuts at 4"),
        ("By the way, Tom has moved to 8 Mill Lane. I'll need that later, so save it.", "Tom has moved to 8 Mill Lane"),
        ("pls rember our alarm code is 60-12 thx", "our alarm code is 60-12"),
        ("Remember this for me, please - the key is under the third pot", "the key is under the third pot"),
        ("Keep this for later:\n\nthe tenants pay on the 3rd", "the tenants pay on the 3rd"),
        ("Remember that my pass phrase is Fox3trot!", "my pass phrase is Fox3trot!"),
        ("Remember that it\u2019s Zoe\u2019s turn", "it\u2019s Zoe\u2019s turn"),
        ("I'm Ida. Can you remember my locker number? It's 88.", "my locker number? It's 88"),
        ("Please note down the name of our vet. It is Dr. Marsh!", "the name of our vet. It is Dr. Marsh"),
        ("Remember: my code is 12,\nand hers is 13", "my code is 12, and hers is 13"),
    ],
)  # fmt: skip
def test_what_is_to_be_kept_is_told_from_the_words_that_ask_for_it(request_: str, fact: str) -> None:
    assert fact_to_keep(request_) == fact


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  !? ",
        "Remember that.",
        "Please don't forget it, thanks.",
        "Could you remember something for me?",
        "Don't save this: my code is 1234",
        "Forget this: my code is 1234",
        "My old code was 1234. Forget that.",
        "You need not remember that I am forty.",
        "I remember that we met in Rome.",
        "Do you remember that we met in Rome?",
        "Do you remember my name, please?",
        "Can you remember my locker code, please?",
        "What is my locker code? Remember it.",
        "Remember my name. What is 2 + 2?",
        "Do you remember my old car? It was red. What was its name?",
        "I keep the keys in a bowl. It is blue.",
        "Note that I am vegan. Suggest a dinner.",
        "Note that I am vegan. Plan a dinner for two.",
        "Make a list of fruit. Save it.",
        "Translate 'the code is 1234' into French and remember it.",
        "Save the text 'it is 5' to five.txt",
        "Save the first 10 lines",
        "Keep the change",
        "My flat is number 12",
        "Is there anything I should know?",
        "Never mind that it rains.",
    ],
)
def test_what_asks_or_orders_anything_else_is_left_to_the_model(text: str) -> None:
    assert fact_to_keep(text) is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Don't save this: my code is 1234", True),
        ("My old code was 1234. Forget that.", True),
        ("My new code is 5678. Do not store it, please.", True),
        ("My flat is number 12, don't forget that.", False),
        ("Never mind the rain, save it: I like it.", False),
        ("I do not eat pork. Remember that.", False),
        ("What is 2 + 2?", False),
    ],
)
def test_who_wants_nothing_kept_is_understood(text: str, refused: bool) -> None:
    assert refuses_to_keep(text) == refused


@pytest.mark.parametrize(
    "text", ["", "?", "OK", "Thanks!", "Hello. Thank you so much", "please", "also, ok", "Oh - well"]
)
def test_courtesy_alone_keeps_nothing(text: str) -> None:
    assert fact_to_keep(text) is None


@given(st.text(max_size=200))
def test_a_fact_stands_in_the_request_but_for_white_space(text: str) -> None:
    for request in (text, f"Remember that {text}", f"{text}. Please save that."):
        fact = fact_to_keep(request)
        assert fact is None or fact in " ".join(request.split())


@pytest.mark.parametrize(
    "text",
    [
        "remember " * 20_000,
        "please note that, " * 10_000,
        "keep " * 20_000 + "this: x",
        "save the " + "x" * 50_000,
        "keep my x. " * 10_000,
        "save my " + "a.b " * 20_000,
        "\n" * 50_000,
        " -" * 30_000,
        "remember that " + "a1" * 30_000,
        "remember that " + " please" * 20_000,
        "write " * 25 + "down: " + "it is 1 " * 10_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_request_is_read_in_no_time(text: str) -> None:
    began = time.thread_time()
    fact_to_keep(text)
    assert time.thread_time() - began < 2
