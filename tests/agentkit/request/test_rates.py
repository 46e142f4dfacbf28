"""A sum with a rate: its units say what to do with the two numbers, or nothing does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.calling.intents import intent
from agentkit.request.rates import rate_sum


@pytest.mark.parametrize(
    ("request_", "expression"),
    [
        ("What do 3.5 kg of plums cost at \u20ac2.40 a kilo?", "2.40 * 3.5"),
        ("I write 12 pages a day. How many pages are that in 30 days?", "12 * 30"),
        (
            "The hose gives 18 litres per minute and ran for 1,250 minutes; how much water is that?",
            "18 * 1250",
        ),
        ("Each crate weighs 7.5 kg and we load 40 crates. What do they weigh in all?", "7.5 * 40"),
        ("How many hours do 500 km take at 80 km/h?", "500 / 80"),
        ("How long does 96 grams of tea last at 4 g a day?", "96 / 4"),
        ("At 60 miles per hour, how far do I get in 2.5 hours?", "60 * 2.5"),
    ],
)
def test_units_say_whether_it_is_a_product_or_a_quotient(request_: str, expression: str) -> None:
    assert rate_sum(request_) == expression


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is 3 times 4?",
        "12 pages a day, 30 days",
        "What do 3 pears cost at 2.40 a kilo?",
        "Is 5 euros a kilo a good price for 3 kilos?",
        "It drips 22 litres a day. How much is that in 3 weeks?",
        "How much are 3 kg at 2 euros a kg, less 5 percent?",
        "We paid 40 euros for 5 kilos. What is that per kilo?",
        "How many minutes do 500 km take at 80 km/h?",
        "How much interest do 900 euros bring at 3% a year in 2 years?",
        "How much do 3 kg at 2 euros a kg cost for two weeks?",
        "What happened on 3 May at 8 km per hour?",
    ],
)
def test_where_the_units_do_not_settle_it_the_model_does(text: str) -> None:
    assert rate_sum(text) is None


def test_beside_a_tool_of_somebody_s_own_nothing_is_forced() -> None:
    request = "What do 3 kg cost at 2 euros a kg?"
    named = intent(request, ["calculator", "remember"])
    assert named is not None
    assert dict(named.arguments) == {"expression": "2 * 3"}
    assert intent(request, ["calculator", "fruit_price"]) is None


@given(st.text(alphabet="12,. akgm/h?$howuch per", max_size=120))
def test_anything_is_read(text: str) -> None:
    rate_sum("how much " + text)


@pytest.mark.parametrize(
    "text", ["how much 1 kg " * 5_000, "1 a " * 90 + "?", "each " + "of a " * 75 + "what"]
)
def test_a_hostile_request_is_read_in_no_time(text: str) -> None:
    began = time.thread_time()
    rate_sum(text)
    assert time.thread_time() - began < 2
