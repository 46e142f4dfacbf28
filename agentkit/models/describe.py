"""Say all there is to say of a stored model, as `models show` prints it."""

from __future__ import annotations

from typing import Any

from agentkit.models.catalogue import shipped_adapter
from agentkit.models.gguf import read_header
from agentkit.models.levers import Levers
from agentkit.models.manifest import StoredModel
from agentkit.models.ram_free import free_bytes
from agentkit.models.ram_need import kv_bytes_per_token, need_with
from agentkit.models.template_worker import try_template
from agentkit.models.threads import default_threads
from agentkit.spawn import Spawner


def describe(model: StoredModel, spawner: Spawner, levers: Levers | None = None) -> dict[str, Any]:
    """Return all there is to say of a stored model, ready for JSON.

    Of a GGUF file also what its header says, and the memory it needs.

    Args:
        model: What is described.
        spawner: Starts the worker that tries its chat template.
        levers: How it is run; default: as it came.

    Raises:
        EngineError: The worker that tries the template was lost.
        ModelRefusedError: The file is no longer a valid GGUF file.
    """
    said: dict[str, Any] = {
        "name": model.name,
        "kind": model.kind,
        "description": model.description,
        "licence": model.licence,
        "context_tokens": model.context_tokens,
        "size_bytes": model.size,
        "sha256": model.sha256,
        "checked_against": model.checked,
        "source": model.source,
        "added": model.added,
        "path": str(model.path),
        "files": [
            {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in model.files
        ],
    }
    if shipped := shipped_adapter(*model.origin):
        said["agent_adapter"] = {
            "file": shipped.file,
            "size_bytes": shipped.size_bytes,
            "sha256": shipped.sha256,
        }
    if model.path.suffix == ".gguf":
        header = read_header(model.path)
        said["gguf"] = {
            "architecture": header.architecture,
            "name": header.name,
            "quantisation": header.quantisation,
            "parameters": header.parameters,
            "tensors": header.tensor_count,
            "tensor_bytes": header.tensor_bytes,
            "blocks": header.block_count,
            "heads": header.head_count,
            "heads_kv": header.head_count_kv,
            "embedding_length": header.embedding_length,
            "vocabulary": header.vocab_size,
            "tokenizer": header.tokenizer_model,
            "bos_id": header.bos_id,
            "eos_id": header.eos_id,
            "chat_template": header.chat_template,
        }
        levers = levers or Levers(default_threads())
        said["tool_calls"] = try_template(header.chat_template, spawner, levers.tool_format)
        need = need_with(header, levers)
        said["memory"] = {
            "context_tokens": need.context_tokens,
            "weights_bytes": need.weights_bytes,
            "kv_bytes_per_token": need.kv_bytes_per_token,
            "kv_bytes_per_token_q8_0": kv_bytes_per_token(header, k_type="q8_0", v_type="q8_0"),
            "kv_bytes": need.kv_bytes,
            "buffers_bytes": need.buffers_bytes,
            "needed_bytes": need.total_bytes,
            "free_bytes": free_bytes(),
        }
    return said
