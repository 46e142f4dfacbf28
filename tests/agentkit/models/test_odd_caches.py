"""Models whose cache forgets by itself or is no list of tokens: nothing is moved there, and no process ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agentkit.core.kv_store import KvStore
from agentkit.messages import Message
from agentkit.models.base import Sampling, StopReason, finish
from agentkit.models.engine import Engine
from agentkit.spawn import LocalSpawner
from tests.agentkit.models.gguf_writer import GGUFWriter

pytestmark = pytest.mark.slow
WIDTH, HEADS, INNER, BLOCKS, SIZE = 64, 2, 128, 2, 259
SYSTEM = Message.system("abc" * 10)
ENDLESS = Sampling(max_tokens=480, logit_bias=((2, -100.0),), temperature=1.0)
"""As random weights would not end a text, neither does this."""


class Model(GGUFWriter):
    """A model of random weights, small enough to be written in a moment."""

    def __init__(self, architecture: str, *, last_norm: str = "output_norm") -> None:
        super().__init__()
        self._chance = np.random.default_rng(1)
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        self.text("general.architecture", architecture)
        for name, value in (
            ("context_length", 512),
            ("block_count", BLOCKS),
            ("embedding_length", WIDTH),
            ("feed_forward_length", INNER),
            ("attention.head_count", HEADS),
        ):
            self.u32(f"{architecture}.{name}", value)
        self.f32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
        self.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", tokens)
        self.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2)
        self.text(
            "tokenizer.chat_template", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        )
        self.weights("token_embd.weight", WIDTH, SIZE).weights(f"{last_norm}.weight", WIDTH)

    def weights(self, name: str, *shape: int) -> Model:
        """Add a tensor of small random numbers, or of ones where it is a norm."""
        count = int(np.prod(shape))
        numbers = np.ones(count) if "norm" in name else self._chance.normal(0, 0.1, count)
        if name.endswith("ssm_a"):
            numbers = -1 - abs(numbers)  # else its state grows without end
        self.tensor(name, shape, data=numbers.astype("<f4").tobytes())
        return self


def sliding(path: Path) -> Path:
    """Write a model of which every second layer sees 32 tokens only."""
    model = Model("gemma2")
    model.u32("gemma2.attention.head_count_kv", HEADS).u32("gemma2.attention.sliding_window", 32)
    model.u32("gemma2.attention.key_length", WIDTH // HEADS)
    model.u32("gemma2.attention.value_length", WIDTH // HEADS)
    model.f32("gemma2.attn_logit_softcapping", 50.0).f32("gemma2.final_logit_softcapping", 30.0)
    for number in range(BLOCKS):
        block = f"blk.{number}."
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            model.weights(f"{block}{norm}.weight", WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.weights(f"{block}{name}.weight", WIDTH, WIDTH)
        model.weights(f"{block}ffn_gate.weight", WIDTH, INNER).weights(f"{block}ffn_up.weight", WIDTH, INNER)
        model.weights(f"{block}ffn_down.weight", INNER, WIDTH)
    path.write_bytes(model.file())
    return path


def recurrent(path: Path) -> Path:
    """Write a model that keeps one state a sequence, and no keys and values."""
    model, state, rank = Model("mamba"), 16, 4
    for name, value in (
        ("conv_kernel", 4),
        ("inner_size", INNER),
        ("state_size", state),
        ("time_step_rank", rank),
    ):
        model.u32(f"mamba.ssm.{name}", value)
    for number in range(BLOCKS):
        block = f"blk.{number}."
        model.weights(f"{block}attn_norm.weight", WIDTH)
        model.weights(f"{block}ssm_in.weight", WIDTH, 2 * INNER)
        model.weights(f"{block}ssm_conv1d.weight", 4, INNER).weights(f"{block}ssm_conv1d.bias", INNER)
        model.weights(f"{block}ssm_x.weight", INNER, rank + 2 * state)
        model.weights(f"{block}ssm_dt.weight", rank, INNER).weights(f"{block}ssm_dt.bias", INNER)
        model.weights(f"{block}ssm_a", state, INNER).weights(f"{block}ssm_d", INNER)
        model.weights(f"{block}ssm_out.weight", INNER, WIDTH)
    path.write_bytes(model.file())
    return path


def hybrid(path: Path) -> Path:
    """Write a model of which one layer keeps keys and values, and the other one state a sequence."""
    model = Model("lfm2", last_norm="token_embd_norm")
    model.u32s("lfm2.attention.head_count_kv", [0, HEADS]).u32("lfm2.shortconv.l_cache", 3)
    for number in range(BLOCKS):
        block = f"blk.{number}."
        for norm in ("attn_norm", "ffn_norm"):
            model.weights(f"{block}{norm}.weight", WIDTH)
        model.weights(f"{block}ffn_gate.weight", WIDTH, INNER).weights(f"{block}ffn_up.weight", WIDTH, INNER)
        model.weights(f"{block}ffn_down.weight", INNER, WIDTH)
    model.weights("blk.0.shortconv.conv.weight", 3, WIDTH)
    model.weights("blk.0.shortconv.in_proj.weight", WIDTH, 3 * WIDTH)
    model.weights("blk.0.shortconv.out_proj.weight", WIDTH, WIDTH)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        model.weights(f"blk.1.{name}.weight", WIDTH, WIDTH)
    for name in ("attn_q_norm", "attn_k_norm"):
        model.weights(f"blk.1.{name}.weight", WIDTH // HEADS)
    path.write_bytes(model.file())
    return path


@pytest.mark.parametrize("write", [sliding, recurrent, hybrid])
def test_what_cannot_be_moved_is_computed_again_and_nothing_breaks(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    store = KvStore(tmp_path / "states", os.urandom(32))
    path = write(tmp_path / "model.gguf")

    def start() -> Engine:
        return Engine(
            path,
            LocalSpawner(),
            context_tokens=512,
            window="shift",
            sha256="0" * 64,
            keeper=store.keeper(),
        )

    engine = start()
    try:
        assert engine.describe()["window_shifts"] is False
        whole = finish(engine.complete([SYSTEM, Message.user("x" * 60)], sampling=ENDLESS, conversation="a"))
        assert whole.stop is StopReason.LENGTH
        assert whole.usage.completion_tokens == 480
        assert "window recomputed" in whole.usage.cache
        turns = [Message.user(letter * 150) for letter in "pqr"]
        short = Sampling(max_tokens=3)
        finish(engine.complete([SYSTEM, *turns[:2]], sampling=short, conversation="b"))
        later = finish(engine.complete([SYSTEM, *turns[1:]], sampling=short, conversation="b"))
        assert "shifted" not in later.usage.cache
        long = [SYSTEM, Message.user("k" * 300)]
        finish(engine.complete(long, sampling=Sampling(max_tokens=1), conversation="c"))
    finally:
        engine.close()
    store.close()
    said = []
    for conversation in ("c", "unknown"):
        engine = start()
        try:
            longer = [*long, Message.user("And now?")]
            said.append(finish(engine.complete(longer, sampling=short, conversation=conversation)))
        finally:
            engine.close()
    assert [each.usage.cache for each in said] == ["restored", "cold"]
    assert said[0].text == said[1].text
