"""A small causal transformer: enough to learn which source writes a sequence, small enough to train on two cores."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Shape(NamedTuple):
    """The size of a transformer: width of a token's vector, blocks, attention heads per block."""

    width: int
    layers: int
    heads: int


class Transformer(nn.Module):
    """Tokens (n, T) to the logits of each next token (n, T, K); position t sees tokens 0..t only.

    The pre-norm blocks of GPT-2 (Radford et al. 2019). The readout ``head`` has its own weights and a bias: tying it to
    the embedding, as GPT-2 does, would make unlearning at the readout move what the tokens mean, too.
    """

    def __init__(self, states: int, length: int, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(states, shape.width)
        self.places = nn.Embedding(length, shape.width)
        self.blocks = nn.Sequential(*(Block(shape.width, shape.heads) for _ in range(shape.layers)))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, states)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) int64 to (n, T, K)."""
        places = self.places.weight[: tokens.shape[1]]  # (T, width)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + places)))


class Block(nn.Module):
    """Attention over the past, then a two-layer network at each place, each added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.before_network = nn.LayerNorm(width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width) to the same shape."""
        x = x + self.attention(self.before_attention(x))
        return x + self.network(self.before_network(x))


class Attention(nn.Module):
    """Causal self-attention (Vaswani et al. 2017): each place averages what came before it, each head differently."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the width; {heads} heads do not divide {width}")
        self.heads = heads
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width) to the same shape."""
        parts = self.mix(x).unflatten(-1, (3, self.heads, -1))  # (n, T, 3, heads, width / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (n, heads, T, width / heads)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))
