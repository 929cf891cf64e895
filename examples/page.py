"""A page where one watches a model think, with Streamlit.

pip install '.[page]'
streamlit run examples/page.py
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from trm_sdk import SolveOptions, Solver, Step, Task, TRMError, list_pretrained
from trm_sdk.render.image import draw_board


@st.cache_resource
def load(model: str) -> Solver:
    """Load a model once for all visitors: a Solver is safe to share between threads."""
    return Solver.from_pretrained(model)


def offered(solver: Solver) -> dict[str, str]:
    """Return puzzles to choose from: those that the domain shows, and a generated one."""
    fresh = solver.domain.generate(np.random.default_rng())
    shown = {name: str(text) for name, text in solver.domain.showcase}
    return shown | {"A new one": solver.domain.format(fresh.grid)}


def watch(solver: Solver, task: Task, options: SolveOptions) -> list[Step]:
    """Show the board after every step, and return the steps."""
    board, text = st.empty(), st.empty()
    steps: list[Step] = []
    for step in solver.stream(task, options):
        before = steps[-1].grid if steps else None
        steps.append(step)
        tried = [(row, column) for row, column, _ in step.guesses]
        certainty = step.probabilities.max(-1)
        board.image(
            draw_board(solver.domain, task, step.grid, certainty, before=before, tried=tried)
        )
        text.caption(
            f"attempt {step.attempt}, step {step.index}; the halting head gives it "
            f"{step.confidence:.0%}"
        )
    return steps


def main() -> None:
    st.set_page_config("trm-sdk", "🧩")
    st.title("Watch it think")
    names = list_pretrained()
    model = st.sidebar.selectbox("Model", names, index=names.index("sudoku"))
    solver = load(model)
    if st.session_state.get("model") != model:
        st.session_state.model, st.session_state.puzzles = model, offered(solver)
    usual = solver.options
    attempts = st.sidebar.slider("Attempts", 1, max(64, usual.attempts), usual.attempts)
    max_steps = st.sidebar.slider(
        "Steps per attempt", 1, max(128, usual.max_steps), usual.max_steps
    )
    chosen = st.selectbox("Puzzle", list(st.session_state.puzzles))
    text = st.text_area("As text", st.session_state.puzzles[chosen], height=120)
    try:
        task = solver.parse(text)
        if not st.button("Solve", type="primary"):
            st.image(draw_board(solver.domain, task))
            return
        explore = "guess" if usual.explore == "none" else usual.explore
        options = SolveOptions(attempts=attempts, max_steps=max_steps, explore=explore)
        steps = watch(solver, task, options)
    except TRMError as error:
        st.error(str(error))
        return
    if steps[-1].verified:
        st.success(f"Confirmed by the rules after {len(steps)} steps.")
    else:
        st.warning(f"Not solved in {len(steps)} steps: allow more attempts or steps.")
    st.code(solver.domain.format(steps[-1].grid))


main()
