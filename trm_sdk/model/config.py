"""ModelConfig: everything that decides a model's shape. Free of torch, so that apps can read it."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trm_sdk.structure import Neighbourhood, Offsets, Structure
from trm_sdk.validation import is_int

Mixer = Literal["mlp_t", "attention", "structured"]
Positions = Literal["rope", "learned", "none"]
HaltPool = Literal["mean", "mean_max"]
Block = Literal["pool", "message"]
# Bounds that no model comes near: a description from elsewhere is read before its weights are, and
# must not make anyone build, count or allocate what never was.
_LARGEST = 1 << 20
_MOST_LAYERS = 10_000
_LARGEST_STATE = 1 << 25  # numbers of one row's y: 128 MB; the paper's ARC model has 0.5 million
_Token = Annotated[int, Field(ge=0, le=_LARGEST)]
_Width = Annotated[int, Field(gt=0, le=_LARGEST)]
_Count = Annotated[int, Field(gt=0, le=_MOST_LAYERS)]


#: Name of the head that says whether a value is wrong that is filled in.
DEAD_END = "dead_end"


class ModelConfig(BaseModel):
    """Shape of a Tiny Recursion Model (arXiv 2510.04871); defaults are the paper's Sudoku model.

    Attributes
    ----------
    vocab_size : int
        Number of input tokens.
    seq_len : int
        Number of cells N.
    mixer : {"mlp_t", "attention", "structured"}
        How cells exchange information: an MLP over the token axis or self-attention, as in the
        paper, or pooling over the groups that `structure` states.
    hidden_size : int
        Channels D a token (paper's mixers) or a (cell, value) node (structured).
    L_layers : int
        Blocks in the one network.
    H_cycles, L_cycles : int
        T and n of the paper: a supervision step is T times (n updates of the latent z, then one
        of the answer y), so ``H_cycles * (L_cycles + 1)`` passes of the network.
    expansion : float
        SwiGLU width is ``expansion * hidden_size * 2 / 3`` rounded up to a multiple of 256.
    ffn_size : int or None
        The SwiGLU width itself, instead of the rounded one.
    num_heads, positions, rope_theta
        Attention heads and positions; `positions` also works with ``mlp_t`` (``learned``).
    puzzle_emb_ndim, puzzle_emb_len, num_puzzle_identifiers : int
        Learned prefix a puzzle: `puzzle_emb_len` positions holding a vector of `puzzle_emb_ndim`
        numbers (zero-padded), one of `num_puzzle_identifiers`. 0 dimensions: no vector.
    answer_tokens : tuple of int or None
        Logit column k stands for token ``answer_tokens[k]``, ascending. None, as in the reference
        implementation: there is a column for every token.
    given_tokens : tuple of int
        Input tokens that stand in the answer as they are. Default none: every cell is answered by
        the network.
    heads : mapping from name to int
        Further heads over the cells of a structured model, each with so many logits a cell: what a
        domain's auxiliary targets are learned by.
    halt_pool : {"mean", "mean_max"}
        What a structured model's halting head sees of the answer y: its mean over all nodes, or
        mean and maximum. Default mean.
    dead_end_head : bool
        Whether a structured model has, beside its halting head, one that says whether a value which
        is filled in is wrong: what a search over guesses is guided by. It sees mean and maximum of
        the answer y over all nodes. Default False.
    halt_max_steps : int
        Steps that a model made for a domain takes when solving, if nobody says otherwise
        (`ModelSpec.for_domain`); the reference's name for it.
    block : {"pool", "message"}
        How a block of a structured model hears of the groups: their sum and maximum, or by messages
        and replies (`trm_sdk.model.message`). Default pool.
    structure : Structure or None
        Needed by ``structured``; not used by the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_format_1(cls, data: Any) -> Any:
        """Read the offsets by which the first format stated what tokens are for."""
        if not isinstance(data, dict) or not {"output_offset", "givens_from"} & set(data):
            return data
        data = dict(data)
        size = data.get("vocab_size")
        for old, new in (("output_offset", "answer_tokens"), ("givens_from", "given_tokens")):
            start = data.pop(old, None)
            if start is None or (old == "output_offset" and start == 0):
                continue
            if not (is_int(start) and is_int(size) and 0 <= start <= size <= _LARGEST):
                raise ValueError(f"{old} must be at most vocab_size {size}; got {start!r}")
            data[new] = tuple(range(start, size))
        return data

    vocab_size: int = Field(gt=1, le=_LARGEST)
    seq_len: _Width
    mixer: Mixer = "mlp_t"
    hidden_size: _Width = 512
    L_layers: _Count = 2
    H_cycles: _Count = 3
    L_cycles: _Count = 6
    expansion: float = Field(default=4.0, gt=0)
    ffn_size: _Width | None = None
    num_heads: _Width = 8
    positions: Positions = "none"
    rope_theta: float = Field(default=10000.0, gt=0)
    rms_norm_eps: float = Field(default=1e-5, gt=0)
    puzzle_emb_ndim: int = Field(default=0, ge=0, le=_LARGEST)
    puzzle_emb_len: int = Field(default=0, ge=0, le=_LARGEST)
    num_puzzle_identifiers: int = Field(default=1, gt=0, le=2**31 - 1)
    answer_tokens: tuple[_Token, ...] | None = None
    given_tokens: tuple[_Token, ...] = ()
    heads: dict[str, _Width] = Field(default_factory=dict)
    halt_pool: HaltPool = "mean"
    dead_end_head: bool = False
    halt_max_steps: int = Field(default=16, gt=0, le=100_000)
    block: Block = "pool"
    structure: Structure | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        for name in ("answer_tokens", "given_tokens"):
            tokens = getattr(self, name) or ()
            if list(tokens) != sorted(set(tokens)) or any(t >= self.vocab_size for t in tokens):
                raise ValueError(
                    f"{name} must be ascending tokens below vocab_size {self.vocab_size}; "
                    f"got {tokens}"
                )
        if self.answer_tokens == ():
            raise ValueError("answer_tokens must name at least one token; got ()")
        if self.mixer == "attention" and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )
        if self.positions == "rope" and self.mixer != "attention":
            raise ValueError(f"positions='rope' needs mixer='attention'; got {self.mixer!r}")
        if self.positions == "rope" and self.hidden_size // self.num_heads % 2:
            raise ValueError(
                "positions='rope' turns pairs of channels, so hidden_size / num_heads must be "
                f"even; got {self.hidden_size} / {self.num_heads}"
            )
        if self.positions == "learned" and self.mixer == "structured":
            raise ValueError("positions='learned' is for mixer='mlp_t' and 'attention'")
        if self.puzzle_emb_ndim > self.puzzle_emb_len * self.hidden_size:
            raise ValueError(
                f"puzzle_emb_ndim {self.puzzle_emb_ndim} does not fit into puzzle_emb_len "
                f"{self.puzzle_emb_len} positions of {self.hidden_size} channels"
            )
        if self.mixer == "structured":
            if self.structure is None:
                raise ValueError("mixer='structured' needs a structure")
            if self.structure.cells != self.seq_len:
                raise ValueError(
                    f"the structure has {self.structure.cells} cells, seq_len is {self.seq_len}"
                )
            if self.puzzle_emb_len:
                raise ValueError("mixer='structured' has no puzzle embedding")
            if self.heads and self.structure.interchangeable_values:
                raise ValueError("heads need a structure whose nodes are cells, without 'values'")
            if self.block == "message":
                self._check_groups(self.structure)
        elif self.heads or self.halt_pool != "mean" or self.block != "pool" or self.dead_end_head:
            raise ValueError("heads, halt_pool, block and dead_end_head are for mixer='structured'")
        if DEAD_END in self.heads:
            raise ValueError(f"{DEAD_END!r} is the name of another head; got heads {self.heads}")
        if self.dead_end_head and not self.given_tokens:
            raise ValueError(
                "dead_end_head judges what is filled in, and answers of this model need not keep "
                "givens (given_tokens is empty)"
            )
        self._check_sizes()
        return self

    @staticmethod
    def _check_groups(structure: Structure) -> None:
        """Refuse what the message block can't take: relations that are not groups."""
        if structure.any_size:
            raise ValueError("block='message' needs a structure of one size")
        for relation in structure.over_cells:
            if isinstance(relation, (Neighbourhood, Offsets)):
                raise ValueError(
                    f"block='message' needs relations that are groups; {relation.name!r} is of "
                    f"kind {relation.kind!r}"
                )

    def _check_sizes(self) -> None:
        """Refuse sizes that follow from others and that nothing could have."""
        width = self.expansion * self.hidden_size
        if self.ffn_size is None and not 0 < round(min(width, _LARGEST) * 2 / 3) < _LARGEST // 2:
            raise ValueError(
                f"expansion {self.expansion} of hidden_size {self.hidden_size} gives a SwiGLU of "
                f"width {width * 2 / 3:.3g}; it must be at least 1 and below {_LARGEST // 2}"
            )
        numbers = prod(self.state_shape)
        if numbers > _LARGEST_STATE:
            raise ValueError(
                f"one puzzle's state would have {numbers} numbers; at most {_LARGEST_STATE} are "
                "accepted"
            )

    @property
    def output_tokens(self) -> tuple[int, ...]:
        """The token that each logit column stands for."""
        if self.answer_tokens is None:
            return tuple(range(self.vocab_size))
        return self.answer_tokens

    @property
    def outputs(self) -> int:
        """Logits a cell."""
        return self.vocab_size if self.answer_tokens is None else len(self.answer_tokens)

    @property
    def any_size(self) -> bool:
        """Whether tokens are of shape (batch, rows, columns), for boards of any size."""
        return self.mixer == "structured" and self.structure is not None and self.structure.any_size

    @property
    def takes_groups(self) -> bool:
        """Whether the groups of cells may differ from the structure's, from puzzle to puzzle."""
        return self.block == "message"

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the further heads: those of `heads`, and the dead-end head's."""
        return (*self.heads, DEAD_END) if self.dead_end_head else tuple(self.heads)

    def head_shapes(self, board: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the further heads' logits on a board, without batch axis, by name.

        The dead-end head says one number a puzzle, the others some a cell.
        """
        cells = self.token_shape_of(board)
        return {
            name: () if name == DEAD_END else (*cells, self.heads[name]) for name in self.head_names
        }

    @property
    def swiglu_size(self) -> int:
        """Width of every SwiGLU over channels."""
        return self.ffn_size or rounded_swiglu(self.hidden_size, self.expansion)

    @property
    def passes(self) -> int:
        """Passes of the network in one supervision step."""
        return self.H_cycles * (self.L_cycles + 1)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of y and of z without the batch axis, on the model's own board."""
        return self.state_shape_of(None if self.structure is None else self.structure.shape)

    def token_shape_of(self, board: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape of a board's tokens without batch axis: its own, or flat."""
        return board if self.any_size else (board[0] * board[1],)

    def state_shape_of(self, board: tuple[int, int] | None) -> tuple[int, ...]:
        """Return the shape of y and of z on a board of this shape, without batch axis."""
        if self.mixer != "structured":
            return self.puzzle_emb_len + self.seq_len, self.hidden_size
        assert self.structure is not None
        values = self.outputs if self.structure.interchangeable_values else 1
        if self.any_size:
            assert board is not None
            return *board, values, self.hidden_size
        return self.seq_len, values, self.hidden_size


def rounded_swiglu(size: int, expansion: float) -> int:
    """Return the reference's SwiGLU width: 2/3 of the expansion, up to a multiple of 256."""
    return -(-round(expansion * size * 2 / 3) // 256) * 256
