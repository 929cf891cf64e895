"""The conformance kit: `check_domain` holds a domain to the contract of `trm_sdk.domains.base`.

As Gymnasium's ``check_env`` and scikit-learn's ``check_estimator`` do, it calls everything that
training, solving, drawing and files will call, and says what is wrong in one sentence. For the
graphs that `trm-export` writes there is `trm_sdk.export.testing.check_export`, which needs the
package's ``export`` extra.
"""

from __future__ import annotations

from collections.abc import Sequence

from trm_sdk.domains.base import Domain
from trm_sdk.task import Task
from trm_sdk.testing import capabilities, contract, rules, training
from trm_sdk.testing.expect import ConformanceWarning, Samples


def check_domain(
    domain: Domain, *, tasks: Sequence[Task] = (), seed: int = 0, train: bool = True
) -> None:
    """Check that a domain keeps the contract that everything else relies on.

    What is checked: declared attributes; text, file and token round trips; that what should be
    refused is, with `InvalidInputError`; verdicts on right and on spoilt answers, one by one and in
    batches; alternatives read from random heads; counts of solutions; that generated puzzles are
    right and repeat by seed; sources that resume; fingerprints; symmetries and their inverses;
    pictures; `resized`; and, with PyTorch, a tiny model that trains a step and solves.

    Parameters
    ----------
    domain : Domain
    tasks : sequence of Task, optional
        With answers: what to check with, beside generated puzzles. Needed where the domain has no
        generator.
    seed : int
        Of all that is random. Default 0.
    train : bool
        Whether to train and solve with a tiny model; left out where PyTorch is not installed.
        Default True.

    Raises
    ------
    AssertionError
        At the first violation: names the method, what it was given, and what is expected.

    Warns
    -----
    ConformanceWarning
        Where the domain works but could serve training better: puzzles that are the same up to a
        symmetry have different fingerprints, so that a held-out puzzle may be trained on in another
        guise.

    Examples
    --------
    >>> from trm_sdk import get_domain
    >>> check_domain(get_domain("sudoku-4x4"), train=False)
    """
    contract.check_declarations(domain)
    samples = Samples.of(domain, tasks, seed)
    contract.check_text(samples)
    contract.check_refusals(samples)
    contract.check_tokens(samples)
    rules.check_verdicts(samples)
    rules.check_batches(samples)
    rules.check_alternatives(samples)
    rules.check_counts(samples)
    rules.check_peers(samples)
    capabilities.check_generator(samples)
    capabilities.check_fingerprints(samples)
    capabilities.check_symmetries(samples)
    capabilities.check_pictures(samples)
    capabilities.check_sizes(samples)
    if train:
        training.check_training(samples)


__all__ = ["ConformanceWarning", "Samples", "check_domain"]
