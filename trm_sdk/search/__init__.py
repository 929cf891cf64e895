"""Search: test-time compute. Attempts at puzzles, in one continuously refilled batch.

From the outside in: `tasks` (a request per input of a task, a batch per board shape), `scheduler`
(admit, step, ask the rules, retire), `slots` (the rows of a batch), `attempts` (how attempts
differ), `answers` (from logits to tokens), `rules` (how a domain is asked), `select` (which answer
is given), and `stream` (the same search, watched).
"""
