"""Learning one task at test time, from its demonstrations alone.

`solver` is the entry point: `adapt`, `solve_task` and what they return. `nodes` and `sizes` say
what a network sees of a task, `network` and `kernels` are the network, `training` trains it,
`votes` counts its snapshots' answers. `many` solves a list of tasks, `saved` is a solver's folder,
`graph` runs an exported network.
"""

from __future__ import annotations
