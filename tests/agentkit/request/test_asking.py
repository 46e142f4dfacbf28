"""What sort of question a request is, and what a later one leans on."""

from __future__ import annotations

import pytest

from agentkit.labels import Labels
from agentkit.messages import Message
from agentkit.request.asking import (
    asks,
    asks_of_own,
    asks_of_today,
    asks_what_it_can,
    contents,
    orders_a_change,
    owned,
    question_in,
    states,
    tells_of_self,
    topic,
)
from agentkit.request.followup import CONVERSATION, about, told


@pytest.mark.parametrize(
    ("request_", "asked", "own"),
    [
        ("Who is my dentist?", True, True),
        ("please tell me where our passports are", True, True),
        ("In which folder is the lease", True, False),
        ("What should I do with my life?", True, False),
        ("Who should I call when the boiler fails?", True, True),
        ("What is the phone number of the vet?", True, True),
        ("Who called the plumber?", True, False),
        ("What regex matches a phone number?", True, False),
        ("What makes a good e-mail address?", True, False),
        ("How do I mend my bicycle?", True, False),
        ("Write to my landlord", False, False),
        ("Remember that my dentist is Dr. Aksoy.", False, False),
        ("May 5th is our anniversary", False, False),
        ("Will Smith", False, False),
        ("Will it rain", True, False),
        ("", False, False),
    ],
)
def test_a_question_and_one_about_what_is_the_users_own(request_: str, asked: bool, own: bool) -> None:
    assert (asks(request_), asks_of_own(request_)) == (asked, own)


@pytest.mark.parametrize(
    ("request_", "question"),
    [
        ("How long is the quay?", "How long is the quay?"),
        ("Since when is the light out? It's in harbour.txt.", "Since when is the light out?"),
        ("Read harbour.txt and tell me how long the quay is", "tell me how long the quay is"),
        ("harbour.txt: how long is the quay", "how long is the quay"),
        ("In harbour.txt, who repairs the light. Thanks!", "who repairs the light."),
        ("Is it open? What does it cost?", "Is it open?"),
        ("The light has been out since Sunday?", "The light has been out since Sunday?"),
        ("Read harbour.txt.", ""),
        ("Can you read harbour.txt and send a mail to Ole?", ""),
        ("Could you read harbour.txt and tell me how long the quay is?", "tell me how long the quay is"),
        ("Can you tell me how long the quay is?", "Can you tell me how long the quay is?"),
        ("Show me harbour.txt and the log", ""),
        ("", ""),
    ],
)
def test_the_question_in_a_request(request_: str, question: str) -> None:
    assert question_in(request_) == question


@pytest.mark.parametrize(
    ("request_", "about"),
    [
        ("what's in my notes about Porto?", "Porto"),
        ("What do my documents say about the boiler", "the boiler"),
        ("Which of my notes mention the dentist?", "the dentist"),
        ("Is there anything about swimming in my notes?", "swimming"),
        ("Please find my notes on the boiler.", "the boiler"),
        ("Summarise the lease", "the lease"),
        ("Can you sum up the minutes of May?", "the minutes of May"),
        ("Who is Mila?", "Who is Mila?"),
        ("Who is the landlady?", ""),
        ("Who is Mila's teacher in class 2a, and when can she be reached by telephone?", ""),
        ("What is the date on my papers?", ""),
        ("In which of my notes is Ingrid?", "Ingrid"),
        ("What papers are needed for a passport?", ""),
        ("Is there anything to eat?", ""),
        ("Summarise it", ""),
        ("Summarise this text: The cat sat on the mat.", ""),
        ("Summarise what we said", ""),
        ("Is there anything on TV tonight?", ""),
        ("What documents do I need for a visa on arrival?", ""),
        ("What papers are needed on the day of the wedding?", ""),
        ("What do I have in my notes about Porto?", "Porto"),
        ("Find the nearest bakery", ""),
        ("", ""),
    ],
)
def test_what_is_written_about_something_is_asked_for(request_: str, about: str) -> None:
    assert topic(request_) == about


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("what is my dog called?", "dog"),
        ("What is our household insurance policy number?", "household insurance policy"),
        ("What is the rent?", ""),
    ],
)
def test_what_a_question_says_is_the_users_own(request_: str, words: str) -> None:
    assert owned(request_) == words


@pytest.mark.parametrize(
    ("question", "earlier", "words"),
    [
        ("And how much did it cost?", ["Hello", "When was the dishwasher bought?"], "dishwasher bought"),
        ("Is it still under warranty?", ["Where is the drill?", "What did it cost?"], "drill cost"),
        ("How much was that?", ["We had the boiler inspected."], "boiler inspected"),
        ("How much is the rent?", ["Where is the drill?"], ""),
        ("What did it cost?", [], ""),
    ],
)
def test_a_question_that_points_back_carries_the_words_it_points_to(
    question: str, earlier: list[str], words: str
) -> None:
    assert about(question, earlier) == words


