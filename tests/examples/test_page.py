"""The Streamlit page starts, solves with every model, and says what is wrong with a puzzle."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import Any
from urllib.request import urlopen

import pytest
from programs import EXAMPLES, PUZZLES

from trm_sdk import list_pretrained

pytest.importorskip("streamlit", reason="needs the page extra")
pytest.importorskip("PIL", reason="needs the image extra")
PAGE = EXAMPLES / "page.py"


@pytest.fixture
def page() -> Any:
    from streamlit.testing.v1 import AppTest

    return AppTest.from_file(str(PAGE), default_timeout=120).run()


@pytest.mark.parametrize("model", list_pretrained())
def test_it_solves_with_every_model(page: Any, model: str) -> None:
    if model == "maze":
        pytest.importorskip("numba")
    page.sidebar.selectbox[0].select(model).run()
    page.button[0].click().run()
    assert not page.exception
    assert page.success[0].value.startswith("Confirmed by the rules after ")
    assert len(page.code[0].value.splitlines()) > 1


def test_a_puzzle_of_ones_own_and_one_that_is_none(page: Any) -> None:
    page.text_area[0].set_value(PUZZLES[1]).run()
    page.button[0].click().run()
    assert page.success
    page.text_area[0].set_value("55" + "." * 79).run()
    assert not page.exception
    assert "contradicting givens: 5" in page.error[0].value


def test_it_starts_under_streamlit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), "--server.headless", "true"]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1"]
    quiet = ["--browser.gatherUsageStats", "false"]
    process = subprocess.Popen([*command, *options, *quiet], stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                with urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as reply:
                    assert reply.read() == b"ok"
                return
            except OSError:
                assert process.poll() is None, "it ended"
                time.sleep(0.2)
        pytest.fail("it did not start in a minute")
    finally:
        process.terminate()
        process.wait()
