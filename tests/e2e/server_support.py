"""A running `awq serve` for tests, and clients for it that need nothing but the standard library."""
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from support import BINARY, SOURCE, Case, command

BOOKS = SOURCE / "models" / "books-12m"
PROMPT = "The old man looked at the sea and"
# Roles in words, so that any model can be asked; knows system prompts, tools and an open last message.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant', 'tool'] %}"
    "{{ raise_exception('role ' + m.role) }}{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if tools %}tools: {{ tools | map(attribute='function.name') | join(', ') }}\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}"
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "y"]}},
          "required": ["a", "b"], "additionalProperties": False}
PROGRAM = BINARY.read_bytes() if BINARY.is_file() else b""
SANITIZED = b"__asan_init" in PROGRAM or b"__tsan_init" in PROGRAM
# ThreadSanitizer does not see the barriers of GCC's OpenMP: a team of two would give false reports.
THREADS = 1 if b"__tsan_init" in PROGRAM else 2


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def events(self):
        """The events of a stream, without the last one, which has to be [DONE]."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        assert lines and lines[-1] == "[DONE]", lines[-1:]
        return [json.loads(line) for line in lines[:-1]]


class Server:
    """Starts on a free port; ends with close(). Standard error is collected in `log`."""

    def __init__(self, model=BOOKS, *flags, environment=None, wait=60):
        env = {key: value for key, value in os.environ.items() if key != "AWQ_API_KEY"}
        env.update(environment or {})
        threads = () if "--threads" in flags else ("--threads", THREADS)
        self.process = subprocess.Popen(command("serve", model, "--port", 0, "--json", *threads, *flags), env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.log = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        text, end = "", time.monotonic() + wait
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536).decode() if ready else ""
            if not piece:
                self.process.kill()
                self._reader.join(5)
                raise RuntimeError(f"the server did not start: {''.join(self.log)}")
            text += piece
            try:
                self.port = json.loads(text)["port"]
                break
            except ValueError:
                continue

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line.decode("utf-8", "replace"))

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def close(self, timeout=60):
        """Asks the server to stop; its exit status."""
        if self.process.poll() is None:
            self.signal()
        try:
            return self.wait(timeout)
        finally:
            self.process.stdout.close()

    def wait(self, timeout=60):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join(5)
        reports = [line for line in self.log if re.search(r"(Thread|Address|Leak)Sanitizer|runtime error:", line)]
        if reports:
            raise AssertionError("".join(self.log[-200:]))
        return status

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            fields = {"Content-Type": "application/json"} if body is not None else {}
            fields.update(headers or {})
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, fields)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def complete(self, prompt="The old man", **fields):
        fields.setdefault("max_tokens", 8)
        fields.setdefault("temperature", 0)
        return self.post("/v1/completions", {"prompt": prompt, **fields})

    def chat(self, text="Who are you?", **fields):
        fields.setdefault("max_tokens", 8)
        fields.setdefault("temperature", 0)
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields})

    def metrics(self):
        """Name with labels -> value, without model_name and engine."""
        out = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = re.sub(r'(model_name|engine)="[^"]*",?', "", name).replace(",}", "}").replace("{}", "")
                out[name] = float(value)
        return out

    def socket(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def threads(self):
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


def chat_template(folder):
    """Flags of a server that answers messages by CHAT_TEMPLATE, which goes into the folder."""
    path = Path(folder) / "chat.jinja"
    path.write_text(CHAT_TEMPLATE)
    return "--chat-template", path


class ServerCase(Case):
    """Tests of servers, which end with the test; those of a class that calls share() with the class."""

    @classmethod
    def share(cls, *flags, **more):
        """One server for all tests of the class: `cls.server`, with the chat template (its flags: `cls.template`)."""
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        cls.template = chat_template(place.name)
        cls.server = Server(BOOKS, *cls.template, *flags, **more)
        cls.addClassCleanup(cls.server.close)

    def serve(self, *flags, **more):
        server = Server(BOOKS, *flags, **more)
        self.addCleanup(server.close)
        return server

    def good(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def refused(self, answer, param=None, status=400):
        self.assertEqual(answer.status, status, answer.body)
        error = answer.error
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertEqual(error["code"], status)
        if param is not None:
            self.assertEqual(error["param"], param, error)
        return error["message"]

    def check_schema(self, text):
        value = json.loads(text)
        self.assertEqual(set(value), {"a", "b"})
        self.assertIn(value["b"], ("x", "y"))
        self.assertLessEqual(value["a"], 99)

    def hits(self, server, name):
        return server.metrics()[f'awq:limit_hits_total{{limit="{name}"}}']


def raw_request(path, body, extra=""):
    """A request as bytes, for sockets."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return (head + extra + "\r\n").encode() + data


def read_all(connection, until=None, limit=1 << 24):
    """What comes until the peer closes, or `until` is there."""
    out = b""
    while len(out) < limit and (until is None or until not in out):
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        out += piece
    return out


def wait_until(condition, seconds=10, pause=0.005):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return condition()
