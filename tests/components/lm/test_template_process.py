"""The process that renders templates: whoever asks, and however it or the asking one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from components.lm.template_process import TemplateProcess

ENDLESS = "{% for i in range(10**5) %}{% for j in range(10**5) %}{% endfor %}{% endfor %}"


def request(text: str, template: str = "[{{ messages[0].content }}]") -> dict[str, object]:
    message = {"role": "user", "content": text}
    asked = {"template": template, "messages": [message], "tokens": {}}
    return {**asked, "add_generation_prompt": True}


@pytest.fixture
def process():
    made = TemplateProcess(seconds=0.5)
    yield made
    made.close()


def children() -> set[int]:
    found = psutil.Process().children()
    return {child.pid for child in found if "template_process" in " ".join(child.cmdline())}


def test_threads_get_their_own_replies(process):
    texts = [f"{i} \ud800 é\n" * (i + 1) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: process.ask(request(text)), texts)) == [
            f"[{text}]" for text in texts
        ]


def test_long_texts_are_rendered(process):
    text = "é" * 3_000_000
    assert process.ask(request(text)) == f"[{text}]"


def test_one_that_was_ended_is_started_again(process):
    before = children()
    assert process.ask(request("a")) == "[a]"
    (pid,) = children() - before
    os.kill(pid, signal.SIGTERM)
    psutil.Process(pid).wait(50)
    assert process.ask(request("b")) == "[b]"
    with pytest.raises(ValueError, match="seconds"):
        process.ask(request("a", ENDLESS))
    assert process.ask(request("c")) == "[c]"


def test_an_interrupt_half_way_leaves_no_reply_behind(process):
    process.ask(request("a"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.ask(request("late", ENDLESS))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert process.ask(request("next")) == "[next]"


def test_a_forked_worker_asks_one_of_its_own(process):
    process.ask(request("a"))
    worker = os.fork()
    if worker == 0:
        os._exit(0 if process.ask(request("worker")) == "[worker]" else 1)
    assert process.ask(request("parent")) == "[parent]"
    assert os.waitpid(worker, 0)[1] == 0
    assert process.ask(request("parent")) == "[parent]"


def test_it_ends_with_the_process_that_asks():
    code = (
        "import time; from components.lm.template_process import TemplateProcess;"
        "p = TemplateProcess();"
        f"p.ask({request('a')!r}); print(p._child.pid, flush=True); time.sleep(60)"
    )
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    asking.kill()
    asking.communicate()
    until = time.monotonic() + 50
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
