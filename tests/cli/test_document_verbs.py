"""The verbs over documents, memories and tools: what is sent, what is shown, and the JSON of each."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import Cancelled
from tests.agentkit.models.gguf_writer import tiny_gguf

RECORD = {
    "id": "babbd3c6aa", "text": "The boiler\x1b[31m was serviced.", "source": "/notes/boiler.md", "kind": "document",
    "place": "lines 1-2", "title": "", "origin": "document", "privacy": "private", "created": 1795222802.0,
}  # fmt: skip
HITS = {"hits": [{"record": RECORD, "score": 0.91, "dense": 0.5, "lexical": 2.0}]}
SUMMARY = {
    "path": "/notes",
    "indexed": 2,
    "unchanged": 1,
    "removed": 0,
    "renamed": 0,
    "skipped": 1,
    "seconds": 0.5,
}


def indexing(request: dict[str, Any], session: Any) -> dict[str, Any]:
    session.emit({"type": "Progress", "done": 1, "total": 3, "path": "/notes/a.md"})
    session.emit({"type": "FileSkipped", "path": "/notes/big.bin", "reason": "not a text"})
    session.emit({"type": "FileIndexed", "path": "/notes/a.md", "chunks": 2, "seconds": 0.1})
    session.emit({"type": "IndexFinished", **SUMMARY})
    if request["watch"]:
        session.emit({"type": "Watching", "path": "/notes", "mode": "inotify"})
        raise Cancelled("stopped")
    return SUMMARY


def test_index_sends_the_whole_path_and_says_what_was_left_out(
    core: Any, run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    core.answers["index"] = indexing
    monkeypatch.chdir(tmp_path)
    ended = run("index", "notes")
    assert ended.code == 0
    assert core.asked_for("index")["path"] == str(tmp_path / "notes")
    assert ended.out == "/notes: 2 indexed, 1 unchanged, 1 skipped in 0.5 s\n"
    assert "left out /notes/big.bin: not a text" in ended.err


def test_index_json_is_one_document(core: Any, run: Any) -> None:
    core.answers["index"] = indexing
    said = json.loads(run("index", "/notes", "--json").out)
    assert said["indexed"] == 2
    assert said["skipped_files"] == [{"path": "/notes/big.bin", "reason": "not a text"}]


def test_watch_shows_changes_as_they_happen_and_json_lines(core: Any, run: Any) -> None:
    core.answers["index"] = indexing
    ended = run("index", "/notes", "--watch")
    assert ended.code == 130
    assert ended.out == "read /notes/a.md\n"
    assert "watching /notes by inotify" in ended.err
    lines = [json.loads(line) for line in run("index", "/notes", "--watch", "--json").out.splitlines()]
    assert [each["type"] for each in lines][-1] == "Watching"


def test_folders_and_unindex(core: Any, run: Any) -> None:
    core.answers["folders"] = {
        "folders": [{"path": "/notes", "files": 2, "chunks": 5, "skipped": {"/notes/x": "y"}}]
    }
    core.answers["unindex"] = {"path": "/notes", "forgotten": 5}
    assert run("folders").out == "/notes\t2\t5\t1\n"
    assert json.loads(run("folders", "--json").out)["folders"][0]["chunks"] == 5
    assert run("unindex", "/notes").out == "forgot 5 passages of /notes\n"
    core.answers["unindex"] |= {"derived": 2, "messages": 3, "probes": 9, "pages_scanned": 40, "proven": True}
    assert run("unindex", "/notes").out == (
        "forgot 5 passages of /notes and 2 facts or rounds made from them, and the words of 3 messages; "
        "9 pieces of it looked for in 40 pages, none found\n"
    )


def test_search_shows_the_place_and_no_escape_sequence(core: Any, run: Any) -> None:
    core.answers["search"] = HITS
    ended = run("search", "boiler", "service", "-k", "3", "--kind", "document", "--under", "/notes")
    assert ended.out == "/notes/boiler.md, lines 1-2  (0.91)\n    The boiler was serviced.\n"
    asked = core.asked_for("search")
    assert (asked["text"], asked["k"], asked["kinds"]) == ("boiler service", 3, ["document"])
    assert asked["under"] == "/notes"
    assert (asked["since"], asked["until"], asked["origins"], asked["privacies"]) == (None, None, [], [])
    run(
        "search", "boiler", "--since", "2026-03-01", "--until", "2026-04-01T12:30:00", "--origin", "user",
        "--origin", "model", "--privacy", "secret",
    )  # fmt: skip
    asked = core.asked_for("search")
    assert asked["since"] == datetime(2026, 3, 1).timestamp()  # noqa: DTZ001 - local time is meant
    assert asked["until"] == datetime(2026, 4, 1, 12, 30).timestamp()  # noqa: DTZ001
    assert (asked["origins"], asked["privacies"]) == (["user", "model"], ["secret"])
    assert run("search", "boiler", "--origin", "nobody").code == 2
    raw = run("search", "boiler", "--json").out
    assert "\x1b" not in raw
    assert json.loads(raw) == HITS


def test_search_that_finds_nothing_says_so(core: Any, run: Any) -> None:
    core.answers["search"] = {"hits": []}
    ended = run("search", "x")
    assert (ended.code, ended.out, ended.err) == (0, "", "nothing found\n")


def test_memory_verbs(core: Any, run: Any) -> None:
    memory = {**RECORD, "kind": "memory", "origin": "user", "text": "I like plums"}
    core.answers |= {
        "remember": {"id": "babbd3c6aa"},
        "records": {"total": 3, "records": [memory]},
        "search": {"hits": [{"record": memory, "score": 1.0, "dense": 1.0, "lexical": 1.0}]},
        "forget": {"forgotten": 1},
        "unindex": {"path": "/x", "forgotten": 5},
        "forget_conversation": {"found": True},
        "conversations": {
            "conversations": [
                {"id": "work", "messages": 4, "created": 0.0, "updated": 0.0, "opening": "Hello"}
            ]
        },
        "conversation": {"messages": [{"role": "user", "text": "Hello"}]},
    }
    assert run("memory", "add", "I", "like", "plums").out == "remembered as babbd3c6\n"
    assert core.asked_for("remember")["text"] == "I like plums"
    listed = run("memory", "list")
    assert listed.out.startswith("babbd3c6\t")
    assert listed.out.endswith("\tuser\tI like plums\n")
    assert "2 more" in listed.err
    assert "I like plums" in run("memory", "search", "fruit").out
    assert core.asked_for("search")["kinds"] == ["memory", "round"]
    assert run("memory", "forget", "babb").out == "forgot 1\n"
    assert run("memory", "forget", "-c", "work").out == "forgot the conversation work\n"
    core.answers["forget_conversation"] = {"found": False}
    mistyped = run("memory", "forget", "-c", "wrok")
    assert (mistyped.code, mistyped.out) == (3, "")
    assert "there is no such conversation" in mistyped.err
    assert run("memory", "conversations").out.startswith("work\t4\t")
    assert run("memory", "conversations", "work").out == "user:\n    Hello\n"
    for source, whole in (
        ("notes/tax/", str(Path.cwd() / "notes/tax")),
        ("~/tax", str(Path.home() / "tax")),
        ("/home/me/../you/tax.md", "/home/you/tax.md"),
    ):
        assert run("memory", "forget", "--source", source).out == "forgot 1\n"
        assert core.asked_for("forget")["under"] == whole
        assert run("unindex", source).code == run("search", "x", "--under", source).code == 0
        assert core.asked_for("unindex")["path"] == core.asked_for("search")["under"] == whole
    for verb in (["list"], ["search", "x"], ["add", "x"], ["forget", "babb"], ["conversations"]):
        assert json.loads(run("memory", *verb, "--json").out)


def test_memory_is_shown_edited_and_reembedded(core: Any, run: Any) -> None:
    said = {**RECORD, "kind": "round", "source": "work", "title": "2026-11-20 Friday", "sources": ["a" * 32]}

    def reembedding(request: dict[str, Any], session: Any) -> dict[str, Any]:
        session.emit({"type": "Progress", "done": 1, "total": 2})
        return {"embedder": "minilm-l6-v2", "reembedded": 2 if request["again"] else 0}

    core.answers |= {
        "record": {"record": said}, "rewrite": {"id": "babbd3c6aa"}, "reembed": reembedding,
        "records": {"total": 1, "records": [said]},
    }  # fmt: skip
    shown = run("memory", "show", "babb")
    assert shown.out == "The boiler was serviced.\n"
    assert "document, private, made from 1 records" in shown.err
    assert "from work\nkeys 2026-11-20 Friday\n" in shown.err
    assert run("memory", "edit", "babb", "another", "text").out == "changed babbd3c6\n"
    assert core.asked_for("rewrite")["text"] == "another text"
    run("memory", "edit", "babb", "-", stdin="many\nlines")
    assert core.asked_for("rewrite")["text"] == "many\nlines"
    assert run("memory", "reembed").out == "every vector is of minilm-l6-v2 already\n"
    assert json.loads(run("memory", "reembed", "--again", "--json").out)["reembedded"] == 2
    run("memory", "list", "-c", "work")
    assert (core.asked_for("records")["kinds"], core.asked_for("records")["source"]) == (["round"], "work")
    assert run("memory", "list", "--kind", "chunk").code == 2
    assert run("memory", "delete", "--help").code == 0


def test_tools_shows_what_the_policy_says(core: Any, run: Any, tmp_path: Path) -> None:
    core.answers["tools"] = {
        "tools": [
            {
                "name": "write_file",
                "description": "Write.",
                "capabilities": ["write_files"],
                "decision": "ask",
                "reason": "",
            }
        ],
        "sandbox": {"tier": "landlock", "reason": "bwrap is not installed"},
        "workspace": "/home/ida/workspace",
    }
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    ended = run("tools", "list", "--policy", str(policy))
    assert ended.out == "write_file\twrite_files\task\tWrite.\n"
    assert "landlock: bwrap is not installed" in ended.err
    assert "workspace: /home/ida/workspace" in ended.err
    assert core.asked_for("tools")["policy"] == str(policy)
    assert json.loads(run("tools", "list", "--json").out)["tools"][0]["decision"] == "ask"


@pytest.mark.parametrize("verb", [["list"], ["verify", "nothing"], ["show", "nothing"], ["rm", "nothing"]])
def test_models_verbs_need_no_core(
    verb: list[str], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path))
    ended = run("models", *verb, "--json")
    if verb == ["list"]:
        assert {each["name"] for each in json.loads(ended.out)["catalogue"]} == {
            "smollm2-135m",
            "minilm-l6-v2",
        }
    else:
        assert ended.code == 3
        assert "not in the store" in ended.err


def test_show_says_how_a_model_writes_calls_and_why(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "store"))
    template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}"
        "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}{% endfor %}"
    )
    (tmp_path / "model.gguf").write_bytes(tiny_gguf(template=template).file())
    assert run("models", "import", str(tmp_path / "model.gguf"), "--name", "tiny").code == 0
    said = json.loads(run("models", "show", "tiny", "--json").out)["tool_calls"]
    assert (said["format"], said["because"]) == ("hermes", "the template writes calls so")
    assert "tool calls format\thermes\n" in run("models", "show", "tiny").out
    assert run("models", "levers", "tiny", "--tool-format", "llama3").code == 0
    said = json.loads(run("models", "show", "tiny", "--json").out)["tool_calls"]
    assert (said["format"], said["because"]) == ("llama3", "it was asked for")


def test_a_truncated_model_is_refused(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "store"))
    file = tmp_path / "bad.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    ended = run("models", "import", str(file))
    assert ended.code == 5
    assert not list((tmp_path / "store").glob("*/manifest.json"))


def test_models_of_other_programs_are_offered(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    assert json.loads(run("models", "found", "--json").out) == {"found": []}
    assert run("models", "found").err == "no program here keeps any\n"
