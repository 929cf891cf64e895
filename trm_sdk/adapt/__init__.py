"""Learning one task at test time, from its demonstrations alone.

`solver` is the door: `adapt`, `solve_task` and what they return. `nodes` and `sizes` say what a
network sees of a task, `network` and `kernels` are the network, `training` teaches it, `votes`
asks its snapshots, `many` goes through a list of tasks, `graph` runs an exported network.
"""

from __future__ import annotations
