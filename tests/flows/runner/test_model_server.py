"""The process behind `safereact serve`: which command, when it is ready, and what ends with it."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

from components.core.errors import ConfigError, StageError
from components.gate.result import Decision
from components.registry.answering import Usable
from flows.runner.model_server import _vllm_words, model_server
from tests.evidence import make_models, partial_evidence

DECISION = Decision.model_construct(rules=(), labelled=())
# Stands for vLLM, which is not installed: it notes how it was called and lists what it was told.
VLLM = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

words = sys.argv[1:]
Path("called.json").write_text(json.dumps(words))
Path("telemetry").write_text(os.environ.get("VLLM_NO_USAGE_STATS", "0"))
if int(words[words.index("--max-lora-rank") + 1]) not in (1, 8, 16, 32, 64, 128, 256, 320, 512):
    sys.exit("vllm serve: error: argument --max-lora-rank: invalid choice")
print("loading \\x1b[31m", flush=True)
if Path("broken").exists():
    sys.exit("no memory")
name = words[words.index("--lora-modules") + 1].partition("=")[0]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"data": [{{"id": "post-trained"}}, {{"id": name}}]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(words[words.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def version(tmp_path: Path, monkeypatch) -> Usable:
    """A version whose adapter has rank 12, on a machine that has vLLM."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(VLLM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 12}))
    (tmp_path / "server").mkdir()
    return Usable("3", adapter, tmp_path / "model", make_models(), partial_evidence(), DECISION)


def test_vllm_gets_the_model_and_the_adapter_and_ends_with_the_block(
    version, tmp_path, port, monkeypatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody listens, and nobody is asked
    monkeypatch.setenv("SAFEREACT_PRECISION", "float32")
    monkeypatch.setenv("DO_NOT_TRACK", "true")  # which vLLM takes for no: it asks for 1
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    lines: list[str] = []
    place = tmp_path / "server"
    with model_server(
        version, "demo", place, host="127.0.0.1", port=port, log=lines.append
    ) as server:
        server.wait_until_ready()
        assert server.address == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(ConfigError, match="--port"):
            model_server(
                version, "demo", place, host="127.0.0.1", port=port, log=lines.append
            ).__enter__()
    words = json.loads((place / "called.json").read_text())
    assert words[:2] == ["serve", str(version.model)]
    options = dict(pairwise(words))
    assert options["--lora-modules"] == f"demo={version.adapter}"
    assert options["--max-lora-rank"] == "16" and "--enable-lora" in words
    # Of a checkpoint of float32 vLLM's own choice would make bfloat16.
    assert options["--dtype"] == "float32" and options["--load-format"] == "safetensors"
    assert (place / "telemetry").read_text() == "1"
    assert lines[0] == "loading ⟨U+001B⟩[31m"
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(server.address, trust_env=False)


def test_a_server_that_ends_says_why(version, tmp_path, port):
    place = tmp_path / "server"
    (place / "broken").touch()
    begin = time.monotonic()
    with (
        pytest.raises(StageError, match="exit code 1: no memory"),
        model_server(
            version, "demo", place, host="127.0.0.1", port=port, log=lambda _: None
        ) as server,
    ):
        server.wait_until_ready()
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (64, 64), (257, 320), (512, 512)])
def test_vllm_is_given_room_of_a_size_that_it_has(version, rank, room):
    (version.adapter / "adapter_config.json").write_text(json.dumps({"r": rank}))
    words = _vllm_words(version, "demo")
    assert words[words.index("--max-lora-rank") + 1] == str(room)


def test_a_rank_that_vllm_does_not_take_is_refused(version):
    (version.adapter / "adapter_config.json").write_text(json.dumps({"r": 513}))
    with pytest.raises(ConfigError, match="rank 513, and vLLM takes 512 at most"):
        _vllm_words(version, "demo")
