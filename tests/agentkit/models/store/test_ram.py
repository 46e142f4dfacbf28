"""A model that does not fit into memory is refused before it is loaded, with the largest window that would fit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit.errors import LimitError
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.gpu import GpuUse
from agentkit.models.ram_free import free_bytes
from agentkit.models.ram_need import (
    PROCESS_BYTES,
    STREAM_TOKENS,
    kv_bytes_per_token,
    largest_context,
    ram_need,
    require_ram,
)
from agentkit.spawn import LocalChild, LocalSpawner

if TYPE_CHECKING:
    from tests.agentkit.models.gguf_writer import GGUFWriter

MIB = 1 << 20


class NoSpawner(LocalSpawner):
    """Fails the test that starts a worker."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> LocalChild:
        raise AssertionError("a worker was started")


@pytest.mark.model
def test_the_default_model_needs_what_llama_cpp_reports(smollm2_path: Path) -> None:
    """Figures of llama.cpp's own log: 92.1 MiB of weights, 90 of keys and values, 17.5 and 86.4 of buffers."""
    header = read_header(smollm2_path)
    assert kv_bytes_per_token(header) == 23_040
    assert kv_bytes_per_token(header, k_type="q8_0", v_type="q8_0") == 12_240
    for flash, reported in ((True, 17.51), (False, 86.38)):
        need = ram_need(header, 4096, flash_attention=flash)
        assert abs(need.weights_bytes / MIB - 92.1) < 0.1
        assert need.kv_bytes == 90 * MIB
        assert reported <= need.buffers_bytes / MIB < 1.25 * reported
    rows = ram_need(header, 512, batch_tokens=128, output_rows=128)
    assert 24.56 <= rows.buffers_bytes / MIB < 60


@pytest.mark.model
def test_the_hint_names_the_largest_window_that_fits(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    free = ram_need(header, 2048).total_bytes
    with pytest.raises(LimitError, match=r"at a context of 4096 tokens .* are free") as caught:
        require_ram("some-model", header, free=free)
    assert caught.value.hint == "a context of 2048 tokens is the largest that fits"
    assert require_ram("some-model", header, 2048, free=free).context_tokens == 2048
    assert largest_context(header, free) == 2048
    assert largest_context(header, 1 << 40) == 8192
    with pytest.raises(LimitError) as caught:
        require_ram("some-model", header, free=100 * MIB)
    assert "smaller quantisation" in str(caught.value.hint)


def test_a_header_that_claims_a_giant_is_refused_before_a_worker_starts(
    tmp_path: Path, gguf: GGUFWriter
) -> None:
    """The file is sparse: 4 TiB long, a few KiB on the disk, and a valid container."""
    path = tmp_path / "giant.gguf"
    path.write_bytes(gguf.tensor("blk.0.ffn_up.weight", (1 << 20, 1 << 20), size=0).file())
    os.truncate(path, (4 << 40) + (1 << 20))
    assert path.stat().st_blocks * 512 < MIB
    with pytest.raises(LimitError, match=r"giant needs 439\d{4} MB"):
        Engine(path, NoSpawner()).describe()


def test_layers_on_a_card_need_no_memory_of_the_machine(
    tmp_path: Path, gguf: GGUFWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.gguf"
    gguf.tensor("blk.0.ffn_up.weight", (8, 64), size=8 * 64 * 4)
    gguf.tensor("blk.1.ffn_up.weight", (8, 16), size=8 * 16 * 4)
    path.write_bytes(gguf.file())
    header = read_header(path)
    output, first, last = 32, 8 * 64 * 4, 8 * 16 * 4
    every = ram_need(header)
    for layers, weights, blocks in (
        (None, 0, 2),
        (0, 0, 2),
        (1, output, 2),
        (2, output + last, 1),
        (3, output + last + first, 0),
        (99, output + last + first, 0),
    ):
        need = ram_need(header, gpu_layers=layers)
        assert every.weights_bytes - need.weights_bytes == weights
        assert need.kv_bytes == every.kv_bytes * blocks // 2
    monkeypatch.setattr("agentkit.models.ram_need.has_card", lambda: True)
    for layers, hinted in ((None, True), (1, False)):
        with pytest.raises(LimitError) as caught:
            require_ram("some-model", header, gpu_layers=layers, free=1000)
        assert ("--gpu-layers N" in str(caught.value.hint)) is hinted


def test_a_giant_that_lies_on_a_card_is_not_refused(tmp_path: Path, gguf: GGUFWriter) -> None:
    path = tmp_path / "giant.gguf"
    path.write_bytes(gguf.tensor("blk.0.ffn_up.weight", (1 << 20, 1 << 20), size=0).file())
    os.truncate(path, (4 << 40) + (1 << 20))
    with pytest.raises(AssertionError, match="a worker was started"):
        Engine(path, NoSpawner(), gpu=GpuUse(99)).describe()


def test_what_several_answers_at_once_take_is_what_the_worker_takes() -> None:
    from agentkit.models.decoder import MIN_SLICE

    assert STREAM_TOKENS == MIN_SLICE


def test_a_window_too_large_for_this_machine_is_refused_with_one_that_fits(
    tmp_path: Path, gguf: GGUFWriter
) -> None:
    """64 KiB-wide heads: 786 kB a token, so that two million tokens are 1.5 TB."""
    gguf.u32("llama.attention.key_length", 1 << 16).u32("llama.attention.value_length", 1 << 16)
    raw = gguf.file()
    at = raw.index(b"llama.context_length") + len(b"llama.context_length") + 4
    path = tmp_path / "wide.gguf"
    path.write_bytes(raw[:at] + (2_000_000).to_bytes(4, "little") + raw[at + 4 :])
    with pytest.raises(LimitError) as caught:
        Engine(path, NoSpawner(), context_tokens=2_000_000).describe()
    named = re.fullmatch(r"a context of (\d+) tokens is the largest that fits", str(caught.value.hint))
    assert named is not None
    header, free = read_header(path), free_bytes()
    assert free is not None
    assert 0 < ram_need(header, int(named[1])).total_bytes < 1.2 * free


def test_blocks_without_attention_keep_no_keys(tmp_path: Path, gguf_bytes: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes)  # two blocks with 1 and 2 heads of 4 numbers
    assert kv_bytes_per_token(read_header(path)) == 3 * (4 + 4) * 2
    assert ram_need(read_header(path)).total_bytes > PROCESS_BYTES


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    meminfo = {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:    5000 kB\n"}
    assert free_bytes(write(tmp_path / "none", meminfo)) == 5_120_000
    v2 = write(
        tmp_path / "v2",
        {
            **meminfo,
            "proc/self/cgroup": "0::/user.slice/app\n",
            "sys/fs/cgroup/user.slice/memory.max": "4000000\n",
            "sys/fs/cgroup/user.slice/memory.current": "3000000\n",
            "sys/fs/cgroup/user.slice/memory.stat": "anon 1\nactive_file 500000\ninactive_file 100000\n",
            "sys/fs/cgroup/user.slice/app/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/app/memory.current": "3000000\n",
        },
    )
    assert free_bytes(v2) == 1_600_000
    v1 = write(
        tmp_path / "v1",
        {
            **meminfo,
            "proc/self/cgroup": "4:memory:/box/7\n1:cpu:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",  # in a container: no /box/7 to see
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1900000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 5\ninactive_file 70000\n",
        },
    )
    assert free_bytes(v1) == 100_005
    unlimited = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert free_bytes(write(v1, unlimited)) == 5_120_000
    assert free_bytes(tmp_path / "no such system") is None
