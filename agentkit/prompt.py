"""Every word of ours that a model reads, but for what tools say of themselves and of their results.

Written for very small models: short, positive, one idea a sentence; the question stands last. The system
prompts hold nothing that changes (no clock, no name, no count), so that they stay in the KV cache from turn
to turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentkit.messages import Evidence

ASSISTANT = "You are a helpful assistant. Answer in one or two short sentences."
"""The system prompt of a conversation."""

GROUNDED = "Read the text and answer the question. Use only words and numbers of the text."
"""The system prompt of `ask`."""

NOT_SAID = "The text does not say."
"""What a trained model answers to a question that the text leaves open."""

UNABLE = "I have no tool for that."
"""What a trained model answers where none of the tools it is shown helps."""

ASKING_BACK = ("I still need to know: ", "Please tell me: ")
"""How a question begins for what a call needs and the request leaves out; the first is the one we ask."""

DENIED = "error: this call was not allowed"
"""The result of a denied call; it says nothing of the policy, so that the model cannot argue with it."""

NOT_RUN = "(not run)"
"""The answer to a request for a call that was denied; the event before it says why."""

CUT_OFF = "(stopped)"
"""Closes a turn that was cancelled or cut off."""

NOTED = "I have noted that in this conversation."
"""The answer to a statement that wants nothing."""

NOTED_KEEPS = f'{NOTED} To have it kept for later, say "remember that ...".'
"""The same where there is a tool that remembers."""

_MOST_NAMED = 6
"""So many words of which the user should have said one are named to him."""

_BEFORE_PASSAGES = "Passages from my documents:\n\n"
_BEFORE_WORDS = "\n\nQuestion: "


def question(text: str, passages: Sequence[Evidence] = ()) -> str:
    """Return the user's words with numbered passages before them; without passages, just the words."""
    if not passages:
        return text
    blocks = [f"[{number}] {_heading(each)}\n{each.quote}" for number, each in enumerate(passages, start=1)]
    return _BEFORE_PASSAGES + "\n\n".join(blocks) + _BEFORE_WORDS + text


def unquestioned(text: str) -> tuple[str, str]:
    """Return the passages of a message that `question` wrote, and the user's words in it."""
    passages, mark, words = text.rpartition(_BEFORE_WORDS)
    return (passages, words) if mark and text.startswith(_BEFORE_PASSAGES) else ("", text)


def grounded(text: str, passages: Sequence[Evidence] = ()) -> str:
    """Return the question of `ask`: the sentence that should hold the answer, then the question."""
    if not passages:
        return text
    return "Text: " + " ".join(each.quote for each in passages) + f"\n\nAnswer from the text: {text}"


def still_needed(subjects: Sequence[str]) -> str:
    """Return the question for what a call needs: `I still need to know: day; place.`."""
    return f"{ASKING_BACK[0]}{'; '.join(subjects)}."


def not_done(orders: Sequence[str]) -> str:
    """Return what is said of orders that were not carried out: `I did not do this: send a mail to Ole.`."""
    return f"I did not do this: {'; '.join(each.rstrip(' .,;!') for each in orders)}."


def declined(order: str) -> str:
    """Return what is said where nothing is done, since no tool does what is wanted first: `I have no tool for: ...`."""
    return f"I have no tool for: {order.rstrip(' .,;!')}. I did nothing; please ask for the rest by itself."


def abilities(does: Mapping[str, str]) -> str:
    """Return what an assistant says that it can do, by what each of its tools does."""
    lines = (f"- {name}: {what}" if what else f"- {name}" for name, what in does.items())
    return "\n".join(
        ("I answer from your documents and from what you tell me, and these are my tools:", *lines)
    )


def which_of(labels: Sequence[str]) -> str:
    """Return what is missing where tools are alike but for these words: `which one (hall, porch, study)`."""
    named = ", ".join(labels[:_MOST_NAMED])
    return f"which one ({named})" if len(labels) <= _MOST_NAMED else f"which of {len(labels)} ({named}, ...)"


def failed(text: str) -> str:
    """Return a tool's error as the model reads it."""
    return text if text.startswith("error:") else f"error: {text}"


def unknown_tool(name: str) -> str:
    """Return the result of a call to a tool that is not there."""
    return f"error: there is no tool named {name}"


def refused(reason: str) -> str:
    """Return the result of a call that its tool does not take, for the model to write it again."""
    return f"error: the call is invalid, {reason}. Call again with valid arguments."


def as_json(form: str) -> str:
    """Return the request to say the last answer once more, in a form for programs."""
    return f"Write your answer as JSON with these fields, and nothing else.\n{form}"


def as_json_again(reason: str) -> str:
    """Return the request to write the JSON once more."""
    return f"That is wrong: {reason}. Write the JSON again."


def stopped(reason: str) -> str:
    """Return what stands in the transcript where a limit ended the turn."""
    return f"(stopped: {reason.replace('_', ' ')})"


def _heading(passage: Evidence) -> str:
    name = passage.source.rsplit("/", 1)[-1]
    return f"{name}, {passage.place}" if passage.place else name
