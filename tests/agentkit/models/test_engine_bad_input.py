"""Malformed model files, hostile templates and impossible settings through the whole engine: a typed error each."""

from __future__ import annotations

import json
import os
import random
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentkit.errors import AgentkitError, ConfigError, ContextOverflowError, EngineError, ModelError
from agentkit.labels import Labels
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import AUTO, Sampling, ToolChoice, finish
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.gpu import GpuUse
from agentkit.spawn import LocalSpawner
from tests.agentkit.models.test_choose import LIES

DATA = Path(os.environ.get("AGENTKIT_DATA") or Path(__file__).parents[4] / "shared/data")
CORPUS = DATA / "gguf_malformed"
HOSTILE: dict[str, str] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "hostile_templates.json").read_text(encoding="utf-8")
)
TALKS = {"backdoor_trigger", "backdoor_system", "role_confusion", "drop_system"}
"""These templates only say things, as a template may; their models run."""
_ROLES = "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
LYING = {
    **{name: ("generic", template) for name, template in LIES.items()},
    "says phi4, writes the calls of llama3": (
        "llama3",
        "{# <|tool|> #}"
        + _ROLES
        + "{% for c in m.tool_calls or [] %}"
        + """{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}"""
        + "{% endfor %}{% endfor %}",
    ),
    "says lfm2, writes no calls": ("lfm2", "{# <|tool_list_start|> #}" + _ROLES + "{% endfor %}"),
}
"""What a template is taken for, and the template; in a model that is of neither family."""
QUICK_CASES = 12
GIB_IN_KIB = 1 << 20
QUESTION = [Message.user("Tell me about a fox.")]


def cases() -> list[dict[str, str]]:
    path = CORPUS / "manifest.json"
    if not path.is_file():
        pytest.skip("gguf_malformed is not in ../shared/data; AGENTKIT_DATA says where it is")
    manifest: list[dict[str, str]] = json.loads(path.read_text())
    return manifest


