"""How keys and values are kept: what does not go together is refused in words, and what does costs what was said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentkit.cli.app import app
from agentkit.errors import ConfigError
from agentkit.messages import Message
from agentkit.models.base import Sampling
from agentkit.models.cache_levers import check_heads
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.ram_need import kv_bytes_per_token
from agentkit.spawn import LocalSpawner


@pytest.mark.parametrize(
    ("levers", "words"),
    [
        ({"k_type": "q4_0"}, "keys cannot be kept as 'q4_0'"),
        ({"v_type": "Q8"}, "values cannot be kept as 'Q8'"),
        ({"window": "slide"}, "no window mode 'slide'"),
        ({"v_type": "q8_0", "flash_attention": False}, "need flash attention"),
        ({"k_type": "q8_0", "window": "shift"}, "lose a little at every shift"),
    ],
)
def test_levers_that_do_not_go_together_are_refused_with_a_way_out(
    levers: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Engine(Path("any.gguf"), LocalSpawner(), **levers)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.model
def test_a_type_whose_blocks_do_not_divide_the_heads_is_refused(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    check_heads(header, "q8_0", "q8_0")
    with pytest.raises(ConfigError, match=r"heads of this model have 80 numbers, and q8_0 packs 32"):
        check_heads(replace(header, key_length=80), "q8_0", "f16")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    ("k_type", "v_type"), [("f16", "f16"), ("q8_0", "f16"), ("f16", "q8_0"), ("q8_0", "q8_0")]
)
def test_a_token_takes_what_was_said_before_the_model_was_loaded(
    smollm2_path: Path, k_type: str, v_type: str
) -> None:
    said = kv_bytes_per_token(read_header(smollm2_path), k_type=k_type, v_type=v_type)
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=512, k_type=k_type, v_type=v_type)
    try:
        loaded = engine.describe()
        assert (loaded["k_type"], loaded["v_type"]) == (k_type, v_type)
        assert loaded["kv_bytes_per_token"] == said
        stream = engine.complete([Message.user("Tell me about a fox.")], sampling=Sampling(max_tokens=8))
        assert "fox" in "".join(stream)
    finally:
        engine.close()


@pytest.mark.model
def test_the_verb_shows_what_a_token_takes(smollm2_path: Path) -> None:
    shown = CliRunner().invoke(app, ["models", "levers", smollm2_path.parent.name])
    assert shown.exit_code == 0
    assert "23,040 bytes a token" in shown.stdout
