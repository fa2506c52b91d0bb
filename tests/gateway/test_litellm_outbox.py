"""integrations/litellm: nothing that was captured is lost between the proxy and Meterhall, whoever dies in between."""

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.litellm_proxy import INTEGRATION, until

PATH = "/api/v1/authorizations/0192/capture"


def load(name: str) -> ModuleType:
    """A module of the integration, which is no package of ours."""
    spec = importlib.util.spec_from_file_location(name, INTEGRATION / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Receiver:
    """Meterhall's end of the line: answers the given statuses first, 200 afterwards."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = receiver.answers.pop(0) if receiver.answers else (200, {})
                if status == 200:
                    receiver.taken.append({"path": self.path, "body": body, "token": self.headers["Authorization"]})
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class Sender:
    """A process with an outbox; each line that it is given is one message, and it says when that is spooled."""

    SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import meterhall_outbox
meterhall_outbox.MAX_IN_MEMORY = int(sys.argv[4])
meterhall_outbox.LARGEST_FILE = int(sys.argv[5])
box = meterhall_outbox.Outbox(base_url=sys.argv[2], token="gw-secret", spool_dir=Path(sys.argv[3]), timeout_s=5)
box.start()
print("ready", flush=True)
for line in sys.stdin:
    box.put("/api/v1/authorizations/0192/capture", {"number": int(line)})
    print("spooled", flush=True)
box.close(30)
"""

    def __init__(self, url: str, spool: Path, *, in_memory: int = 10_000, largest_file: int = 1 << 20) -> None:
        command = [sys.executable, "-c", self.SCRIPT, str(INTEGRATION), url, str(spool), str(in_memory),
                   str(largest_file)]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.heard() == "ready"

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def put(self, *numbers: int) -> None:
        assert self.process.stdin is not None
        for number in numbers:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
            assert self.heard() == "spooled"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def finish(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def numbers(receiver: Receiver) -> list[int]:
    return sorted(message["body"]["number"] for message in receiver.taken)


def test_each_message_arrives_once_with_the_gateway_token_and_leaves_an_empty_spool(
    receiver: Receiver, tmp_path: Path
) -> None:
    sender = Sender(receiver.url, tmp_path / "spool")
    sender.put(*range(20))
    sender.finish()
    assert numbers(receiver) == list(range(20))
    assert {message["token"] for message in receiver.taken} == {"Bearer gw-secret"}
    assert [path.read_text() for path in (tmp_path / "spool").glob("spool-*.jsonl")] == [""]


def test_messages_are_sent_again_while_meterhall_is_away(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(503, {}), (500, {}), (429, {}), (401, {})]
    sender = Sender(receiver.url, tmp_path / "spool")
    sender.put(1, 2)
    sender.finish()
    assert numbers(receiver) == [1, 2]


def test_a_killed_process_leaves_its_messages_to_the_next_one(receiver: Receiver, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    receiver.answers = [(503, {})] * 1_000
    killed = Sender(receiver.url, spool)
    killed.put(*range(10))
    killed.kill()
    assert receiver.taken == []

    receiver.answers = []
    with next(iter(spool.glob("spool-*.jsonl"))).open("a") as cut_short:
        cut_short.write('{"id":"7f3a","path":"/api/v1/autho')
    heir = Sender(receiver.url, spool)
    until(lambda: len(receiver.taken) >= 10, what="the orphaned messages were sent")
    heir.finish()
    assert numbers(receiver) == list(range(10))
    assert len(list(spool.glob("spool-*.jsonl"))) == 1, "the file of the dead process is gone"


def test_a_living_process_keeps_its_file_to_itself(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(503, {})]
    first = Sender(receiver.url, tmp_path / "spool")
    first.put(1)
    second = Sender(receiver.url, tmp_path / "spool")
    second.put(2)
    second.finish()
    first.finish()
    assert numbers(receiver) == [1, 2]


def test_more_messages_than_memory_allows_wait_on_disk(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(503, {})] * 8
    sender = Sender(receiver.url, tmp_path / "spool", in_memory=5)
    sender.put(*range(200))
    sender.finish()
    assert numbers(receiver) == list(range(200))


def test_a_spool_that_is_never_empty_is_renewed_and_loses_nothing(receiver: Receiver, tmp_path: Path) -> None:
    sender = Sender(receiver.url, tmp_path / "spool", largest_file=2_000)
    sender.put(*range(300))
    sender.finish()
    assert sorted(set(numbers(receiver))) == list(range(300))
    assert all(path.stat().st_size < 20_000 for path in (tmp_path / "spool").iterdir())


def test_what_meterhall_refuses_for_good_is_kept_for_a_person(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(422, {"code": "invalid_usage"})]
    sender = Sender(receiver.url, tmp_path / "spool")
    sender.put(1, 2)
    sender.finish()
    rejected = [json.loads(line) for line in (tmp_path / "spool" / "rejected.jsonl").read_text().splitlines()]
    assert [(entry["status"], entry["code"], entry["path"]) for entry in rejected] == [(422, "invalid_usage", PATH)]
    assert len(receiver.taken) == 1


def test_the_spool_is_readable_by_its_owner_only(receiver: Receiver, tmp_path: Path) -> None:
    sender = Sender(receiver.url, tmp_path / "spool")
    sender.finish()
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "spool").iterdir())


# --- what a call may use, and what it has used ---------------------------------------------------------------------


usage = load("meterhall_usage")


def test_the_estimate_bounds_text_from_above_and_counts_files_flat() -> None:
    english = {"messages": [{"role": "user", "content": "word " * 3_000}], "max_tokens": 100, "n": 2}
    assert usage.estimate(english)["input_tokens"] >= 3_000
    assert usage.estimate(english)["max_output_tokens"] == 200
    chinese = {"messages": [{"role": "user", "content": "计费" * 500}]}
    assert usage.estimate(chinese) == {"input_tokens": 1_000 + 4}
    picture = {"input": [{"type": "input_image", "image_url": "data:image/png;base64," + "A" * 900_000}]}
    assert usage.estimate(picture)["input_tokens"] < 1_600
    assert usage.estimate({"input": [1, 2, 3]}) == {"input_tokens": 3}
    assert "max_output_tokens" not in usage.estimate({"messages": [], "max_tokens": -5})


def test_a_stream_in_anthropics_events_tells_its_usage_only_when_it_is_whole() -> None:
    stream = usage.StreamUsage({})
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}
    stream.feed(f"event: message_start\ndata: {json.dumps(begun)}\n\n".encode())
    assert stream.told is None
    ended = f"data: {json.dumps({'type': 'message_delta', 'usage': {'output_tokens': 40}})}\n\n"
    stream.feed(ended[:25])
    assert stream.told is None
    stream.feed(ended[25:])
    assert stream.told == {
        "provider_usage": {"input_tokens": 10, "output_tokens": 40},
        "format": "anthropic.messages",
    }


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "details": None}},
            {"provider_usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, "format": "litellm"},
        ),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}, None),
        ({"usage": {"input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}}}, "openai.responses"),
        ({"type": "response.completed", "response": {"usage": {"input_tokens": 3}}}, "anthropic.messages"),
        ({"choices": []}, None),
        ({"data": [{"url": "…"}, {"url": "…"}]}, {"usage": {"requests": 1, "images": 2, "width": 1024, "height": 512}}),
        ({"results": [], "meta": {"tokens": {"input_tokens": 9}}}, {"usage": {"requests": 1, "input_tokens": 9}}),
    ],
)
def test_usage_is_read_from_every_shape_of_answer(answer: dict[str, Any], told: Any) -> None:
    found = usage.usage_of(answer, {"size": "1024x512"})
    assert (found["format"] if isinstance(told, str) else found) == told