def test_what_the_user_told_is_a_passage_and_what_was_asked_or_answered_is_not() -> None:
    messages = [
        Message.user("My cat is called Tux."),
        Message.assistant("I see.", Labels()),
        Message.user("When was the drill bought?"),
        Message.user("And the dog is called Max."),
    ]
    found = told(messages)
    assert [(each.quote, each.source) for each in found] == [
        ("And the dog is called Max.", CONVERSATION),
        ("My cat is called Tux.", CONVERSATION),
    ]
    assert len({each.record_id for each in found}) == 2


@pytest.mark.parametrize(
    ("request_", "tells"),
    [
        ("I forgot my PIN", True),
        ("Well, I need the number of my locker", True),
        ("I can't remember where the key is", True),
        ("I'm at the door without the code", True),
        ("I need you to call the bank", False),
        ("I want a table for two", False),
        ("I'd like to book a room", False),
        ("Change my PIN", False),
        ("Iceland has my address", False),
    ],
)
def test_what_a_speaker_says_of_himself_is_told_from_what_is_to_be_done(request_: str, tells: bool) -> None:
    assert tells_of_self(request_) is tells


@pytest.mark.parametrize(
    ("request_", "stated"),
    [
        ("my sister Anna lives in Bergen", True),
        ("I have two cats.", True),
        ("I'm allergic to nuts", True),
        ("Hi, our boiler is from 2011.", True),
        ("I have to go", False),
        ("I have a quick question", False),
        ("I have a flight at 9, wake me at 7", False),
        ("My screen is broken. Please order another", False),
        ("My sister is called what?", False),
        ("I want to have cats", False),
        ("My files", False),
        ("My boiler is broken, who do I call", False),
        ("My laptop is broken how do I fix it", False),
        ("I live in Oslo, where can I swim", False),
        ("My flight is tomorrow wake me at 7", False),
        ("Write to my sister", False),
        ("", False),
    ],
)
def test_a_statement_that_wants_nothing(request_: str, stated: bool) -> None:
    assert states(request_) is stated


@pytest.mark.parametrize(
    ("request_", "changes"),
    [
        ("Delete notes.txt", True),
        ("Could you please rename the folder?", True),
        ("Hi! Please send a mail to Anna", True),
        ("Turn off the radio", True),
        ("Book me a table for two", True),
        ("buy walnuts", True),
        ("Remind me to call Anna tomorrow", True),
        ("Set a timer for 10 minutes", True),
        ("Remind me what I said of Anna", False),
        ("Remind me when the rent is due", False),
        ("remind me in which folder the lease is", False),
        ("Remind me at 9 to call Anna", True),
        ("Delete the duplicates from this list: a, b, a", False),
        ("Run it in Python: delete the first line", False),
        ("Send a short greeting in Spanish", False),
        ("Send a message to the landlady", True),
        ("Order the numbers 3, 1, 2", False),
        ("Order a pizza", True),
        ("Book A103: who borrowed it?", False),
        ("Set the table", False),
        ("Send me the opening hours", False),
        ("Book club is on Tuesday", False),
        ("Mail from Anna?", False),
        ("Order of the speakers", False),
        ("Turn left at the crossing", False),
        ("Why did they delete the file?", False),
        ("Remember to buy walnuts", False),
        ("Write 'delete this' to a.txt", False),
        ("", False),
    ],
)
def test_an_order_that_nothing_which_reads_can_carry_out(request_: str, changes: bool) -> None:
    assert orders_a_change(request_) is changes


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ("What can you do?", True),
        ("hello, what can you do for me", True),
        ("Which tools do you have?", True),
        ("What tools do you have?", True),
        ("help", True),
        ("Help me with my tax return", False),
        ("What can you do about the noise?", False),
        ("What are you doing on Sunday?", False),
        ("", False),
    ],
)
def test_what_an_assistant_can_do_is_asked(request_: str, asked: bool) -> None:
    assert asks_what_it_can(request_) is asked


@pytest.mark.parametrize(
    ("request_", "of_today"),
    [
        ("What's the weather like in Oslo?", True),
        ("will it be raining on Sunday", True),
        ("How much are 12 euros in dollars?", True),
        ("What did the minutes say about the weather?", False),
        ("How much is the rent in euros?", False),
        ("Weather the storm", False),
        ("What is a weather vane?", False),
        ("What is the plural of news?", False),
        ("What is the forecast in q3.txt?", False),
        ("What is 20 dollars in euros at a rate of 0.9?", False),
        ("What's the latest news?", True),
        ("", False),
    ],
)
def test_what_only_the_network_could_tell(request_: str, of_today: bool) -> None:
    assert asks_of_today(request_) is of_today


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ("What is on my shopping list?", "shopping list"),
        ("Show me the lease", "lease"),
        ("what does the lease say", "lease"),
        ("Read me the packing list, please", ""),
        ("List all birthdays", "birthdays"),
        ("What does the teacher do?", ""),
        ("Show it (now)", ""),
        ("", ""),
    ],
)
def test_what_a_named_text_holds_is_asked_for(request_: str, name: str) -> None:
    assert contents(request_) == name
