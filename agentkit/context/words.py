"""The words of a text that carry its meaning: lower case, without stop words, lightly stemmed.

Enough for matching a question with sentences of its own language's roots; no dictionary, no language model.
Not covered: languages written without spaces; there a run of letters is one word, and the embedder has to
help.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(
    r"(?=[^\W\d_]*\d)(?=\d*[^\W\d_])[^\W_]+|[^\W\d_]{1,3}-[^\W\d_]{1,4}(?![\w-])|\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[^\W_]+"
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_GROUPS = re.compile(
    r"""(?<![\w.,:])(?:
        \+\d{1,3}(?:[ ]\d{2,})+ | 0\d*(?:[ ]\d{2,})+          # a telephone number
        | \d{3}(?:[ ]\d{3})?[ ](?!(?:19|20)\d\d\b)\d{4}        # one of North America, not a count and a year
        | \d{4}(?:[ ]\d{4}){3} | \d{1,3}(?:[ ]\d{3})+          # a card; thousands, and the number of a chip
    )\b""",
    re.VERBOSE,
)
"""Digits in groups: a telephone or chip number is one number, and a part of it is another. Other neighbours are two."""

STOP_WORDS = frozenset(
    """
    a an the this that these those some any each every no not nor and or but if then else of in on at to from
    by for with about into onto over under up down out off as than so too very just also only own same such
    i me my mine myself we us our ours you your yours he him his she her hers it its they them their theirs
    who whom whose which what when where why how am is are was were be been being do does did doing done
    have has had having will would shall should can could may might must let lets
    there here again once please tell say said know find show give me according
    s t d ll re ve m don didn doesn isn wasn
    """.split()  # noqa: SIM905 - readable
)
"""Words a question needs for its grammar and not for its meaning (English)."""


def terms(text: str) -> list[str]:
    """Return the content words of `text`, stemmed, in order and with repeats."""
    return [stem(word) for word in words(text) if not _is_stop_word(word)]


def _is_stop_word(word: str) -> bool:
    """Say whether a word, or the one it is a short form with, carries no meaning: `i'm`, `you'll`, `wouldn't`."""
    return word in STOP_WORDS or word.endswith("n't") or word.partition("'")[0] in STOP_WORDS


def words(text: str) -> list[str]:
    """Return every word of `text`, folded: lower case, no accents, no possessive."""
    found = _WORD.findall(fold(text).replace("\u2019", "'"))
    return [re.sub(r"'s?$", "", word).replace("-", "") for word in found]  # wi-fi and wifi are one word


def stands_in(phrase: str, text: str) -> bool:
    """Say whether the words of `phrase` stand side by side in `text`; no words stand nowhere."""
    sought, among = words(phrase), words(text)
    starts = range(len(among) - len(sought) + 1)
    return bool(sought) and any(among[start : start + len(sought)] == sought for start in starts)


def name_words(name: str) -> list[str]:
    """Return the words an identifier is made of: `set_hall_heating`, `setHallHeating`."""
    return _NAME_PARTS.findall(name)


def alike(one: str, other: str) -> bool:
    """Say whether two stems are one word in two forms: equal, or long and the same at the start."""
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return one == other or (shared >= 4 and shared >= 0.65 * max(len(one), len(other)))


def numbers(text: str) -> list[str]:
    """Return the numbers of `text` in a canonical spelling: `1,250.00` and `1250` are the same.

    Digits within a word (`K2209`) are part of the word, not a number.
    """
    grouped = _GROUPS.sub(lambda found: found[0].replace(" ", ""), text)
    return [canonical_number(each) for each in _numerals(grouped)]


def respelt(text: str, source: str) -> str:
    """Return `text` with its numbers as `source` spells them: `1800` is `1,800` where that stands there."""
    held = _numerals(source)
    spelt = {canonical_number(each): each for each in reversed(held)}

    def one(found: re.Match[str]) -> str:
        word = found[0]
        if word in held or not _NUMBER.fullmatch(word):
            return word
        return spelt.get(canonical_number(word), word)

    return _WORD.sub(one, text)


def _numerals(text: str) -> list[str]:
    return [each for each in _WORD.findall(text) if _NUMBER.fullmatch(each)]


def canonical_number(text: str) -> str:
    """Return one spelling for equal numbers and times; what is neither (a version) stays as it is."""
    if ":" in text:
        return text.lstrip("0") or text
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    if re.fullmatch(r"\d+\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0"


def fold(text: str) -> str:
    """Return `text` in lower case and without accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def lower(text: str) -> str:
    """Return `text` as it stands in the middle of a sentence."""
    is_kept = re.match(r"[A-Z][A-Z]|I[ ']", text)
    return text if is_kept else text[:1].lower() + text[1:]


def forget_words() -> None:
    """Forget the words whose stems are kept at hand: they are those of questions and documents."""
    stem.cache_clear()


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return `word` without its commonest English endings; a wrong stem that is always the same is no harm.

    Source: the S-stemmer of Harman 1991, with `-ing`, `-ed` and `-ly` for words that stay three letters long.
    """
    if word[:1].isdigit():
        return canonical_number(word)
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        if (
            word.endswith(ending)
            and len(word) - len(ending) >= 3
            and re.search("[aeiouy]", word[: -len(ending)])
        ):
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
