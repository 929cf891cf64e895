"""`trm_sdk.export` and `trm_sdk.training` in a checkout, where both folders lie at its top.

The wheel has the folders themselves in this package and neither this module nor its two callers:
see ``tool.hatch.build.targets.wheel`` in pyproject.toml.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def load_from_top(name: str) -> None:
    """Put the package that lies at the top of the checkout in the place of the module `name`."""
    folder = Path(__file__).parents[1] / name.rpartition(".")[2]
    spec = spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None  # a file that ends in .py has one
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
