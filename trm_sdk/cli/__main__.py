"""`python -m trm_sdk.cli`: the same as `trm`."""

from trm_sdk.cli import main

main()
