"""Training: ``trm-fit`` and what it is made of."""

from trm_sdk.validation import require_extra

require_extra("train", "training", "torch")
