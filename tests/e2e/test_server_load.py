#!/usr/bin/env python3
"""Clients that are many, gone or never read: overload, cancels, back-pressure, and the same tokens alone as among many."""
import concurrent.futures
import random
import socket
import time

from server_support import BOOKS, SANITIZED, Server, raw_request, wait_until
from support import Case, run_tests

PROMPT = "The old man looked at the sea and"


class Load(Case):
    def serve(self, *flags, **more):
        server = Server(BOOKS, *flags, **more)
        self.addCleanup(server.close)
        return server

    def hits(self, server, name):
        return server.metrics()[f'awq:limit_hits_total{{limit="{name}"}}']

    def test_a_disconnect_frees_blocks(self):
        server = self.serve()
        for stream in (True, False):
            connection = server.socket()
            connection.sendall(raw_request("/v1/completions", {"prompt": PROMPT, "max_tokens": 240, "ignore_eos": True, "stream": stream, "n": 8,
                                                               "temperature": 1}))
            self.assertTrue(wait_until(lambda: server.metrics()["awq:kv_blocks_used"] > 0))
            connection.close()
            gone = time.monotonic()
            self.assertTrue(wait_until(lambda: server.metrics()["awq:kv_blocks_used"] == 0, 5))
            self.assertLess(time.monotonic() - gone, 2.5 if SANITIZED else 0.25)

    def test_a_client_that_never_reads(self):
        server = self.serve("--max-stream-buffer-bytes", 2048, "--write-timeout-ms", 500)
        quiet = server.socket()
        quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        body = {"prompt": PROMPT, "max_tokens": 240, "ignore_eos": True, "stream": True, "n": 16, "temperature": 1, "logprobs": 20}
        quiet.sendall(raw_request("/v1/completions", body))
        self.assertTrue(wait_until(lambda: server.metrics()["awq:http_streams"] == 1))
        self.assertTrue(wait_until(lambda: server.metrics()["awq:http_streams"] == 0 and server.metrics()["awq:kv_blocks_used"] == 0, 30))
        self.assertEqual(server.complete().status, 200)
        quiet.close()

    def test_overload_is_told_fast(self):
        server = self.serve("--max-requests", 8, "--max-num-seqs", 4)
        body = {"prompt": PROMPT, "max_tokens": 100, "ignore_eos": True, "temperature": 0}

        def ask(_):
            start = time.monotonic()
            answer = server.post("/v1/completions", body)
            return answer, time.monotonic() - start

        with concurrent.futures.ThreadPoolExecutor(80) as pool:
            answers = list(pool.map(ask, range(80)))
        good = [answer for answer, _ in answers if answer.status == 200]
        full = [(answer, seconds) for answer, seconds in answers if answer.status == 429]
        self.assertEqual(len(good) + len(full), 80)
        self.assertGreaterEqual(len(good), 8)
        self.assertGreater(len(full), 0)
        for answer, _ in full:
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        self.assertEqual(len({answer.json()["choices"][0]["text"] for answer in good}), 1)
        self.assertGreater(self.hits(server, "max-requests"), 0)
        queued = self.serve("--max-queued-tokens", 300)
        answers = []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: queued.post("/v1/completions", body).status, range(8)))
        self.assertLessEqual(set(answers), {200, 429})
        self.assertIn(200, answers)

    def test_queue_and_request_deadlines(self):
        server = self.serve("--request-timeout-ms", 150, "--max-num-seqs", 1)
        long = {"prompt": PROMPT, "max_tokens": 240, "ignore_eos": True, "n": 16, "temperature": 1}
        answer = server.post("/v1/completions", long)
        self.assertEqual(answer.status, 504, answer.body)
        stream = server.post("/v1/completions", {**long, "stream": True}).events()
        self.assertEqual(stream[-1]["error"]["code"], 504)
        self.assertGreaterEqual(self.hits(server, "request-timeout-ms"), 2)
        waiting = self.serve("--queue-timeout-ms", 100, "--max-num-seqs", 1)
        short = {**long, "n": 4, "max_tokens": 60}
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(lambda _: waiting.post("/v1/completions", short).status, range(6)))
        self.assertIn(503, statuses)
        self.assertIn(200, statuses)

    def test_the_same_tokens_alone_and_among_64(self):
        prompts = [PROMPT, "In the beginning", "She said that", "It was a dark and"] * 16
        fields = [{"temperature": 0}, {"temperature": 0.8, "seed": 11}]
        server = self.serve("--max-num-seqs", 64)
        cold = self.serve("--no-prefix-caching", "--max-num-seqs", 1)

        def ask(job):
            server_, prompt, more = job
            return server_.complete(prompt, max_tokens=20, ignore_eos=True, return_token_ids=True, **more).json()["choices"][0]["token_ids"]

        alone = {(p, i): ask((cold, p, f)) for p in set(prompts) for i, f in enumerate(fields)}
        jobs = [(server, p, f) for p in prompts for f in fields][:64]
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            together = list(pool.map(ask, jobs))
        for (_, prompt, more), ids in zip(jobs, together):
            self.assertEqual(ids, alone[(prompt, fields.index(more))])

    def test_random_cancels_leak_nothing(self):
        draw = random.Random(4)
        server = self.serve("--max-num-seqs", 16)
        before = server.descriptors()

        def one(seed):
            with server.socket() as connection:
                connection.sendall(raw_request("/v1/completions", {"prompt": PROMPT[:seed % 30 + 1], "max_tokens": 100, "ignore_eos": True,
                                                                   "stream": seed % 2 == 0, "n": seed % 3 + 1, "temperature": 1}))
                time.sleep(draw.random() * 0.05)

        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            list(pool.map(one, range(60 if SANITIZED else 150)))
        self.assertTrue(wait_until(lambda: server.metrics()["awq:kv_blocks_used"] == 0))
        self.assertTrue(wait_until(lambda: server.get("/load").json()["server_load"] == 0))
        self.assertTrue(wait_until(lambda: server.descriptors() <= before + 2))
        self.assertEqual(server.complete().status, 200)


if __name__ == "__main__":
    run_tests()
