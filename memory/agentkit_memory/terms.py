"""The terms of a text: its words folded, stemmed and hashed, which is all that the lexical arm knows of it.

    word  = a run of letters and digits of the folded text (lower case, no accents and no other marks)
    term  = BLAKE2b-56(stem of the word); in scripts written without spaces, of each two characters that follow another
    entry = term << 8 | how often it occurs, at most 255: 8 bytes, little-endian; the entries of a record are sorted

Not covered: endings of other languages than English; there a word is found in the form it was written in.
Source: the S-stemmer of Harman 1991, with `-ing`, `-ed`, `-ly` and a final `-e`; format in memory/README.md §3.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TERM_LIMIT: Final = 64
"""Terms of a question that are looked for."""
COUNT_BITS: Final = 8
MOST: Final = (1 << COUNT_BITS) - 1
_WORD: Final = re.compile(r"[^\W_]+")
_MARKS: Final = re.compile(r"[^\w\x00-\x7f]")
_VOWEL: Final = re.compile("[aeiouy]")
# Thai, Lao, Khmer, kana, Han: a run of them is not a word.
_UNSPACED: Final = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN: Final = re.compile(f"([{_UNSPACED}]+)|[^{_UNSPACED}]+")
# Half of the words of a text, and none of its meaning.
_STOP_WORDS: Final = """
a about after all also am an and any are as at be because been before being but by can could did do does doing
for from had has have having he her here hers him his how i if in into is it its itself just me more most my
no nor not now of off on once only or other our ours out over own same she should so some such than that the
their theirs them then there these they this those through to too under until up very was we were what when
where which while who whom why will with would you your yours
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())


def pack(text: str) -> bytes:
    """Return the entries of a text."""
    import numpy as np

    counts: dict[int, int] = {}
    for word, times in Counter(_words(text)).items():
        term = _term(word)
        counts[term] = counts.get(term, 0) + times
    entries = np.fromiter(
        (term << COUNT_BITS | min(times, MOST) for term, times in counts.items()), "<u8", len(counts)
    )
    entries.sort()
    return entries.tobytes()


def unpack(entries: bytes) -> NDArray[np.uint64]:
    """Return packed entries as numbers."""
    import numpy as np

    return np.frombuffer(entries, "<u8").astype(np.uint64, copy=False)


def of_question(question: str) -> list[int]:
    """Return the terms of a question that carry meaning, each once; all of them, when it has only stop words."""
    return list(dict.fromkeys(map(_term, asked(question))))[:TERM_LIMIT]


def asked(question: str) -> list[str]:
    """Return the words of a question that carry meaning; all of them, when it has only stop words."""
    every = _words(question)
    return [word for word in every if word not in STOP_WORDS] or list(every)


def occur(wanted: Iterable[str], text: str) -> bool:
    """Whether each of these words occurs in a text, but for the plural; a term does not tell Jan from Jane."""
    said = {form for word in _words(text) for form in _forms(word)}
    return all(not said.isdisjoint(_forms(word)) for word in wanted)


def forget_words() -> None:
    """Drop the words kept for speed."""
    _term.cache_clear()


def _words(text: str) -> Sequence[str]:
    text = text.lower()
    if text.isascii():
        return _WORD.findall(text)
    text = _MARKS.sub(_unmarked, unicodedata.normalize("NFKD", text))
    found: list[str] = []
    for word in _WORD.findall(text):
        for run in _RUN.finditer(word):
            found += _pairs(run[0]) if run[1] else [run[0]]
    return found


def _pairs(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run) - 1)] or [run]


def _unmarked(found: re.Match[str]) -> str:
    return "" if unicodedata.category(found[0]).startswith("M") else " "


@lru_cache(maxsize=1 << 17)
def _term(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(_stem(word).encode(), digest_size=7).digest(), "little")


def _stem(word: str) -> str:
    """Return `word` without its commonest English endings; a wrong stem that is always the same is no harm."""
    if not word.isalpha() or not word.isascii():
        return word
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and _VOWEL.search(root):
            doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
            word = root[:-1] if doubled else root
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _forms(word: str) -> set[str]:
    """Return `word` and what it may be the plural of. Kept nowhere: it may be a word that is being forgotten."""
    found = {word}
    if not word.isalpha() or not word.isascii() or len(word) < 4 or word[-1] != "s" or word[-2] in "us":
        return found
    found.add(word[:-1])
    if word.endswith(("ses", "xes", "zes", "ches", "shes")) or (word.endswith("oes") and len(word) > 5):
        found.add(word[:-2])
    elif word.endswith("ies") and len(word) > 4:
        found.add(word[:-3] + "y")
    return found
