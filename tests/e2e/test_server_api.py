#!/usr/bin/env python3
"""Every field of the OpenAI routes against a running server, with a client of the standard library."""
import json
import math

from server_support import BOOKS, PROMPT, SCHEMA, ServerCase, wait_until
from support import awq, run_tests


class Api(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share("--served-model-name", "books", "--served-model-name", "alias", "--max-num-seqs", 32)

    def joined(self, answer, chat=False):
        """Text and finish reason of each choice of a stream."""
        self.assertEqual(answer.status, 200, answer.body)
        self.assertTrue(answer.headers["Content-Type"].startswith("text/event-stream"))
        texts, reasons, ids = {}, {}, set()
        for event in answer.events():
            ids.add(event["id"])
            self.assertEqual(event["object"], "chat.completion.chunk" if chat else "text_completion")
            for choice in event["choices"]:
                index = choice["index"]
                self.assertNotIn(index, reasons, "a chunk after the last one")
                piece = choice["delta"].get("content", "") if chat else choice["text"]
                texts[index] = texts.get(index, "") + piece
                if choice["finish_reason"]:
                    reasons[index] = choice["finish_reason"]
        self.assertEqual(len(ids), 1)
        self.assertEqual(set(texts), set(reasons))
        return [texts[i] for i in sorted(texts)], [reasons[i] for i in sorted(reasons)]

    # ------------------------------------------------------------------------------------------- small routes

    def test_small_routes(self):
        server = self.server
        self.assertEqual((server.get("/health").status, server.get("/health").body), (200, b""))
        self.assertEqual(server.get("/ping").status, 200)
        self.assertEqual(server.post("/ping", {}).status, 200)
        self.assertEqual(server.request("HEAD", "/health").status, 200)
        self.assertIn("version", self.good(server.get("/version")))
        self.assertIn("server_load", self.good(server.get("/load")))
        cards = self.good(server.get("/v1/models"))
        self.assertEqual([card["id"] for card in cards["data"]], ["books", "alias"])
        self.assertEqual(cards["data"][0]["max_model_len"], 256)
        for path, name in (("books", "books"), ("alias", "alias"), ("book%73", "books")):
            card = self.good(server.get("/v1/models/" + path))
            self.assertEqual((card["id"], card["object"]), (name, "model"))
        self.assertEqual(self.good(server.get("/v1/models/books")), cards["data"][0])
        for path in ("other", "books/", "book%", "%62%6", "%00"):
            self.refused(server.get("/v1/models/" + path), "model", status=404)
        self.refused(server.get("/v1/models/"), status=404)
        self.refused(server.post("/v1/models/books", {}), status=405)
        self.assertIn(b"<!doctype html>", server.get("/").body)
        self.refused(server.get("/nothing"), status=404)
        wrong = server.get("/v1/completions")
        self.refused(wrong, status=405)
        self.assertEqual(wrong.headers["Allow"], "POST")
        self.refused(server.request("DELETE", "/v1/models"), status=405)

    def test_tokenize(self):
        found = self.good(self.server.post("/tokenize", {"prompt": PROMPT, "return_token_strs": True}))
        self.assertEqual(found["count"], len(found["tokens"]))
        self.assertEqual(len(found["token_strs"]), found["count"])
        self.assertEqual(found["tokens"][0], 1)
        bare = self.good(self.server.post("/tokenize", {"content": PROMPT, "add_special_tokens": False}))
        self.assertEqual(bare["tokens"], found["tokens"][1:])
        self.assertEqual(self.good(self.server.post("/detokenize", {"tokens": bare["tokens"]}))["prompt"], PROMPT)
        chat = self.good(self.server.post("/tokenize", {"messages": [{"role": "user", "content": "x"}]}))
        self.assertGreater(chat["count"], 3)
        self.refused(self.server.post("/tokenize", {}), "prompt")
        self.refused(self.server.post("/detokenize", {"tokens": [10**6]}), "tokens")
        self.refused(self.server.post("/detokenize", {}), "tokens")

    # -------------------------------------------------------------------------------------------- completions

    def test_completion(self):
        body = self.good(self.server.complete(PROMPT, max_tokens=12, ignore_eos=True))
        self.assertEqual(body["object"], "text_completion")
        self.assertTrue(body["id"].startswith("cmpl-"))
        self.assertEqual(body["model"], "books")
        choice = body["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]), (0, "length", None))
        self.assertGreater(len(choice["text"]), 5)
        usage = body["usage"]
        self.assertEqual(usage["completion_tokens"], 12)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 12)
        self.assertIn("cached_tokens", usage["prompt_tokens_details"])
        self.assertTrue(body["system_fingerprint"].startswith("awq-"))
        self.assertEqual(self.good(self.server.complete(PROMPT, model="alias"))["model"], "alias")
        self.assertEqual(self.good(self.server.post("/v1/completions", {"prompt": PROMPT}))["usage"]["completion_tokens"], 16)

    def test_stream_says_the_same(self):
        for fields in ({}, {"stop": [" the"]}, {"n": 3, "temperature": 0.9, "seed": 5}, {"stream_interval": 4},
                       {"echo": True}, {"prompt": [PROMPT, "In the"]}, {"prompt": "Der Bär läßt — “ja”"}):
            fields = {"prompt": PROMPT, "max_tokens": 24, **fields}
            prompt = fields.pop("prompt")
            whole = self.good(self.server.complete(prompt, **fields))
            texts, reasons = self.joined(self.server.complete(prompt, stream=True, **fields))
            self.assertEqual(texts, [choice["text"] for choice in whole["choices"]], fields)
            self.assertEqual(reasons, [choice["finish_reason"] for choice in whole["choices"]], fields)

    def test_stream_usage(self):
        events = self.server.complete(PROMPT, max_tokens=4, ignore_eos=True, stream=True,
                                      stream_options={"include_usage": True}).events()
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 4)
        self.assertFalse(any("usage" in event for event in events[:-1]))
        events = self.server.complete(PROMPT, max_tokens=4, ignore_eos=True, stream=True, stream_options={
            "include_usage": True, "continuous_usage_stats": True}).events()
        self.assertEqual([event["usage"]["completion_tokens"] for event in events], [1, 2, 3, 4, 4])
        self.assertFalse(any("usage" in e for e in self.server.complete(PROMPT, stream=True).events()))

    def test_prompts_as_ids(self):
        ids = self.good(self.server.post("/tokenize", {"prompt": PROMPT}))["tokens"]
        text = self.good(self.server.complete(PROMPT))["choices"][0]["text"]
        self.assertEqual(self.good(self.server.complete(ids))["choices"][0]["text"], text)
        many = self.good(self.server.complete([ids, ids[:4]], n=2, temperature=0.7, seed=3))["choices"]
        self.assertEqual([choice["index"] for choice in many], [0, 1, 2, 3])
        back = self.good(self.server.complete(PROMPT, return_token_ids=True))["choices"][0]
        self.assertEqual(back["prompt_token_ids"], ids)
        self.assertEqual(len(back["token_ids"]), 8)

    def test_sampling_fields(self):
        def text(**fields):
            return self.good(self.server.complete(PROMPT, max_tokens=16, **fields))["choices"][0]["text"]

        greedy = text()
        self.assertEqual(text(), greedy)
        self.assertEqual(text(temperature=1, top_k=1, seed=1), greedy)
        self.assertEqual(text(temperature=1, top_p=1e-6, seed=1), greedy)
        self.assertEqual(text(temperature=1, min_p=1, seed=1), greedy)
        self.assertEqual(text(temperature=1, seed=7), text(temperature=1, seed=7))
        self.assertGreater(len({text(temperature=1.5, seed=seed) for seed in range(4)}), 1)
        self.assertGreater(len({text(temperature=1.5) for _ in range(4)}), 1)
        first = self.good(self.server.complete(PROMPT, max_tokens=1, return_token_ids=True))["choices"][0]["token_ids"][0]
        ids = lambda **f: self.good(self.server.complete(PROMPT, max_tokens=6, return_token_ids=True, **f))["choices"][0]["token_ids"]
        self.assertNotIn(first, ids(logit_bias={str(first): -100})[:1])
        self.assertEqual(set(ids(logit_bias={"300": 100}, ignore_eos=True)), {300})
        self.assertLessEqual(set(ids(allowed_token_ids=[300, 301], ignore_eos=True)), {300, 301})
        self.assertNotEqual(text(frequency_penalty=2, presence_penalty=2, repetition_penalty=1.5), greedy)
        word = greedy.split()[0]
        self.assertNotIn(word, text(bad_words=[word]).split()[:1])

    def test_stops(self):
        def choice(**fields):
            return self.good(self.server.complete(PROMPT, max_tokens=40, ignore_eos=True, **fields))["choices"][0]

        text = choice()["text"]
        stop = text[10:14]
        cut = choice(stop=stop)
        self.assertEqual((cut["text"], cut["finish_reason"], cut["stop_reason"]), (text[:text.index(stop)], "stop", stop))
        kept = choice(stop=["@@@", stop], include_stop_str_in_output=True)
        self.assertEqual(kept["text"], text[:text.index(stop) + len(stop)])
        ids = self.good(self.server.complete(PROMPT, max_tokens=40, ignore_eos=True, return_token_ids=True))["choices"][0]["token_ids"]
        hit = choice(stop_token_ids=[ids[5]], return_token_ids=True)
        self.assertEqual((hit["finish_reason"], hit["stop_reason"]), ("stop", ids[5]))
        self.assertEqual(hit["token_ids"], ids[:ids.index(ids[5]) + 1])
        late = choice(stop=stop, min_tokens=39)
        self.assertGreater(len(late["text"]), len(cut["text"]))

    def test_limits_of_length(self):
        body = self.good(self.server.complete(PROMPT, max_tokens=None))
        self.assertEqual(body["usage"]["completion_tokens"], 16)
        message = self.refused(self.server.complete(PROMPT, max_tokens=300), "max_tokens")
        self.assertIn("maximum context length is 256", message)
        self.refused(self.server.complete([5] * 256, max_tokens=1), "prompt")
        self.good(self.server.complete([5] * 255, max_tokens=1))
        self.good(self.server.complete([5] * 400, max_tokens=1, truncate_prompt_tokens=100))
        cut = self.good(self.server.complete([5] * 400, max_tokens=1, truncate_prompt_tokens=-1))
        self.assertEqual(cut["usage"]["prompt_tokens"], 255)

    def test_logprobs(self):
        choice = self.good(self.server.complete(PROMPT, max_tokens=6, logprobs=3, ignore_eos=True))["choices"][0]
        found = choice["logprobs"]
        self.assertEqual({len(found[key]) for key in ("tokens", "token_logprobs", "text_offset", "top_logprobs")}, {6})
        self.assertEqual("".join(found["tokens"]), choice["text"])
        self.assertEqual(found["text_offset"][0], 0)
        for token, logprob, top, offset in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], found["text_offset"]):
            self.assertLessEqual(logprob, 0)
            self.assertEqual(max(top.values()), logprob)  # greedy
            self.assertEqual(top[token], logprob)
            self.assertLessEqual(len(top), 4)
            self.assertEqual(choice["text"][offset:offset + len(token)], token)
        stream = [c for e in self.server.complete(PROMPT, max_tokens=6, logprobs=3, ignore_eos=True, stream=True).events() for c in e["choices"]]
        self.assertEqual([t for c in stream for t in c["logprobs"]["tokens"]], found["tokens"])
        self.assertEqual([o for c in stream for o in c["logprobs"]["text_offset"]], found["text_offset"])
        ids = self.good(self.server.complete(PROMPT, max_tokens=2, logprobs=0, return_tokens_as_token_ids=True))["choices"][0]["logprobs"]
        self.assertTrue(all(token.startswith("token_id:") for token in ids["tokens"]))

    def test_logprobs_of_named_ids(self):
        fields = {"max_tokens": 3, "ignore_eos": True, "return_tokens_as_token_ids": True}
        plain = self.good(self.server.complete(PROMPT, logprobs=2, **fields))["choices"][0]["logprobs"]
        named = self.good(self.server.complete(PROMPT, logprobs=2, logprob_token_ids=[301, 300, 301], **fields))["choices"][0]["logprobs"]
        self.assertEqual((named["tokens"], named["token_logprobs"]), (plain["tokens"], plain["token_logprobs"]))
        for token, own, top in zip(named["tokens"], named["token_logprobs"], named["top_logprobs"]):
            self.assertEqual(set(top), {"token_id:300", "token_id:301", token})
            self.assertEqual(top[token], own)
        # The same number that the token has when it is the only one to choose.
        only = self.good(self.server.complete(PROMPT, logprobs=0, allowed_token_ids=[300], **fields))["choices"][0]["logprobs"]
        self.assertAlmostEqual(named["top_logprobs"][0]["token_id:300"], only["token_logprobs"][0], places=5)
        chat = self.good(self.server.chat(logprobs=True, logprob_token_ids=[300, 301], **fields))["choices"][0]["logprobs"]["content"]
        for entry in chat:
            tops = entry["top_logprobs"]
            self.assertEqual({top["token"] for top in tops}, {"token_id:300", "token_id:301", entry["token"]})
            self.assertEqual([top["logprob"] for top in tops], sorted((top["logprob"] for top in tops), reverse=True))
        # Tokens of the prompt have the likeliest, as without.
        echo = self.good(self.server.complete(PROMPT, echo=True, logprobs=1, logprob_token_ids=[300], **fields))["choices"][0]["logprobs"]
        self.assertEqual([len(set(top) - {token}) <= 1 for token, top in zip(echo["tokens"][1:-3], echo["top_logprobs"][1:-3])],
                         [True] * (len(echo["tokens"]) - 4))
        self.assertIn("token_id:300", echo["top_logprobs"][-1])
        self.refused(self.server.complete(PROMPT, logprob_token_ids=[300]), "logprob_token_ids")
        self.refused(self.server.chat(logprob_token_ids=[300]), "logprob_token_ids")
        self.refused(self.server.complete(PROMPT, logprobs=1, logprob_token_ids=[10**7]), "logprob_token_ids")
        self.refused(self.server.complete(PROMPT, logprobs=1, logprob_token_ids=list(range(129))), "logprob_token_ids")

    def test_repetition_detection(self):
        fields = {"max_tokens": 20, "allowed_token_ids": [300], "ignore_eos": True, "return_token_ids": True,
                  "repetition_detection": {"max_pattern_size": 3, "min_count": 4}}
        before = self.server.metrics()
        choice = self.good(self.server.complete(PROMPT, **fields))["choices"][0]
        self.assertEqual((choice["token_ids"], choice["finish_reason"], choice["stop_reason"]), ([300] * 4, "repetition", None))
        self.assertEqual(self.joined(self.server.chat(stream=True, **fields), chat=True)[1], ["repetition"])
        name = 'vllm:request_success_total{finished_reason="repetition"}'
        self.assertEqual(self.server.metrics()[name] - before[name], 2)
        fields["repetition_detection"]["min_pattern_size"] = 2
        self.assertEqual(len(self.good(self.server.complete(PROMPT, **fields))["choices"][0]["token_ids"]), 8)
        fields["repetition_detection"] = {"max_pattern_size": 0}
        self.assertEqual(self.good(self.server.complete(PROMPT, **fields))["choices"][0]["finish_reason"], "length")
        self.refused(self.server.complete(PROMPT, repetition_detection={"max_pattern_size": 3, "min_count": 1}), "repetition_detection.min_count")

    def test_echo_for_evaluation(self):
        """The pair that lm-eval uses: log probabilities of a prompt, with one token more or none."""
        ids = self.good(self.server.post("/tokenize", {"prompt": PROMPT}))["tokens"]
        for prompt in (PROMPT, ids, [ids]):
            for extra in (0, 1):
                choice = self.good(self.server.complete(prompt, max_tokens=extra, echo=True, logprobs=1))["choices"][0]
                found = choice["logprobs"]
                self.assertEqual(len(found["tokens"]), len(ids) + extra)
                self.assertEqual((found["token_logprobs"][0], found["top_logprobs"][0]), (None, None))
                self.assertTrue(all(math.isfinite(x) and x <= 0 for x in found["token_logprobs"][1:]))
                self.assertTrue(all(x <= max(top.values()) + 1e-9 for x, top in zip(found["token_logprobs"][1:], found["top_logprobs"][1:])))
                self.assertTrue(choice["text"].startswith(PROMPT))
                self.assertTrue("".join(found["tokens"]).endswith(choice["text"]))
        # The prompt's numbers are those that generating gives: continue greedily, then score that text.
        first = self.good(self.server.complete(ids, max_tokens=5, logprobs=0, return_token_ids=True, ignore_eos=True))["choices"][0]
        scored = self.good(self.server.complete(ids + first["token_ids"], max_tokens=0, echo=True, logprobs=0))["choices"][0]
        for a, b in zip(first["logprobs"]["token_logprobs"], scored["logprobs"]["token_logprobs"][len(ids):]):
            self.assertAlmostEqual(a, b, places=3)
        many = self.good(self.server.complete([ids, ids[:5]], max_tokens=1, echo=True, logprobs=1))["choices"]
        self.assertEqual([len(c["logprobs"]["tokens"]) for c in many], [len(ids) + 1, 6])

    def test_prompt_logprobs(self):
        ids = self.good(self.server.post("/tokenize", {"prompt": PROMPT}))["tokens"]
        found = self.good(self.server.complete(PROMPT, prompt_logprobs=2))["choices"][0]["prompt_logprobs"]
        self.assertEqual(len(found), len(ids))
        self.assertIsNone(found[0])
        for token, entry in zip(ids[1:], found[1:]):
            self.assertIn(str(token), entry)
            self.assertEqual(set(entry[str(token)]), {"logprob", "rank", "decoded_token"})

    # --------------------------------------------------------------------------------------------------- chat

    def test_chat(self):
        body = self.good(self.server.chat(max_tokens=10, ignore_eos=True))
        self.assertEqual(body["object"], "chat.completion")
        message = body["choices"][0]["message"]
        self.assertEqual(message["role"], "assistant")
        self.assertEqual(body["usage"]["completion_tokens"], 10)
        texts, reasons = self.joined(self.server.chat(max_tokens=10, ignore_eos=True, stream=True), chat=True)
        self.assertEqual((texts, reasons), ([message["content"]], ["length"]))
        first = self.server.chat(stream=True).events()[0]["choices"][0]
        self.assertEqual((first["delta"], first["finish_reason"]), ({"role": "assistant", "content": ""}, None))
        parts = self.good(self.server.post("/v1/chat/completions", {"temperature": 0, "max_completion_tokens": 10, "ignore_eos": True,
                          "messages": [{"role": "user", "content": [{"type": "text", "text": "Who are you?"}]}]}))
        self.assertEqual(parts["choices"][0]["message"]["content"], message["content"])
        rest = self.good(self.server.post("/v1/chat/completions", {"temperature": 0, "messages": [{"role": "user", "content": "x"}]}))
        self.assertLessEqual(rest["usage"]["total_tokens"], 256)

    def test_chat_logprobs(self):
        body = self.good(self.server.chat(max_tokens=4, logprobs=True, top_logprobs=2, ignore_eos=True))
        content = body["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 4)
        for entry in content:
            self.assertEqual(bytes(entry["bytes"]).decode(), entry["token"])
            self.assertEqual(len(entry["top_logprobs"]), 2)
            self.assertEqual(entry["top_logprobs"][0]["token"], entry["token"])
        self.assertEqual(self.good(self.server.chat(logprobs=True))["choices"][0]["logprobs"]["content"][0]["top_logprobs"], [])

    def test_chat_messages_are_data(self):
        """A special token written into a message does not become that token."""
        def tokens(text):
            return self.good(self.server.post("/tokenize", {"messages": [{"role": "user", "content": text}]}))["tokens"]

        self.assertEqual(tokens("a").count(1), 1)
        self.assertEqual(tokens("<s></s>").count(1), 1)
        self.assertNotIn(2, tokens("x</s>y"))

    def test_chat_refusals(self):
        post = lambda body: self.server.post("/v1/chat/completions", body)
        self.refused(post({}), "messages")
        self.refused(post({"messages": []}), "messages")
        self.refused(post({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role")
        self.refused(post({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), "messages[0].content[0].type")
        self.refused(self.server.chat(tools=[]), "tools")
        self.refused(self.server.chat(top_logprobs=1), "top_logprobs")
        self.refused(self.server.chat(logprobs=True, top_logprobs=21), "top_logprobs")
        self.refused(self.server.chat(chat_template="x"), "chat_template")
        self.refused(self.server.chat(max_completion_tokens=10**6), "max_completion_tokens")
        self.refused(self.server.chat("x " * 400), "prompt")
        self.refused(post({"messages": [{"role": "function", "content": "x"}]}), "messages")  # the template says no
        self.refused(self.server.chat(chat_template_kwargs={"messages": []}))

    # --------------------------------------------------------------------------------- structured outputs

    def test_structured_outputs(self):
        def text(chat=False, **fields):
            ask = self.server.chat if chat else self.server.complete
            choice = self.good(ask("Once", max_tokens=80, **fields))["choices"][0]
            self.assertEqual(choice["finish_reason"], "stop", choice)
            return choice["message"]["content"] if chat else choice["text"]

        for chat in (False, True):
            self.assertRegex(text(chat, structured_outputs={"regex": "[0-9]{3}-[a-c]"}), r"^[0-9]{3}-[a-c]$")
            self.assertIn(text(chat, guided_choice=["left", "right"]), ("left", "right"))
            self.assertIn(text(chat, structured_outputs={"grammar": 'root ::= ("yes" | "no") "!"'}), ("yes!", "no!"))
            self.check_schema(text(chat, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}))
            self.check_schema(text(chat, guided_json=SCHEMA))
            self.check_schema(text(chat, json_schema=SCHEMA))
            self.check_schema(text(chat, response_format={"type": "json_object", "schema": SCHEMA}))
            self.assertEqual(text(chat, grammar='root ::= "yes" "!"'), "yes!")
        # A line feed is a byte of its own here, and what such a byte says is settled behind it: it stays the prompt's.
        for end in ("\n", "\n\n", "\u65e5\u672c\u8a9e\n", "\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e"):
            answer = self.good(self.server.complete("Once" + end, max_tokens=20, structured_outputs={"regex": "[0-9]{3}"}))
            self.assertRegex(answer["choices"][0]["text"], r"^[0-9]{3}$", repr(end))
        self.refused(self.server.complete(PROMPT, guided_json="{bad"), "guided_json")
        self.refused(self.server.complete(PROMPT, guided_regex="("), "guided_regex")
        self.refused(self.server.complete(PROMPT, guided_grammar="nonsense"), "guided_grammar")
        self.refused(self.server.complete(PROMPT, guided_json={"type": "object", "not": {}}), "guided_json")
        begun = self.good(self.server.complete(PROMPT, max_tokens=5, response_format={"type": "json_object"}))["choices"][0]["text"]
        self.assertTrue(begun.lstrip().startswith("{"), begun)

    # ------------------------------------------------------------------------------------------------- errors

    def test_errors(self):
        post = lambda body, **more: self.server.post("/v1/completions", body, **more)
        self.refused(post("{"))
        self.refused(post("[]"))
        self.refused(post('{"prompt": "a", "prompt": "b"}'))
        self.refused(post("[" * 100))
        self.refused(post({"prompt": "x"}, headers={"Content-Type": "text/plain"}))
        self.refused(post({"prompt": "x", "model": "other"}), "model", status=404)
        for field, value in (("temperature", -1), ("temperature", 2.5), ("top_p", 0), ("top_k", -2), ("n", 0), ("n", 1000),
                             ("min_p", 2), ("logprobs", 21), ("best_of", 3), ("seed", "x"), ("stop", ""), ("max_tokens", -1),
                             ("repetition_penalty", 0), ("presence_penalty", 3), ("frequency_penalty", 3), ("min_tokens", 99),
                             ("logit_bias", {"x": 1}), ("logit_bias", {"9999999": 1}), ("allowed_token_ids", []),
                             ("allowed_token_ids", [9999999]), ("stop_token_ids", [9999999]), ("use_beam_search", True),
                             ("suffix", "x"), ("priority", 1), ("stream_options", {"include_usage": True})):
            self.refused(self.server.complete(PROMPT, **{field: value}), field)
        self.assertIn("structural_tag", self.refused(self.server.complete(PROMPT, response_format={"type": "structural_tag"})))
        self.refused(self.server.complete(PROMPT, structured_outputs={"structural_tag": "x"}))
        self.refused(self.server.complete([]), "prompt")
        self.refused(self.server.complete([[9999999]]), "prompt")
        self.good(self.server.complete(PROMPT, user="u", unknown={"a": 1}, store=True, metadata={}, service_tier="auto"))

    def test_request_ids(self):
        answer = self.server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, headers={"X-Request-Id": "mine-1"})
        self.assertEqual(answer.headers["X-Request-Id"], "mine-1")
        self.assertEqual(answer.json()["id"], "cmpl-mine-1")
        for stream in (False, True):
            answer = self.server.complete("x", max_tokens=1, request_id="body-1", stream=stream)
            self.assertEqual(answer.headers["X-Request-Id"], "body-1")
            self.assertEqual((answer.events()[0] if stream else answer.json())["id"], "cmpl-body-1")
        self.assertEqual(self.good(self.server.chat(request_id="body-2"))["id"], "chatcmpl-body-2")
        # Of two the header is the one that proxies know.
        answer = self.server.post("/v1/completions", {"prompt": "x", "max_tokens": 1, "request_id": "body-3"}, headers={"X-Request-Id": "mine-3"})
        self.assertEqual((answer.headers["X-Request-Id"], answer.json()["id"]), ("mine-3", "cmpl-mine-3"))
        self.assertTrue(wait_until(lambda: any("body-1" in line for line in self.server.log)))
        self.refused(self.server.complete("x", request_id="a b"), "request_id")
        self.refused(self.server.complete("x", request_id=7), "request_id")

    def test_start_line(self):
        """Memory and kernels, which are those that `awq inspect --kernels` names."""
        line = next(line for line in self.server.log if "of weights read per token" in line)
        for words in ("MiB of weights", "KV cache ", "the longest context that fits", "256 tokens per sequence", "32 sequences"):
            self.assertIn(words, line)
        kernels = json.loads(self.check_ok(awq("inspect", BOOKS, "--kernels", "--json")).out)["kernels"][:-4]  # without the head
        named = [" and ".join(dict.fromkeys(k["kernel"] for k in kernels if k["rows"] == rows)) for rows in (1, 512)]
        self.assertIn(f"linears by {named[0]} for one token, {named[1]} for 512;", line)
        scalar = self.serve(environment={"AWQ_ISA": "scalar"})
        reference = "on scalar; linears by linear_f32_bf16_f32_ref for one token"
        self.assertTrue(wait_until(lambda: any(reference in line for line in scalar.log)), scalar.log)

    def test_log_has_no_prompts(self):
        self.good(self.server.complete("Zanzibar xylophone", max_tokens=3))
        self.assertTrue(wait_until(lambda: any("route=/v1/completions" in line for line in self.server.log)))
        self.assertFalse(any("Zanzibar" in line for line in self.server.log))


if __name__ == "__main__":
    run_tests()
