#!/usr/bin/env python3
"""awq bench-serve against a small server of our own, whose behaviour is known."""
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support import BAD_INPUT, USAGE, Case, awq, run_tests

FIRST, GAP, TOKENS = 0.05, 0.01, 5


class Fake(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = json.dumps({"object": "list", "data": [{"id": "fake-model"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, text):
        blob = text.encode()
        self.wfile.write(f"{len(blob):x}\r\n".encode() + blob + b"\r\n")
        self.wfile.flush()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.keys.append(self.headers["Authorization"])
            self.server.seen.append(request)
            number = len(self.server.seen)
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            self.answer(number)
        finally:
            with self.server.lock:
                self.server.open -= 1

    def answer(self, number):
        mode = self.server.mode if number > 1 else "good"  # the first request only warms up
        if mode == "busy":
            body = json.dumps({"error": {"message": f"{number} requests wait, retry in {3 * number} s"}}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if mode == "broken":
            self.chunk("data: {not json\n\n")
            return
        time.sleep(FIRST)
        for i in range(TOKENS):
            self.chunk("data: " + json.dumps({"choices": [{"text": f" {i}"}]}) + "\n\n")
            time.sleep(GAP)
        if mode == "cut":
            self.close_connection = True
            return
        self.chunk("data: " + json.dumps({"choices": [], "usage": {"completion_tokens": TOKENS}}) + "\n\n")
        self.chunk("data: [DONE]\n\n")
        self.chunk("")


class BenchServe(Case):
    def serve(self, mode="good"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
        server.keys = []
        server.mode, server.seen, server.lock, server.open, server.most_open = mode, [], threading.Lock(), 0, 0
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_address[1]}"

    def points(self, url, *flags):
        return json.loads(self.check_ok(awq("bench-serve", url, "--json", "--prompt", 12, "--gen", TOKENS, *flags)).out)

    def test_counts_and_times(self):
        server, url = self.serve()
        report = self.points(url, "--concurrency", "1,4", "--requests", 8, "--shared-prefix", 6)
        self.assertEqual(report["model"], "fake-model")
        self.assertEqual(len(server.seen), 17)
        self.assertGreater(server.most_open, 1)
        for point, clients in zip(report["points"], (1, 4)):
            self.assertEqual((point["concurrency"], point["requests"], point["errors"]), (clients, 8, {}))
            self.assertEqual(point["output_tokens"], 8 * TOKENS)
            self.assertGreaterEqual(point["first_token_ms"]["p50"], 1e3 * FIRST)
            self.assertGreaterEqual(point["between_tokens_ms"]["mean"], 1e3 * GAP * 0.5)
            self.assertGreaterEqual(point["whole_ms"]["p50"], 1e3 * (FIRST + GAP * (TOKENS - 1)))
            self.assertAlmostEqual(point["output_tokens_per_s"], point["output_tokens"] / point["seconds"], places=6)
        prompts = [tuple(request["prompt"]) for request in server.seen]
        self.assertEqual(len(set(prompts)), len(prompts), "no prompt is sent twice")
        self.assertEqual(len({prompt[:6] for prompt in prompts}), 1)
        self.assertTrue(all(request["stream"] and request["max_tokens"] == TOKENS for request in server.seen))

    def test_rate(self):
        server, url = self.serve()
        points = self.points(url, "--concurrency", "8,16", "--requests", 10, "--rate", "0,5,50.5")["points"]
        self.assertEqual([(p["concurrency"], p["rate"], p["requests"]) for p in points],
                         [(c, r, 10) for c in (8, 16) for r in (0, 5, 50.5)])
        self.assertEqual(len(server.seen), 61)
        # Nine gaps of 1 / 5 s in the mean against those of 1 / 50 s: a busy machine does not turn that around.
        seconds = {(p["concurrency"], p["rate"]): p["seconds"] for p in points}
        for clients in (8, 16):
            self.assertGreater(seconds[clients, 5], seconds[clients, 50.5])
        self.assertEqual(len({tuple(request["prompt"]) for request in server.seen}), 61)

    def test_key(self):
        server, url = self.serve()
        os.environ["AWQ_API_KEY"] = "sk-bench"
        self.addCleanup(os.environ.pop, "AWQ_API_KEY")
        self.points(url, "--concurrency", 1, "--requests", 2)
        self.assertEqual(set(server.keys), {"Bearer sk-bench"})

    def test_failures_are_counted(self):
        for mode, reason in (("busy", "status 503: N requests wait, retry in N s"), ("broken", "event"), ("cut", "closed")):
            with self.subTest(mode=mode):
                _, url = self.serve(mode)
                point = self.points(url, "--concurrency", "2", "--requests", 4)["points"][0]
                self.assertEqual(point["requests"], 0)
                self.assertEqual(sum(point["errors"].values()), 4)
                self.assertTrue(all(reason in text for text in point["errors"]), point["errors"])

    def test_refusals(self):
        self.check_message(awq("bench-serve", "https://localhost:1"), USAGE, "http://host:port")
        self.check_message(awq("bench-serve", "http://192.0.2.7:80"), USAGE, "--allow-remote")
        self.check_message(awq("bench-serve", "http://127.0.0.1:1"), BAD_INPUT, "cannot connect")
        self.check_message(awq("bench-serve", "http://127.0.0.1:1", "--concurrency", 0), USAGE, "--concurrency 0")
        self.check_message(awq("bench-serve", "http://127.0.0.1:1", "--rate", "5,-1"), USAGE, "--rate -1")


if __name__ == "__main__":
    run_tests()
