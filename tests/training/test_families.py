"""Tools made of one line each are told of, and asked for, in sentences a person would write."""

from __future__ import annotations

import random
import re

from training.families import entries
from training.phrases import Phrase

ENTRIES = {entry["name"]: entry for _, entry in entries()}


def said(name: str, key: str = "asks") -> set[str]:
    rng, entry = random.Random(1), ENTRIES[name]
    values = {each: each.upper() for each in entry["parameters"]}
    return {Phrase(text).say(rng).fill(values) for text in entry[key] for _ in range(60)}


def test_what_a_verb_is_said_of_stands_behind_it() -> None:
    for name, what in {
        "query_table": "the table TABLE",
        "delete_file": "the file PATH",
        "cancel_order": "order ORDER",
        "resize_picture": "the picture PATH to a width of WIDTH",
    }.items():
        assert all(what in text for key in ("asks", "kept") for text in said(name, key)), name


def test_options_come_first_only_where_the_rest_begins_with_a_preposition() -> None:
    assert any(
        re.search("restaurants serving CUISINE food.* in CITY", text) for text in said("find_restaurants")
    )


def test_a_description_names_what_is_done_and_to_what() -> None:
    for name, entry in ENTRIES.items():
        for about in entry["about"]:
            assert about[0].isupper()
            assert about.endswith(".")
            assert "(give" not in about
            assert "  " not in about, name
    assert "Transfer money." in ENTRIES["transfer_amount_tool"]["about"]


def test_a_rate_says_whether_it_is_in_percent_or_a_fraction() -> None:
    for name, entry in ENTRIES.items():
        for parameter in entry["parameters"].values():
            about = (
                parameter["about"] if isinstance(parameter["about"], str) else " ".join(parameter["about"])
            )
            if parameter["kind"].startswith("percent"):
                assert "percent" in about, name
            if parameter["kind"].startswith("share"):
                assert "fraction" in about, name


def test_inputs_have_the_right_article_and_number() -> None:
    texts = [text for name in ENTRIES if name.startswith("calculate_") for text in said(name)]
    assert texts
    for text in texts:
        assert not re.search(
            r"\ba [aeio](?!ne)|\ban? (hours|years|scores|minutes|coats|passengers|moles)\b", text
        ), text


def test_plural_facts_are_asked_for_in_the_plural() -> None:
    for text in said("get_medicine_side_effects"):
        assert "is the side effects" not in text
        assert "was the side effects" not in text


def test_some_wordings_of_every_tool_are_kept_back() -> None:
    for name, entry in ENTRIES.items():
        assert len(entry["kept"]) >= 2, name
        assert not {*entry["kept"]} & {*entry["asks"]}
        assert not said(name) & said(name, "kept")
