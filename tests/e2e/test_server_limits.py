#!/usr/bin/env python3
"""What the server does with clients that are slow or hostile; keys, addresses, TLS, flags, drain."""
import json
import signal
import ssl
import subprocess
import shutil
import time
import http.client

from server_support import BOOKS, PROMPT, ServerCase, raw_request, read_all, wait_until
from support import USAGE, awq, run_tests

STOPPED = 143


class Limits(ServerCase):
    def test_slow_and_oversized_requests(self):
        server = self.serve("--head-timeout-ms", 300, "--body-timeout-ms", 300, "--idle-timeout-ms", 300, "--max-body-bytes", 2000,
                            "--max-header-bytes", 1000, "--max-request-line-bytes", 100, "--max-headers", 10,
                            "--max-pipelined-bytes", 1000)
        begin = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        cases = {
            "head-timeout-ms": (begin, 408),
            "body-timeout-ms": (begin + b"Content-Length: 100\r\n\r\nabc", 408),
            "max-body-bytes": (begin + b"Content-Length: 2001\r\n\r\n", 413),
            "max-header-bytes": (begin + b"X: " + b"x" * 2000, 431),
            "max-request-line-bytes": (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\n", 414),
            "max-headers": (begin + b"A: 1\r\n" * 20 + b"\r\n", 431),
        }
        for name, (sent, status) in cases.items():
            with server.socket() as connection:
                connection.sendall(sent)
                start = time.monotonic()
                answer = read_all(connection)
                self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()), (name, answer))
                self.assertLess(time.monotonic() - start, 3, name)
            self.assertGreaterEqual(self.hits(server, name), 1, name)
        chunked = begin + b"Transfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n"
        with server.socket() as connection:
            connection.sendall(chunked + b"ffffff\r\n")
            self.assertIn(b" 413 ", read_all(connection))
        with server.socket() as connection:  # one byte at a time does not restart the deadline
            start = time.monotonic()
            try:
                for byte in begin * 4:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)
            except OSError:
                pass
            self.assertLess(time.monotonic() - start, 3)
        with server.socket() as connection:
            connection.sendall(begin + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            self.assertIn(b" 400 ", read_all(connection))
        with server.socket() as connection:  # two requests at once are answered one after the other
            one = raw_request("/v1/completions", {"prompt": "a", "max_tokens": 1})
            connection.sendall(one + one)
            self.assertEqual(read_all(connection).count(b"HTTP/1.1 200 OK"), 2)
        with server.socket() as connection:
            connection.sendall(raw_request("/v1/completions", {"prompt": "a", "max_tokens": 200, "ignore_eos": True}) + b"x" * 3000)
            read_all(connection)
        self.assertTrue(wait_until(lambda: self.hits(server, "max-pipelined-bytes") >= 1))
        self.assertEqual(server.get("/health").status, 200)

    def test_chunked_body_and_continue(self):
        server = self.serve()
        data = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        with server.socket() as connection:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for byte in data:
                connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
            self.assertIn(b"HTTP/1.1 200 OK", read_all(connection))
        with server.socket() as connection:
            connection.sendall(head + f"Expect: 100-continue\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            self.assertIn(b"100 Continue", read_all(connection, b"\r\n\r\n"))
            connection.sendall(data)
            self.assertIn(b"HTTP/1.1 200 OK", read_all(connection))

    def test_keys(self):
        keys = self.folder / "keys"
        keys.write_text("sk-alpha\nsk-beta\n")
        server = self.serve("--api-key-file", keys, environment={"AWQ_API_KEY": "sk-gamma"})
        for path in ("/v1/models", "/metrics", "/version", "/load"):
            self.assertEqual(server.get(path).status, 401, path)
            self.assertEqual(server.get(path, headers={"Authorization": "Bearer sk-beta"}).status, 200, path)
        for path in ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"):
            answer = server.post(path, {"prompt": "x"})
            self.assertEqual((answer.status, answer.json()), (401, {"error": "Unauthorized"}), path)
        self.assertEqual(server.get("/health").status, 200)
        self.assertEqual(server.get("/v1/models", headers={"X-Api-Key": "sk-gamma"}).status, 200)
        for wrong in ("Bearer ", "Bearer sk-alph", "Bearer sk-alpha ,", "Basic sk-alpha", "sk-alpha"):
            self.assertEqual(server.get("/v1/models", headers={"Authorization": wrong}).status, 401, wrong)
        self.assertFalse(any("sk-" in line for line in server.log))

    def test_addresses(self):
        refused = awq("serve", BOOKS, "--host", "0.0.0.0", "--port", 0)
        self.check_message(refused, USAGE, "--host 0.0.0.0", "--api-key-file")
        server = self.serve()
        # A page of another site that got its name to point here is not answered, nor is anything allowed across origins.
        self.assertEqual(server.get("/v1/models", headers={"Host": "evil.example"}).status, 403)
        self.assertEqual(server.get("/v1/models", headers={"Host": "evil.example"}).error["type"], "PermissionDeniedError")
        answer = server.get("/v1/models", headers={"Origin": "http://evil.example"})
        self.assertFalse([name for name in answer.headers if name.lower().startswith("access-control")])
        taken = awq("serve", BOOKS, "--port", server.port)
        self.check_message(taken, USAGE, "--port", str(server.port))

    def test_flags_are_checked(self):
        self.check_message(awq("serve", BOOKS, "--max-n", 0), USAGE, "--max-n 0", "1 to 1024")
        for flag, value in (("--max-num-seqs", 10**9), ("--max-num-seqs", 0), ("--max-num-batched-tokens", -1), ("--max-model-len", -1),
                            ("--gpu-memory-utilization", 7), ("--gpu-memory-utilization", "nan")):
            self.check_message(awq("serve", BOOKS, "--port", 0, flag, value), USAGE, flag, value)
        self.check_message(awq("serve", BOOKS, "--tls-cert", "x"), USAGE, "--tls-cert", "--tls-key")
        self.check_message(awq("serve", BOOKS, "--port", 70000), USAGE, "--port 70000")
        self.check_message(awq("serve", BOOKS, "--threads", 1, "--override-generation-config", '{"temperature": 9}'), USAGE, "temperature")
        self.check_message(awq("serve", BOOKS, "--log-level", "loud"), USAGE, "--log-level loud")

    def test_generation_config(self):
        server = self.serve("--override-generation-config", '{"temperature": 0, "max_new_tokens": 3}')
        body = {"prompt": PROMPT, "max_tokens": 8}
        self.assertEqual(len({server.post("/v1/completions", body).json()["choices"][0]["text"] for _ in range(3)}), 1)

    def test_drain(self):
        server = self.serve()
        with server.socket() as connection:
            connection.sendall(raw_request("/v1/completions", {"prompt": PROMPT, "max_tokens": 200, "ignore_eos": True, "stream": True}))
            read_all(connection, b"data: ")
            server.signal(signal.SIGTERM)
            rest = read_all(connection)
        self.assertIn(b'"finish_reason":"length"', rest)
        self.assertIn(b"data: [DONE]", rest)
        self.assertEqual(server.wait(), STOPPED)
        self.assertTrue(any("all requests were answered" in line for line in server.log), server.log)
        short = self.serve("--drain-timeout-ms", 0)
        with short.socket() as connection:
            connection.sendall(raw_request("/v1/completions", {"prompt": PROMPT, "max_tokens": 240, "ignore_eos": True, "stream": True, "n": 32, "temperature": 1}))
            read_all(connection, b"data: ")
            short.signal(signal.SIGTERM)
            rest = read_all(connection)
        self.assertIn(b'"code":503', rest)
        self.assertIn(b"data: [DONE]", rest)
        self.assertEqual(short.wait(), STOPPED)

    @staticmethod
    def certificate(folder):
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        return done.returncode == 0

    def test_tls(self):
        if shutil.which("openssl") is None or not self.certificate(self.folder):
            self.skipTest("openssl makes no certificate here")
        server = self.serve("--tls-cert", self.folder / "cert.pem", "--tls-key", self.folder / "key.pem")
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        for _ in range(2):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
            body = {"prompt": PROMPT, "max_tokens": 20, "stream": True, "temperature": 0}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertIn(b"[DONE]", answer.read())
            connection.request("GET", "/health")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        with server.socket() as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertNotIn(b"200", read_all(plain))

if __name__ == "__main__":
    run_tests()
