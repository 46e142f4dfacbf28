"""What llama.cpp itself gains from decoding several answers in one batch: no worker, no text, plain arg max."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agentkit.models.threads import default_threads
from agentkit.spawn import ENGINE_ENVIRONMENT

WARM = 8


def tokens_a_second(path: Path, streams: int, tokens: int) -> float:
    """Return the speed of so many answers of `tokens` tokens each, all together."""
    os.environ.update(ENGINE_ENVIRONMENT)  # before libgomp is loaded, as in the worker
    import llama_cpp
    import numpy as np

    from agentkit.models.llama import drop_log

    llama_cpp.llama_log_set(drop_log, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = streams * (tokens + WARM + 1)
    params.n_seq_max = streams
    params.n_threads = params.n_threads_batch = default_threads()
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.kv_unified = True
    context = llama_cpp.llama_init_from_model(model, params)
    words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(streams, 0, 1)
    batch.n_tokens = streams
    drawn = [100 + each for each in range(streams)]
    started = 0.0
    try:
        for position in range(WARM + tokens):
            if position == WARM:
                started = time.perf_counter()
            for each in range(streams):
                batch.token[each], batch.pos[each], batch.logits[each] = drawn[each], position, 1
                batch.n_seq_id[each] = 1
                batch.seq_id[each][0] = each
            if llama_cpp.llama_decode(context, batch):
                raise RuntimeError("llama.cpp failed to decode")
            for each in range(streams):
                row = llama_cpp.llama_get_logits_ith(context, each)
                drawn[each] = int(np.argmax(np.ctypeslib.as_array(row, (words,))))
        return streams * tokens / (time.perf_counter() - started)
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
