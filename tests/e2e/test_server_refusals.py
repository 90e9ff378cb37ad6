#!/usr/bin/env python3
"""Every limit of docs/serving.md that test_server_limits.py and test_server_load.py leave out: a request just inside passes, one
beyond it gets the documented status and error, the counter says so, and the server goes on."""
import concurrent.futures
import re
import time

from server_support import BOOKS, PROMPT, ServerCase, chat_template, raw_request, read_all, wait_until
from support import RESOURCE, SOURCE, USAGE, awq, run_tests

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
# Limits whose test is elsewhere: in test_server_limits.py and test_server_load.py.
ELSEWHERE = {"max-request-line-bytes", "max-header-bytes", "max-headers", "max-body-bytes", "max-pipelined-bytes", "head-timeout-ms",
             "body-timeout-ms", "queue-timeout-ms", "request-timeout-ms", "drain-timeout-ms", "max-requests"}
# Limits with a test of their own below.
OWN = {"max-connections", "max-connections-per-address", "max-total-body-bytes", "max-queued-tokens", "max-template-steps",
       "max-template-bytes", "max-grammar-work", "idle-timeout-ms", "write-timeout-ms", "max-stream-buffer-bytes"}


def nested(levels):
    return "[" * levels + "]" * levels


def names(count):
    return [{"type": "function", "function": {"name": f"f{i}"}} for i in range(count)]


def messages(count):
    return [{"role": "user", "content": "x"}] * count


def schema(size):
    """A JSON schema of `size` bytes when written without blanks."""
    out = {"type": "object", "title": ""}
    bare = len('{"type":"object","title":""}')
    return {**out, "title": "t" * (size - bare)}


