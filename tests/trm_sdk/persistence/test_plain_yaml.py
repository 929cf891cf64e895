"""Plain YAML: what is read, and how everything else is refused, in one sentence and in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from trm_sdk.errors import CheckpointError, ConfigError
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.persistence.yaml import load_yaml

TRUST = Path(__file__).parents[4] / "shared" / "trust"


def test_mappings_lists_and_scalars_are_read():
    text = """
    lr: 1e-3        # YAML 1.1 alone reads this as text
    betas: [.5, 1]
    name: 'yes'
    on: {a: null, b: ~, 3: true}
    date: 2024-13-45
    text: |
      two
      lines
    """
    assert load_yaml(text) == {
        "lr": 0.001,
        "betas": [0.5, 1],
        "name": "yes",
        True: {"a": None, "b": None, 3: True},
        "date": "2024-13-45",
        "text": "two\nlines\n",
    }
    assert load_yaml("") is None
    assert load_yaml("-7") == -7


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &x [1]\nb: *x", r"anchors and aliases are not read \(line 1, column 4\)"),
        ("a: *x", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "tags are not read"),
        ("a: !!bool foo", "tags are not read"),
        ("a: ! x", "tags are not read"),
        ("a: 1\nb: 2\na: 3", r"'a' is given twice \(line 3, column 1\)"),
        ("? [a, b]\n: 1", "key must be text or a number"),
        ("--- a\n--- b", "one document"),
        ("[" * 5000, "nested at most"),
        ("a: [1", r"not valid YAML: .*line 1"),
        ("a: \x00", "not valid YAML"),
        ("a: 0x" + "f" * 5000, r"below 2\*\*63"),
        ("a: " + "9" * 6000, "integer"),
        ("a: " + "x" * (1 << 20), "at most 1,048,576 characters"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text, fault):
    with pytest.raises(ConfigError, match=fault) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(not TRUST.is_dir(), reason="needs ../shared/trust")
def test_hostile_recipes_and_reference_checkpoints_are_refused():
    for path in TRUST.glob("recipe-*.yaml"):
        with pytest.raises(ConfigError):
            load_yaml(path.read_text(encoding="utf-8"))
    for path in TRUST.glob("checkpoint/*/step_1"):
        with pytest.raises(CheckpointError):
            load_model(path)