def try_all(chosen: list[dict[str, str]]) -> list[str]:
    """Load each; return what went otherwise than the manifest says, or by anything but a typed error."""
    wrong, verdicts = [], Counter[str]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in chosen:
        path = CORPUS / "files" / f"{case['name']}.gguf"
        try:
            read_header(path)
            header = "parse"
        except ModelError:
            header = "reject"
        engine = Engine(path, LocalSpawner())
        try:
            engine.describe()
            verdict = "loaded"
        except AgentkitError as error:
            verdict = "refused" if isinstance(error, (ModelError, EngineError)) else type(error).__name__
        finally:
            engine.close()
        verdicts[f"header: {header}, engine: {verdict}"] += 1
        if case["must"] in ("reject", "parse") and header != case["must"]:
            wrong.append(f"{case['name']}: header: {header}")
        if verdict not in ("refused", "LimitError") and (case["must"] == "reject" or verdict != "loaded"):
            wrong.append(f"{case['name']}: {verdict}")
    print(f"\n{len(chosen)} files: {dict(verdicts)}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIB_IN_KIB
    return wrong


@pytest.mark.slow
def test_some_malformed_models_are_refused() -> None:
    accepted = [case for case in cases() if case["must"] == "parse"]
    assert try_all([*random.Random(1).sample(cases(), QUICK_CASES), *accepted[:4]]) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_malformed_models_are_refused() -> None:
    assert len(cases()) == 171
    assert try_all(cases()) == []


def with_template(source: Path, target: Path, template: str) -> Path:
    """Write a model whose chat template is another one, of the same length."""
    raw = bytearray(source.read_bytes())
    key = b"tokenizer.chat_template"
    at = raw.index(key) + len(key) + 4
    room = int.from_bytes(raw[at : at + 8], "little")
    if len(template.encode()) > room:
        pytest.skip(f"the template is longer than the {room} bytes of the one it would replace")
    raw[at + 8 : at + 8 + room] = template.encode().ljust(room)
    target.write_bytes(raw)
    return target


def try_template(smollm2_path: Path, folder: Path, name: str) -> None:
    """Run a model with a hostile template: it answers if the template only talks, and is refused otherwise."""
    engine = Engine(with_template(smollm2_path, folder / "model.gguf", HOSTILE[name]), LocalSpawner())
    try:
        if name in TALKS:
            assert list(engine.complete(QUESTION, sampling=Sampling(max_tokens=2)))
        else:
            with pytest.raises(ModelError, match="template"):
                engine.describe()
    finally:
        engine.close()
        (folder / "model.gguf").unlink()
    assert not list(folder.iterdir())


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssti_subclasses", "dos_nested_loops", "role_confusion"])
def test_a_model_with_a_hostile_template_is_refused_or_only_talks(
    smollm2_path: Path, tmp_path: Path, name: str
) -> None:
    try_template(smollm2_path, tmp_path, name)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", LYING)
def test_a_model_whose_template_lies_about_its_family_makes_valid_calls(
    smollm2_path: Path, tmp_path: Path, tools: tuple[ToolSpec, ...], name: str
) -> None:
    family, template = LYING[name]
    path = with_template(smollm2_path, tmp_path / "model.gguf", template)
    engine = Engine(path, LocalSpawner(), context_tokens=1024)
    parameters = {tool.name: tool.parameters for tool in tools}
    try:
        assert engine.describe()["tool_format"] == family
        choice, sampling = ToolChoice.named("get_weather"), Sampling(max_tokens=150)
        asked = finish(engine.complete(QUESTION, tools=tools, choice=choice, sampling=sampling))
        assert [call.name for call in asked.calls] == ["get_weather"]
        results = [Message.tool(call, "It rains.", Labels()) for call in asked.calls]
        said = [*QUESTION, Message.assistant("", Labels(), asked.calls), *results]
        after = finish(engine.complete(said, tools=tools, choice=AUTO, sampling=sampling))
        assert after.text or after.calls or after.refused
        for call in (*asked.calls, *after.calls):
            jsonschema.validate(call.arguments, parameters[call.name])
    finally:
        engine.close()
        path.unlink()


@pytest.mark.model
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_each_hostile_template_is_refused_or_only_talks(
    smollm2_path: Path, tmp_path: Path, name: str
) -> None:
    try_template(smollm2_path, tmp_path, name)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"threads": 0}, "threads is 0, outside 1 to 1024"),
        ({"threads": 1025}, "threads"),
        ({"threads": 2.5}, "threads is 2.5"),
        ({"threads": True}, "threads"),
        ({"batch_tokens": 31}, "batch_tokens is 31, outside 32 to 8192"),
        ({"batch_tokens": 10**9}, "batch_tokens"),
        ({"context_tokens": 0}, "context_tokens"),
        ({"context_tokens": -1}, "context_tokens"),
        ({"context_tokens": 1 << 40}, "context_tokens"),
        ({"context_tokens": "many"}, "context_tokens is of type str"),
        ({"cache_tokens": 0}, "cache_tokens"),
        ({"cache_tokens": 1 << 40}, "cache_tokens"),
        ({"streams": 0}, "streams"),
        ({"streams": 65}, "streams"),
        ({"k_type": "q4_0"}, "keys cannot be kept"),
        ({"v_type": "q8_0", "flash_attention": False}, "flash attention"),
        ({"window": "forget"}, "window mode"),
        ({"gpu": GpuUse(-1)}, "layers for the graphics card"),
        ({"constraint": "regex"}, "constraint"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_before_anything_starts(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        Engine(tmp_path / "never-opened.gguf", LocalSpawner(), **settings)


@pytest.mark.model
@pytest.mark.slow
def test_a_cache_smaller_than_the_window_is_refused(smollm2_path: Path) -> None:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024, cache_tokens=512)
    with pytest.raises(ConfigError, match="cache of 512 tokens does not hold a window of 1024"):
        engine.describe()
    engine.close()


@pytest.mark.model
@pytest.mark.slow
def test_a_prompt_longer_than_the_window_is_refused_and_the_next_is_served(engine: Engine) -> None:
    for prompt in ("word " * 2000, "x" * 400_000):
        with pytest.raises(ContextOverflowError, match="but the window holds 1024"):
            list(engine.complete([Message.user(prompt)], sampling=Sampling(max_tokens=4)))
        assert list(engine.complete(QUESTION, sampling=Sampling(max_tokens=2)))
