"""Whether a tiny model of a domain trains a step and solves. Needs PyTorch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.options import SolveOptions
from trm_sdk.testing.expect import Samples, expect, run

if TYPE_CHECKING:
    from trm_sdk.model.config import ModelConfig
    from trm_sdk.model.recursion import TRM
    from trm_sdk.persistence.spec import ModelSpec


def tiny_config(domain: Domain) -> ModelConfig:
    """Return the smallest model that a domain can be trained with.

    With the structured mixer where `structure` is stated, else with attention.
    """
    from trm_sdk.model.config import ModelConfig

    structured = domain.structure is not None
    tokens = domain.vocabulary
    identified = domain.identifiers > 1 and not structured
    return ModelConfig(
        vocab_size=len(tokens),
        seq_len=domain.seq_len,
        mixer="structured" if structured else "attention",
        hidden_size=16,
        ffn_size=16,
        num_heads=2,
        block="message" if domain.own_groups else "pool",
        L_layers=1,
        H_cycles=1,
        L_cycles=1,
        answer_tokens=tokens.answer_tokens if structured else None,
        given_tokens=tokens.given_tokens,
        structure=domain.structure,
        heads=dict(domain.heads) if structured and not _by_value(domain) else {},
        puzzle_emb_ndim=16 if identified else 0,
        puzzle_emb_len=1 if identified else 0,
        num_puzzle_identifiers=domain.identifiers if identified else 1,
    )


def _by_value(domain: Domain) -> bool:
    return domain.structure is not None and domain.structure.interchangeable_values


def tiny_model(domain: Domain, seed: int = 0) -> tuple[ModelSpec, TRM]:
    """Return the smallest model of a domain, with random weights. Needs PyTorch."""
    import torch

    from trm_sdk.model.recursion import TRM
    from trm_sdk.persistence.spec import ModelSpec

    config = tiny_config(domain)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TRM(config)
    return ModelSpec.for_domain(domain, config), model.eval()


def check_training(samples: Samples) -> None:
    """Check that a tiny model trains a step and solves; nothing without PyTorch."""
    if find_spec("torch") is None:
        return
    tasks = [task for task in samples.tasks if task.answers is not None]
    examples = run(samples.domain, "encode_examples(tasks)", samples.domain.encode_examples, tasks)
    domain = run(
        samples.domain, f"resized({examples.shape})", samples.domain.resized, examples.shape
    )
    spec, model = tiny_model(domain, samples.seed)
    _check_step(domain, model, examples)
    _check_solving(Samples(domain, samples.tasks, samples.seed), spec, model)


def _check_step(domain: Domain, model: TRM, examples: Examples) -> None:
    import torch

    from trm_sdk.model.supervision import Puzzles, Supervision, SupervisionSettings

    asked = examples.mask & ~domain.vocabulary.is_given[examples.tokens]
    expect(
        asked.any(1).all(),
        domain,
        "encode_examples(tasks)",
        "must leave cells to learn in each puzzle: in the mask, and not given",
        asked.sum(1).tolist(),
    )
    supervision = Supervision(model, SupervisionSettings())
    targets = run(domain, "targets(examples)", domain.targets, examples)
    puzzles = Puzzles.of(examples, model.config, targets)
    n = len(examples.tokens)
    fresh, passes = torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.int32)
    board = examples.shape if model.config.any_size else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = [weight.detach().clone() for weight in model.parameters()]
    outcome = supervision(puzzles, model.initial_state(n, board), fresh, passes)
    call = f"a training step on {n} puzzles"
    loss = float(outcome.loss.detach())
    expect(bool(torch.isfinite(outcome.loss)), domain, call, "must have a finite loss", loss)
    outcome.loss.backward()
    optimizer.step()
    moved = any(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
    finite = all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
    expect(moved and finite, domain, call, "must change the weights, to finite ones", "it did not")


def _check_solving(samples: Samples, spec: ModelSpec, model: TRM) -> None:
    from trm_sdk.runtimes.torch import TorchRuntime
    from trm_sdk.solver import Solver

    domain = samples.domain
    heads = spec.solving_heads(domain)
    solver = Solver(TorchRuntime(model.eval(), spec, device="cpu", heads=heads), domain)
    options = [SolveOptions(max_steps=2, attempts=1)]
    if domain.has_symmetries and domain.identifiers == 1:  # else images may have no identifier
        options.append(SolveOptions(max_steps=2, attempts=2, explore="symmetry"))
    for task in samples.tasks[:2]:
        for chosen in options:
            call = f"Solver.solve with {chosen!r}"
            solution = run(domain, call, solver.solve, task, chosen)
            _check_solution(domain, call, solution.verified)
            wanted = None if task.answer is None else task.answer.shape
            expect(
                # On a canvas it is the network that says how large an answer is.
                solution.grid.shape == wanted or domain.encode(task).shape != wanted,
                domain,
                call,
                f"must answer with a board of {wanted}",
                solution.grid.shape,
            )
        steps = run(
            domain, "Solver.stream", lambda task=task: list(solver.stream(task, options[0]))
        )
        expect(steps, domain, "Solver.stream", "must yield steps", "none")


def _check_solution(domain: Domain, call: str, verified: object) -> None:
    wanted = (True, False) if domain.has_rules else (None,)
    expect(verified in wanted, domain, call, f"must have a verdict of {wanted}", verified)


__all__ = ["check_training", "tiny_config", "tiny_model"]
