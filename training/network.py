"""The network of a GGUF model of the llama architecture, in torch, for training adapters.

Weights keep the layout of the file (rotary embedding over neighbouring pairs), so that an adapter trained here is
an adapter for llama.cpp as it stands: nothing is permuted on the way out.
Covered: the logits agree with llama.cpp's on the same file, with an adapter and without (`tests/training`).
Not covered: other architectures; biases; scaled rotary embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import linear, rms_norm, silu

from training.batches import Batch

LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""The linear layers of a block, by their names in the file."""


class Adapted(nn.Module):
    """A frozen linear layer and, beside it, a trained one of low rank: W x + scale B A x."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = alpha / rank if rank else 0.0
        self.down: nn.Parameter | None = None
        if rank:
            self.down = nn.Parameter(torch.empty(rank, inputs, dtype=torch.float32))
            self.up = nn.Parameter(torch.zeros(outputs, rank, dtype=torch.float32))
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to (..., inputs)."""
        if self.down is None:
            return linear(x, self.weight)
        out: Tensor = _Merged.apply(  # type: ignore[no-untyped-call] # torch leaves it untyped
            x, self.weight, self.down.to(x.dtype), (self.scale * self.up).to(x.dtype)
        )
        return out


class _Merged(torch.autograd.Function):
    """x (W + B A)ᵀ as one product; its gradients are taken through the low rank.

    Side by side, the adapter's thin products take as long as the layer's own, each reading x or writing y once more;
    the gradient of the merged weight, from which those of A and B would follow too, takes longer than the layer.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
        merged = torch.addmm(weight, up, down)
        ctx.save_for_backward(x, merged, down, up)
        return linear(x, merged)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        x, merged, down, up = ctx.saved_tensors  # type: ignore[attr-defined] # torch's own type leaves it out
        gradient = gradients[0].flatten(0, -2)
        flat = x.flatten(0, -2)
        low = gradient @ up
        return (gradient @ merged).view(x.shape), None, low.t() @ flat, gradient.t() @ (flat @ down.t())


class Block(nn.Module):
    """One block: attention, then the feed-forward part."""

    def __init__(self, weights: dict[str, Tensor], network: Network, rank: int, alpha: float) -> None:
        super().__init__()
        self.network = (network,)  # in a tuple, so that it is no child of its own child
        self.attn_norm = nn.Parameter(weights["attn_norm"], requires_grad=False)
        self.ffn_norm = nn.Parameter(weights["ffn_norm"], requires_grad=False)
        for name in LINEAR:
            self.add_module(name, Adapted(weights[name], rank, alpha))

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        """Apply it to (batch, tokens, width)."""
        whole = self.network[0]
        batch, tokens, _ = x.shape
        y = rms_norm(x, x.shape[-1:], self.attn_norm, whole.epsilon)

        def heads(name: str, count: int) -> Tensor:
            out: Tensor = self.get_submodule(name)(y)
            return out.view(batch, tokens, count, -1).transpose(1, 2)

        query = _rotated(heads("attn_q", whole.heads), cosine, sine)
        key = _rotated(heads("attn_k", whole.kv_heads), cosine, sine)
        value = heads("attn_v", whole.kv_heads)
        seen = attention(query, key, value, mask)
        x = x + self.get_submodule("attn_output")(seen.transpose(1, 2).reshape(batch, tokens, -1))
        y = rms_norm(x, x.shape[-1:], self.ffn_norm, whole.epsilon)
        gated = silu(self.get_submodule("ffn_gate")(y)) * self.get_submodule("ffn_up")(y)
        out: Tensor = x + self.get_submodule("ffn_down")(gated)
        return out


class Network(nn.Module):
    """A whole model."""

    def __init__(
        self, path: Path, *, rank: int = 0, alpha: float = 0.0, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        """Read the weights.

        Args:
            path: A GGUF file of the architecture `llama`.
            rank: Of the adapter on every linear layer; 0: none.
            alpha: The adapter's strength: its product is scaled by alpha / rank.
            dtype: To compute in.

        Raises:
            ValueError: The file is of another architecture.
        """
        super().__init__()
        reader = GGUFReader(path)

        def field(name: str) -> float:
            return float(reader.fields[f"llama.{name}"].contents())

        if str(reader.fields["general.architecture"].contents()) != "llama":
            raise ValueError(f"{path.name} is not of the architecture llama")
        self.heads = int(field("attention.head_count"))
        self.kv_heads = int(field("attention.head_count_kv"))
        self.epsilon = field("attention.layer_norm_rms_epsilon")
        self.base = field("rope.freq_base")
        self.rank, self.alpha = rank, alpha
        weights = {
            tensor.name: torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).to(dtype)
            for tensor in reader.tensors
        }
        self.embedding = nn.Parameter(weights["token_embd.weight"], requires_grad=False)
        self.output = nn.Parameter(weights.get("output.weight", self.embedding.data), requires_grad=False)
        self.norm = nn.Parameter(weights["output_norm.weight"], requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(_of_block(weights, index), self, rank, alpha) for index in range(int(field("block_count")))
        )

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, groups: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states, (batch, tokens, width), normed; `logits` makes more of them.

        Rows are padded on the right: what stands behind a token never changes it.

        Args:
            tokens: (batch, tokens).
            positions: Of each token in its text, (batch, tokens); none: one text a row.
            groups: 0 for what all texts of a row share; a token of another group sees that and its own group, (batch,
                tokens). None: one text a row.
        """
        x = self.embedding[tokens]
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        cosine, sine = self._rotation(positions, x)
        hidden = torch.ones((tokens.shape[1],) * 2, dtype=torch.bool, device=x.device).triu(1)[None]
        if groups is not None:
            hidden = hidden | (groups[:, None, :] != 0) & (groups[:, None, :] != groups[:, :, None])
        mask = torch.zeros(hidden.shape, dtype=x.dtype, device=x.device).masked_fill(hidden, -math.inf)[
            :, None
        ]
        for block in self.blocks:
            x = block(x, cosine, sine, mask)
        return rms_norm(x, x.shape[-1:], self.norm, self.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the token behind each state, in float32."""
        return linear(hidden, self.output).float()

    def adapter(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield the name in the file of each adapted weight, with A (rank, inputs) and B (outputs, rank)."""
        for index, block in enumerate(self.blocks):
            for name in LINEAR:
                layer = block.get_submodule(name)
                if isinstance(layer, Adapted) and layer.down is not None:
                    yield f"blk.{index}.{name}.weight", layer.down, layer.up

    def trained(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return [each for each in self.parameters() if each.requires_grad]

    def _rotation(self, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        width = like.shape[-1] // self.heads
        speeds = self.base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=like.device) / width)
        angles = positions[:, None, :, None].float() * speeds
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _of_block(weights: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    names = (*LINEAR, "attn_norm", "ffn_norm")
    return {name: weights[f"blk.{index}.{name}.weight"] for name in names}


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return what each head sees, (batch, heads, tokens, width); several query heads share a key head.

    Written out, since torch's own for CPUs takes twice the time at these lengths, forwards and backwards.
    """
    batch, heads, tokens, width = query.shape
    shared = (batch, key.shape[1], heads // key.shape[1] * tokens)
    scores = (query * width**-0.5).reshape(*shared, width) @ key.transpose(-1, -2)
    weights = (scores.view(batch, heads, tokens, tokens) + mask).softmax(-1)
    seen: Tensor = (weights.view(*shared, tokens) @ value).view(batch, heads, tokens, width)
    return seen


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)


def loss(network: Network, batch: Batch) -> Tensor:
    """Return the mean loss over the tokens to be learnt."""
    on, places = network.embedding.device, batch.places()
    tokens = torch.tensor(batch.tokens(), device=on)
    hidden = network(
        tokens, torch.tensor(batch.positions(), device=on), torch.tensor(batch.groups(), device=on)
    )
    states = torch.cat([hidden[row, begin - 1 : end - 1] for row, begin, end in places])
    wanted = torch.cat([tokens[row, begin:end] for row, begin, end in places])
    return torch.nn.functional.cross_entropy(network.logits(states), wanted)
