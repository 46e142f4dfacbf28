"""The rule, as a table: what a tool can do, what the model has read, what the user said, and the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit_tools import Policy, PolicyError, Tool, Verdict

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
CLEAN = frozenset({"system", "user", "model"})
READ_DOCUMENT = CLEAN | {"document"}
READ_TOOL = CLEAN | {"tool"}

FILE = """
[tools.writer]
decision = "allow"
[tools.reader]
decision = "deny"
[capabilities]
write_memory = "allow"
execute = "deny"
"""


def named(name: str, *capabilities: str) -> Tool:
    return Tool(name, "x", NOTHING, frozenset(capabilities))


def verdict(policy: Policy, called: Tool, read: frozenset[str] = CLEAN) -> Verdict:
    ruling = policy.rule(called, {}, read_origins=read)
    assert called.name in ruling.reason or "yes" in ruling.reason
    return ruling.verdict


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ((), ALLOW), (("read_files",), ALLOW), (("read_memory",), ALLOW), (("write_files",), ASK),
        (("execute",), ASK), (("write_memory",), ASK), (("read_files", "execute"), ASK),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [CLEAN, READ_DOCUMENT, READ_TOOL])
def test_by_default_reading_is_allowed_and_changing_asks(
    capabilities: tuple[str, ...], expected: Verdict, read: frozenset[str]
) -> None:
    assert verdict(Policy.default(), named("x", *capabilities), read) is expected


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """Return the policy of `FILE`."""
    path = tmp_path / "policy.toml"
    path.write_text(FILE)
    return Policy.load(path)


def test_an_entry_for_the_tool_goes_before_all_else(policy: Policy) -> None:
    for read in (CLEAN, READ_DOCUMENT, READ_TOOL):
        assert verdict(policy, named("writer", "write_files", "execute"), read) is ALLOW
        assert verdict(policy, named("reader", "read_files"), read) is DENY


@pytest.mark.parametrize("read", [READ_DOCUMENT, READ_TOOL])
def test_after_untrusted_text_a_default_never_allows_a_change(policy: Policy, read: frozenset[str]) -> None:
    keeper = named("keeper", "write_memory")
    assert verdict(policy, keeper, CLEAN) is ALLOW
    assert verdict(policy, keeper, read) is ASK
    assert verdict(policy, named("looker", "read_memory"), read) is ALLOW


def test_the_strictest_capability_decides(policy: Policy) -> None:
    assert verdict(policy, named("x", "write_memory", "execute")) is DENY
    assert verdict(policy, named("x", "write_memory", "write_files")) is ASK


def test_yes_asks_nothing_and_leaves_denials(policy: Policy) -> None:
    assert verdict(Policy.yes(), named("x", "execute"), READ_DOCUMENT) is ALLOW
    assert verdict(Policy.yes(policy), named("x", "execute"), READ_DOCUMENT) is DENY
    assert verdict(Policy.yes(policy), named("reader", "read_files")) is DENY
    assert verdict(Policy.yes(policy), named("keeper", "write_memory"), READ_TOOL) is ALLOW


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[tools.x]\ndecision = 'maybe'", "allow, ask or deny"),
        ("[tools.x]\nverdict = 'allow'", "one key, decision"),
        ("[tools]\nx = 'allow'", "one key, decision"),
        ("[capabilities]\nfly = 'allow'", "unknown capability 'fly'"),
        ("[capability]\nexecute = 'allow'", "unknown table 'capability'"),
        ("capabilities = 1", "not a table"),
        ("[tools", "not TOML"),
        ("#" * 70_000, "over the limit"),
    ],
)
def test_a_file_that_is_no_policy_allows_nothing(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(content)
    with pytest.raises(PolicyError, match=problem):
        Policy.load(path)


def test_what_is_no_plain_file_allows_nothing() -> None:
    with pytest.raises(PolicyError, match="no plain file"):
        Policy.load(Path("/dev/null"))  # as the core sees /dev/stdin


def test_an_entry_that_is_all_but_the_name_of_a_tool_is_refused_and_that_of_an_absent_tool_is_not() -> None:
    Policy({"my_own_tool": DENY, "run_shell": DENY}).check_names(["run_shell", "run_python"])
    with pytest.raises(PolicyError, match="an entry for run_shel,") as caught:
        Policy({"run_shel": DENY}).check_names(["run_shell", "run_python"])
    assert caught.value.hint == "[tools.run_shell]"


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "policy.toml")
