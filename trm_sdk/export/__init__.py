"""Stand-in, in a checkout alone, for the folder `export` at its top."""

from trm_sdk._checkout import load_from_top

load_from_top(__name__)
