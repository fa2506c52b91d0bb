"""A real LiteLLM proxy in a process of its own, and a provider behind it that answers what the test wants.

The proxy runs from its own virtual environment (`integrations/litellm/install.py` makes it), so nothing here
imports litellm. The provider is the other end of the wire, not a part of us: it speaks the OpenAI and Anthropic
formats, tells usage, streams, breaks and refuses on request, and counts what reaches it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
INTEGRATION = ROOT / "integrations" / "litellm"
LITELLM = ROOT / ".venv-litellm" / "bin" / "litellm"

OPENAI_USAGE = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
OPENAI_CACHED_USAGE = {
    "prompt_tokens": 2_000,
    "completion_tokens": 100,
    "total_tokens": 2_100,
    "prompt_tokens_details": {"cached_tokens": 1_500},
}
ANTHROPIC_USAGE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "cache_read_input_tokens": 800,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
}


def missing() -> str | None:
    """Why the proxy cannot run here, or None when it can."""
    if not LITELLM.exists():
        return f"LiteLLM is not installed in {LITELLM.parents[1].name}: run `make litellm`"
    return None


class Upstream:
    """The provider. The upstream model's name says how it behaves; `requests` are what it was sent."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.release = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                upstream.requests.append({"path": self.path, "body": body})
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    upstream.answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def calls_of(self, model: str) -> int:
        return sum(request["body"].get("model") == model for request in self.requests)

    # -- answers --------------------------------------------------------------------------------------

    def answer(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        model = body["model"]
        if model == "down" or (model == "flaky" and self.calls_of("flaky") % 2 == 1):
            self._json(to, 500, {"error": {"message": "the model is on fire", "type": "server_error"}})
        elif to.path.endswith("/messages"):
            self._anthropic(to, body)
        elif to.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            told = {"prompt_tokens": 77, "total_tokens": 77}
            self._json(to, 200, {"object": "list", "model": model, "data": data, "usage": told})
        elif to.path.endswith("/responses"):
            self._responses(to, body)
        elif body.get("stream"):
            self._openai_stream(to, body)
        else:
            usage = OPENAI_CACHED_USAGE if model == "cached" else OPENAI_USAGE
            choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Good day."}}]
            answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": choices}
            self._json(to, 200, answer | ({} if model == "silent" else {"usage": usage}))

    def _openai_stream(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        model = body["model"]
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        self._begin_events(to)
        for word in ("Good ", "day, ", "dear ", "customer."):
            delta = {"role": "assistant", "content": word}
            self._event(to, base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        if model == "breaks":
            self._event(to, {"error": {"message": "the model has caught fire", "type": "server_error", "code": 500}})
            return
        if model == "slow":
            self.release.wait(20)
        self._event(to, base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if model != "silent" and (body.get("stream_options") or {}).get("include_usage"):
            usage = OPENAI_CACHED_USAGE if model == "cached" else OPENAI_USAGE
            self._event(to, base | {"choices": [], "usage": usage})
        to.wfile.write(b"data: [DONE]\n\n")

    def _responses(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        usage = {
            "input_tokens": 500,
            "input_tokens_details": {"cached_tokens": 400},
            "output_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 560,
        }
        text = {"type": "output_text", "text": "Good day.", "annotations": []}
        output = [{"type": "message", "id": "m1", "status": "completed", "role": "assistant", "content": [text]}]
        answer = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": body["model"],
                  "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                  "usage": usage}  # fmt: skip
        if not body.get("stream"):
            self._json(to, 200, answer)
            return
        self._begin_events(to)
        created = answer | {"status": "in_progress", "output": [], "usage": None}
        self._event(to, {"type": "response.created", "response": created, "sequence_number": 0})
        delta = {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0, "content_index": 0}
        self._event(to, delta | {"delta": "Good day.", "sequence_number": 1})
        self._event(to, {"type": "response.completed", "response": answer, "sequence_number": 2})

    def _anthropic(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
        if not body.get("stream"):
            content = [{"type": "text", "text": "Good day."}]
            answer = message | {"content": content, "stop_reason": "end_turn", "usage": ANTHROPIC_USAGE}
            self._json(to, 200, answer)
            return
        self._begin_events(to)
        begun = message | {"content": [], "stop_reason": None, "usage": ANTHROPIC_USAGE | {"output_tokens": 1}}
        text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good day."}}
        for event in (
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            text,
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}},
            {"type": "message_stop"},
        ):
            self._event(to, event)

    def _json(self, to: BaseHTTPRequestHandler, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        to.send_response(status)
        to.send_header("Content-Type", "application/json")
        to.send_header("Content-Length", str(len(text)))
        to.end_headers()
        to.wfile.write(text)

    def _begin_events(self, to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "text/event-stream")
        to.end_headers()

    def _event(self, to: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
        name = f"event: {event['type']}\n" if "type" in event else ""
        to.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        to.wfile.flush()


class Line:
    """The wire between the proxy and Meterhall: one address, wherever the test's stack listens; it can be cut."""

    def __init__(self) -> None:
        self.target: int | None = None
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lead_to(self, url: str) -> None:
        self.cut()
        self.target = int(url.rpartition(":")[2])

    def cut(self) -> None:
        """Break what is open and let nobody in."""
        self.target = None
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.target is None:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._open |= {near, far}
            thread = threading.Thread(target=self._carry, args=(near, far))
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=(far, near))
        back.start()
        self._pump(near, far)
        back.join()
        for end in (near, far):
            self._open.discard(end)
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """`litellm --config …` with our module beside the configuration, as an operator would have it."""

    def __init__(self, directory: Path, *, models: list[dict[str, Any]], meterhall: str, token: str) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.log = directory / "proxy.log"
        self.token = token
        self.meterhall = meterhall
        for module in INTEGRATION.glob("meterhall_*.py"):
            with contextlib.suppress(FileExistsError):
                (directory / module.name).symlink_to(module)
        config = {
            "model_list": models,
            "litellm_settings": {
                "callbacks": ["meterhall_litellm.meterhall"],
                "num_retries": 1,
                "fallbacks": [{"test/falls-back": ["test/chat"]}],
                "cache": True,
                "cache_params": {"type": "local", "mode": "default_off"},
            },
            "router_settings": {"retry_after": 0, "disable_cooldowns": True},
            "general_settings": {"custom_auth": "meterhall_litellm.user_api_key_auth"},
        }
        (directory / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, meterhall: str | None = None, timeout_s: float = 300) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
            "NO_PROXY": "127.0.0.1",
            "METERHALL_URL": meterhall or self.meterhall,
            "METERHALL_GATEWAY_TOKEN": self.token,
            "METERHALL_SPOOL_DIR": str(self.spool),
            "METERHALL_FIELDS": "header:x-priority",
            "METERHALL_TIMEOUT_S": "10",
        }
        command = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            until(self._alive, timeout_s=timeout_s, what="the LiteLLM proxy is up")
        except BaseException:
            self.kill()
            raise

    def _alive(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"LiteLLM ended with {self._process.returncode}:\n{self.log.read_text()[-3000:]}")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/liveliness", timeout=2).status_code == 200
        return False

    def kill(self) -> None:
        """As a crash would: nothing is told, nothing is flushed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)

    # -- calls as a customer makes them -----------------------------------------------------------------

    def post(self, route: str, key: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        """As the vendor's own library would send it: Anthropic's puts the key in a header of its own."""
        credential = {"x-api-key": key} if route.endswith("/messages") else {"Authorization": f"Bearer {key}"}
        return httpx.post(self.url + route, json=body, headers=credential | (headers or {}), timeout=60)

    def chat(self, key: str, model: str, **more: Any) -> httpx.Response:
        headers = more.pop("headers", None)
        return self.post("/v1/chat/completions", key, question(model) | more, headers)

    @contextlib.contextmanager
    def streamed(self, key: str, model: str, **more: Any) -> Iterator[httpx.Response]:
        with httpx.stream(
            "POST",
            f"{self.url}/v1/chat/completions",
            json=question(model) | {"stream": True} | more,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        ) as response:
            yield response


def question(model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": "Good day to you."}]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], *, what: str, timeout_s: float = 20) -> Any:
    """Ask again until the answer is true; a deadline, not a sleep, decides that it will not become so."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = true()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s, but not yet: {what}")
        time.sleep(0.05)