# limit: its value, fields just inside, fields beyond, the `param` of the error, the route
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
CASES = [
    ("max-json-depth", 6, '{"prompt": "a", "max_tokens": 1, "x": ' + nested(5) + "}", '{"prompt": "a", "x": ' + nested(6) + "}", None, COMPLETIONS),
    ("max-json-values", 300, {"x": [0] * 250}, {"x": [0] * 301}, None, COMPLETIONS),
    ("max-prompt-tokens", 40, {"prompt": [5] * 40}, {"prompt": [5] * 41}, "prompt", COMPLETIONS),
    ("max-output-tokens", 30, {"max_tokens": 30}, {"max_tokens": 31}, "max_tokens", COMPLETIONS),
    ("max-output-tokens", 30, {"max_completion_tokens": 30}, {"max_completion_tokens": 31}, "max_completion_tokens", CHAT),
    ("max-prompts", 3, {"prompt": ["a"] * 3}, {"prompt": ["a"] * 4}, "prompt", COMPLETIONS),
    ("max-n", 4, {"n": 4}, {"n": 5}, "n", COMPLETIONS),
    ("max-n", 4, {"n": 4, "best_of": 4}, {"n": 4, "best_of": 5}, "best_of", COMPLETIONS),
    ("max-choices-per-request", 8, {"prompt": ["a"] * 2, "n": 4}, {"prompt": ["a"] * 3, "n": 3}, "n", COMPLETIONS),
    ("max-logprobs", 3, {"logprobs": 3}, {"logprobs": 4}, "logprobs", COMPLETIONS),
    ("max-logprobs", 3, {"prompt_logprobs": 3}, {"prompt_logprobs": 4}, "prompt_logprobs", COMPLETIONS),
    ("max-logprobs", 3, {"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 4}, "top_logprobs", CHAT),
    ("max-stop-strings", 2, {"stop": ["@@", "##"]}, {"stop": ["@@", "##", "%%"]}, "stop", COMPLETIONS),
    ("max-stop-bytes", 8, {"stop": "@" * 8}, {"stop": "@" * 9}, "stop", COMPLETIONS),
    ("max-stop-token-ids", 3, {"stop_token_ids": [7, 8, 9]}, {"stop_token_ids": [7, 8, 9, 10]}, "stop_token_ids", COMPLETIONS),
    ("max-logit-bias", 2, {"logit_bias": {"7": 1, "8": 1}}, {"logit_bias": {"7": 1, "8": 1, "9": 1}}, "logit_bias", COMPLETIONS),
    # Each word is two sequences: at the beginning of a text, and behind a blank.
    ("max-bad-words", 4, {"bad_words": ["sea", "man"]}, {"bad_words": ["sea", "man", "old"]}, "bad_words", COMPLETIONS),
    ("max-messages", 3, {"messages": messages(3)}, {"messages": messages(4)}, "messages", CHAT),
    ("max-tools", 2, {"tools": names(2)}, {"tools": names(3)}, "tools", CHAT),
    ("max-schema-bytes", 60, {"guided_json": schema(60)}, {"guided_json": schema(61)}, "guided_json", COMPLETIONS),
    ("max-schema-bytes", 60, {"tools": [TOOL]}, {"tools": [{**TOOL, "function": {"name": "f", "parameters": schema(61)}}]}, "tools", CHAT),
    ("max-pattern-bytes", 8, {"guided_regex": "[a-z]{3}"}, {"guided_regex": "[a-z]{30}"}, "guided_regex", COMPLETIONS),
    ("max-grammar-bytes", 16, {"guided_grammar": 'root ::= "yesno"'}, {"guided_grammar": 'root ::= "yes no"'}, "guided_grammar", COMPLETIONS),
    ("max-grammar-states", 4000, {"guided_regex": "a{3000}"}, {"guided_regex": "a{5000}"}, "guided_regex", COMPLETIONS),
    ("max-choices", 3, {"guided_choice": ["a", "b", "c"]}, {"guided_choice": ["a", "b", "c", "d"]}, "guided_choice", COMPLETIONS),
]


class Refusals(ServerCase):
    def check_refusal(self, answer, status, param=None):
        self.assertEqual(answer.status, status, answer.body)
        error = answer.error
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertEqual((error["code"], error["param"]), (status, param), error)
        self.assertTrue(error["message"])
        if status in (429, 503):
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        return error

    def test_every_limit_has_a_case(self):
        table = (SOURCE / "docs" / "serving.md").read_text()
        limits = set(re.findall(r"^\| `--([a-z-]+)` \|", table, re.MULTILINE))
        self.assertEqual(limits, {case[0] for case in CASES} | OWN | ELSEWHERE)

    def test_fields_of_a_request(self):
        flags = {f"--{name}": value for name, value, *_ in CASES}
        server = self.serve(*chat_template(self.folder), *[word for flag in flags.items() for word in flag])
        for name, value, inside, beyond, param, route in CASES:
            with self.subTest(limit=name, param=param):
                base = {"max_tokens": 1} if route == COMPLETIONS or "max_completion_tokens" not in inside else {}
                base.update({"prompt": "a"} if route == COMPLETIONS else {"messages": messages(1)})
                body = lambda fields: fields if isinstance(fields, str) else {**base, **fields}
                good = server.post(route, body(inside))
                self.assertEqual(good.status, 200, good.body)
                before = self.hits(server, name)
                error = self.check_refusal(server.post(route, body(beyond)), 400, param)
                if param is not None:
                    self.assertIn(f"--{name}", error["message"])
                    self.assertIn(f" {value} ", error["message"])
                self.assertEqual(self.hits(server, name), before + 1)
                self.assertEqual(server.post(route, body(inside)).status, 200)
        # A default that is larger than the limit gives way to it.
        self.assertEqual(server.post(CHAT, {"messages": messages(1), "ignore_eos": True}).json()["usage"]["completion_tokens"], 30)
        self.assertEqual(server.metrics()["awq:kv_blocks_used"], 0)

    def test_template_steps(self):
        server = self.serve(*chat_template(self.folder), "--max-template-steps", 1000)

        def ask(length):
            return server.post("/tokenize", {"messages": [{"role": "user", "content": "x" * length}]})

        passes, fails = 1, 100_000
        self.assertEqual(ask(passes).status, 200)
        while fails - passes > 1:
            middle = (passes + fails) // 2
            passes, fails = (middle, fails) if ask(middle).status == 200 else (passes, middle)
        before = self.hits(server, "max-template-steps")
        error = self.check_refusal(ask(fails), 400, "messages")
        self.assertIn("--max-template-steps", error["message"])
        self.check_refusal(server.chat("x" * fails), 400, "messages")
        self.assertEqual(self.hits(server, "max-template-steps"), before + 2)
        self.assertEqual(ask(passes).status, 200)
        self.assertEqual(server.chat().status, 200)

    def test_template_bytes(self):
        server = self.serve(*chat_template(self.folder), "--max-template-bytes", 1000)
        size = lambda length: len("<s>user: " + "x" * length + "\nassistant:")
        fits = 1000 - size(0)
        ask = lambda length: server.post("/tokenize", {"messages": [{"role": "user", "content": "x" * length}]})
        self.assertEqual(ask(fits).status, 200)
        before = self.hits(server, "max-template-bytes")
        self.assertIn(" 1000 bytes (--max-template-bytes)", self.check_refusal(ask(fits + 1), 400, "messages")["message"])
        self.check_refusal(server.chat("x" * 3000), 400, "messages")
        self.assertEqual(self.hits(server, "max-template-bytes"), before + 2)
        self.assertEqual(server.chat().status, 200)

    def test_grammar_work(self):
        """An expensive grammar is its client's mistake, seen at once or in the middle of a stream."""
        server = self.serve("--max-grammar-work", 20000)
        cheap, expensive = {"guided_regex": "[a-z]{3,9}"}, "(([a-z]{1,50}){1,50}){1,50}"
        self.assertEqual(server.complete(**cheap).status, 200)
        before = self.hits(server, "max-grammar-work")
        error = self.check_refusal(server.complete(guided_regex=expensive), 400, "guided_regex")
        self.assertIn("--max-grammar-work", error["message"])
        late = {"guided_regex": "qqqqqqqq" + expensive, "max_tokens": 30}
        self.check_refusal(server.complete(**late), 400, "guided_regex")
        events = server.complete(**late, stream=True).events()
        self.assertTrue("".join(event["choices"][0]["text"] for event in events[:-1]).startswith("qqq"), events)
        self.assertEqual((events[-1]["error"]["code"], events[-1]["error"]["param"]), (400, "guided_regex"))
        self.assertIn("--max-grammar-work", events[-1]["error"]["message"])
        self.assertEqual(self.hits(server, "max-grammar-work"), before + 3)
        self.assertEqual(server.complete(**cheap).status, 200)
        self.assertEqual(server.metrics()["awq:kv_blocks_used"], 0)

    def test_the_context_that_fits(self):
        """A cache that is smaller than the model's context makes the context smaller, unless one was asked for."""
        little = self.serve("--kv-cache-memory-bytes", 100_000)
        self.assertEqual(little.get("/v1/models").json()["data"][0]["max_model_len"], 32)
        self.assertIn("maximum context length is 32", self.check_refusal(little.complete([5] * 20, max_tokens=13), 400, "max_tokens")["message"])
        self.assertEqual(little.complete([5] * 20, max_tokens=12, ignore_eos=True).json()["usage"]["completion_tokens"], 12)
        self.assertTrue(wait_until(lambda: any("context of 256 tokens does not fit" in line and "requests have 32" in line for line in little.log)))
        self.check_message(awq("serve", BOOKS, "--port", 0, "--max-model-len", 256, "--kv-cache-memory-bytes", 100_000), RESOURCE,
                           "--kv-cache-memory-bytes", "--max-model-len to at most 32")

    def test_queued_tokens(self):
        server = self.serve("--max-queued-tokens", 250)
        self.assertEqual(server.complete([5] * 10, max_tokens=240, ignore_eos=True).status, 200)
        before = self.hits(server, "max-queued-tokens")
        # What never fits is told so, and not to come again: a prompt, its choices, and several prompts together.
        for beyond in (server.complete([5] * 11, max_tokens=240), server.complete([5] * 10, max_tokens=120, n=2, temperature=1),
                       server.complete([[5] * 10] * 2, max_tokens=120)):
            error = self.check_refusal(beyond, 400, "max_tokens")
            self.assertRegex(error["message"], r"need 2(51|60) tokens, expected at most 250 \(--max-queued-tokens\)")
            self.assertNotIn("Retry-After", beyond.headers)
        self.assertEqual(self.hits(server, "max-queued-tokens"), before + 3)
        running = raw_request(COMPLETIONS, {"prompt": [5] * 10, "max_tokens": 220, "ignore_eos": True, "stream": True})
        connection = None

        def begins():
            nonlocal connection
            connection = server.socket()
            self.addCleanup(connection.close)
            connection.sendall(running)
            return b" 200 " in read_all(connection, b"\r\n\r\n").split(b"\r\n", 1)[0]

        self.assertTrue(wait_until(begins))
        with connection:  # while one runs there is room for what it leaves
            self.check_refusal(server.complete([5] * 10, max_tokens=11), 429)
            self.check_refusal(server.complete([[5] * 5] * 2, max_tokens=10), 429)  # the first of the two is given back
            # That comes back when the engine sees its end, not with the answer. No other number shows it: a request that was
            # refused until then is sent again.
            self.assertTrue(wait_until(lambda: server.complete([5] * 10, max_tokens=10).status == 200))
        self.assertTrue(wait_until(lambda: server.complete([5] * 10, max_tokens=240).status == 200))

    def test_memory_and_steps_of_the_engine(self):
        """Little room changes when tokens come, not which: long prompts go in pieces, sequences give up their blocks."""
        plain = self.serve("--kv-dtype", "f32")
        little = self.serve("--max-model-len", 64, "--max-num-batched-tokens", 16, "--max-num-seqs", 8, "--kv-cache-memory-bytes", 900_000,
                            "--kv-dtype", "f32")
        self.assertEqual(little.get("/v1/models").json()["data"][0]["max_model_len"], 64)
        self.assertLessEqual(little.metrics()["awq:kv_cache_bytes"], 900_000)
        self.assertEqual(little.metrics()["awq:max_num_seqs"], 8)
        prompts = [[5 + i] * 20 for i in range(8)]
        texts = lambda server: [server.complete(prompt, max_tokens=40, ignore_eos=True).json()["choices"][0]["text"] for prompt in prompts]
        alone = texts(plain)
        self.assertEqual(texts(little), alone)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda p: little.complete(p, max_tokens=40, ignore_eos=True).json()["choices"][0]["text"], prompts))
        self.assertEqual(together, alone)
        self.assertGreater(little.metrics()["vllm:num_preemptions_total"], 0)
        self.assertIn("maximum context length is 64", self.check_refusal(little.complete([5] * 40, max_tokens=25), 400, "max_tokens")["message"])
        self.assertEqual(little.metrics()["awq:kv_blocks_used"], 0)
        self.check_message(awq("serve", BOOKS, "--port", 0, "--kv-cache-memory-bytes", 1000), RESOURCE, "--kv-cache-memory-bytes", "smallest")
        self.check_message(awq("serve", BOOKS, "--port", 0, "--max-model-len", 1000), USAGE, "--max-model-len 1000")

    def test_reports_while_full(self):
        """Who watches a server has to see it most of all when it is full: /metrics is no request that counts."""
        server = self.serve("--max-requests", 1)
        with server.socket() as connection:
            connection.sendall(raw_request(COMPLETIONS, {"prompt": PROMPT, "max_tokens": 200, "ignore_eos": True, "stream": True, "n": 8, "temperature": 1}))
            read_all(connection, b"data: ")
            self.check_refusal(server.complete(), 429)
            for path in ("/metrics", "/load", "/health", "/v1/models"):
                self.assertEqual(server.get(path).status, 200, path)
            self.assertEqual(server.get("/load").json(), {"server_load": 1})
            self.check_refusal(server.post("/tokenize", {"prompt": "a"}), 429)
        self.assertTrue(wait_until(lambda: server.complete().status == 200))

    def test_total_body_bytes(self):
        server = self.serve("--max-total-body-bytes", 4000)
        body = lambda size: '{"prompt": "a", "max_tokens": 1}'.ljust(size)
        self.assertEqual(server.post(COMPLETIONS, body(4000)).status, 200)
        self.check_refusal(server.post(COMPLETIONS, body(4001)), 503)
        with server.socket() as slow:
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            slow.sendall(head + b"Content-Length: 1500\r\n\r\n" + body(1500)[:1000].encode())
            self.assertTrue(wait_until(lambda: server.post(COMPLETIONS, body(3001)).status == 503))
            self.assertEqual(server.post(COMPLETIONS, body(3000)).status, 200)
            slow.sendall(body(1500)[1000:].encode())
            self.assertIn(b"HTTP/1.1 200 OK", read_all(slow))
        self.assertGreaterEqual(self.hits(server, "max-total-body-bytes"), 2)
        self.assertTrue(wait_until(lambda: server.post(COMPLETIONS, body(4000)).status == 200))

    def admitted(self, server):
        """An open connection that has had an answer: what was closed before it does not count any more."""
        connection = server.socket()
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b" 200 ", read_all(connection, b"\r\n\r\n"))
        return connection

    def test_connections(self):
        for name, status in (("max-connections", 503), ("max-connections-per-address", 429)):
            server = self.serve(f"--{name}", 3)
            held = [self.admitted(server) for _ in range(3)]
            for _ in range(3):  # a refused connection takes nobody's place
                self.check_refusal(server.get("/health"), status)
            for connection in held:
                connection.close()
            self.assertTrue(wait_until(lambda s=server: s.get("/health").status == 200))
            self.assertGreaterEqual(self.hits(server, name), 1)
            self.assertEqual(server.complete().status, 200)

    def test_idle_connection(self):
        server = self.serve("--idle-timeout-ms", 300)
        with server.socket() as connection:
            for pause in (0.05, 0):  # not idle for long enough, then for too long
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(b" 200 ", read_all(connection, b"\r\n\r\n"))
                time.sleep(pause)
            start = time.monotonic()
            self.assertEqual(read_all(connection), b"")
            self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(self.hits(server, "idle-timeout-ms"), 1)

    def test_a_client_that_takes_nothing(self):
        server = self.serve("--write-timeout-ms", 300, "--max-pipelined-bytes", 1 << 20)
        with server.socket() as quiet:  # answers beyond what the sockets hold
            quiet.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
            self.assertTrue(wait_until(lambda: self.hits(server, "write-timeout-ms") == 1))
        self.assertTrue(wait_until(lambda: server.metrics()["awq:http_connections"] == 1))
        self.assertEqual(server.complete().status, 200)


if __name__ == "__main__":
    run_tests()
