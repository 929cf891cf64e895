"""Small models of every architecture, for the tests of the export."""

from __future__ import annotations

import numpy as np
import torch

from export.calibrate import Ranges, calibrate
from export.exporter import state_arrays
from export.puzzles import Puzzles
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import FORMAT, ModelSpec
from trm_sdk.structure import (
    Relation,
    Structure,
    board,
    boxes,
    columns,
    groups,
    neighbourhood,
    offsets,
    rows,
    values,
)

_ODD = ((0, 1, 2), (2, 5, 7, 9), (11,), (3, 4))


def _odd_structure() -> Structure:
    """A 3x4 board with neighbours, overlapping groups of several sizes, and cells in no group."""
    cells = np.arange(12).reshape(3, 4)
    near = [
        tuple(
            int(cells[r + a, c + b])
            for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= r + a < 3 and 0 <= c + b < 4 and (r, c) != (0, 0)
        )
        for r in range(3)
        for c in range(4)
    ]
    return Structure(
        shape=(3, 4), relations=(neighbourhood("near", near), groups("odd", _ODD), rows())
    )


def _local(*relations: Relation, shape: tuple[int, int] = (9, 9), **fields: object) -> ModelConfig:
    """A model over a board whose relations are given."""
    return ModelConfig.model_validate(
        {
            "vocab_size": 6,
            "seq_len": shape[0] * shape[1],
            "mixer": "structured",
            "structure": Structure(shape=shape, relations=relations),
            "hidden_size": 16,
            "ffn_size": 24,
            "L_layers": 1,
            "H_cycles": 1,
            "L_cycles": 2,
            **fields,
        }
    )


#: A cross, and one tap further to the right: a kernel of 3x5 with zeros.
_NEAR = offsets((-1, 0), (0, -1), (0, 0), (0, 1), (0, 2), (1, 0), name="near")
_EVERYWHERE = (rows("line"), columns("line"), board(), _NEAR)


def _sudoku(rows: int, columns: int, **fields: object) -> ModelConfig:
    domain = Sudoku(rows, columns)
    return ModelConfig(
        vocab_size=len(domain.vocabulary),
        seq_len=domain.seq_len,
        mixer="structured",
        structure=domain.structure,
        hidden_size=16,
        ffn_size=24,
        answer_tokens=tuple(range(2, len(domain.vocabulary))),
        given_tokens=tuple(range(2, len(domain.vocabulary))),
        **{"L_layers": 1, "H_cycles": 1, "L_cycles": 2, **fields},
    )


def _paper(**fields: object) -> ModelConfig:
    base = {"vocab_size": 11, "seq_len": 16, "hidden_size": 32, "num_heads": 4, "L_cycles": 2}
    return ModelConfig.model_validate({**base, "H_cycles": 2, "ffn_size": 48, **fields})


CONFIGS = {
    "mlp_t": _paper(H_cycles=1, puzzle_emb_ndim=32, puzzle_emb_len=3),
    "mlp_t-learned": _paper(H_cycles=1, positions="learned", given_tokens=(5, 6, 7, 8, 9, 10)),
    "attention-rope": _paper(
        mixer="attention",
        positions="rope",
        puzzle_emb_ndim=50,
        puzzle_emb_len=2,
        num_puzzle_identifiers=5,
    ),
    "attention-learned": _paper(mixer="attention", positions="learned"),
    "attention-none": _paper(mixer="attention", puzzle_emb_len=1),
    "structured-axes": _sudoku(2, 2, L_layers=2),
    "structured-oblong": _sudoku(2, 3, H_cycles=2),
    "structured-sets": ModelConfig(
        vocab_size=6,
        seq_len=12,
        mixer="structured",
        structure=_odd_structure(),
        hidden_size=16,
        ffn_size=24,
        L_layers=1,
        H_cycles=1,
        L_cycles=2,
    ),
    # Fixed, and laid out as rows and columns: boxes are gathered.
    "structured-plane": _local(
        rows("line"), columns("line"), boxes(2, 3), offsets(), shape=(6, 6), halt_pool="mean_max"
    ),
    "structured-plane-values": _local(
        rows(), boxes(3, 2), _NEAR, values(), shape=(6, 6), answer_tokens=(2, 3, 4, 5)
    ),
    "maze": _local(
        offsets(), shape=(5, 7), heads={"direction": 5, "distance": 3}, halt_pool="mean_max"
    ),
    "local": _local(*_EVERYWHERE, heads={"near": 2}, given_tokens=(1, 4), answer_tokens=(2, 5)),
    "local-values": _local(
        *_EVERYWHERE,
        offsets((1, 1), (-1, -1), name="diagonal"),
        values(),
        answer_tokens=(2, 3, 4, 5),
        given_tokens=(2, 3, 4, 5),
    ),
    "message": _sudoku(2, 3, L_layers=2, block="message"),
    "message-sets": _local(
        groups("odd", ((0, 1, 2), (2, 5, 7, 9), (11,), (3, 4))),
        rows(),
        shape=(3, 4),
        block="message",
    ),
    "local-pools": _local(columns(), board(), values(), shape=(1, 4), answer_tokens=(3, 5)),
}


def ranges_of(name: str, *, wide: bool = False) -> Ranges:
    """Of a random model's activations, for ``int8s``."""
    spec, model = model_of(name, wide=wide)
    shape = (4, *spec.model.token_shape_of(spec.grid_shape))
    tokens = np.random.default_rng(1).integers(0, spec.model.vocab_size, shape).astype(np.int32)
    return calibrate(spec, state_arrays(model), [Puzzles(tokens)], steps=2)


def model_of(name: str, seed: int = 0, *, wide: bool = False) -> tuple[ModelSpec, TRM]:
    """A random model whose halting head tells puzzles apart.

    With `wide`, over channels enough that the integer forms are not all stored as ``int8w``.
    """
    config = CONFIGS[name]
    if wide:
        config = config.model_copy(update={"hidden_size": 64, "ffn_size": 96})
    torch.manual_seed(seed)
    model = TRM(config).eval()
    with torch.no_grad():
        model.network.q_head.weight.normal_(std=0.3)
        model.network.q_head.bias.zero_()
        if getattr(model.network, "puzzle_emb", None) is not None:
            model.network.puzzle_emb.normal_()
    spec = ModelSpec(
        format=FORMAT,
        domain="test",
        vocabulary=tuple(f"token-{index}" for index in range(config.vocab_size)),
        grid_shape=(1, config.seq_len) if config.structure is None else config.structure.shape,
        model=config,
    )
    return spec, model
