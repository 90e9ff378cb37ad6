#!/usr/bin/env python3
"""Flags of `awq serve`, and fields of requests that change what the model reads."""
import json
import re
import shutil

from server_support import BOOKS, PROMPT, Server, ServerCase
from support import BAD_INPUT, SOURCE, USAGE, awq, run_tests

KEY = {"AWQ_API_KEY": "sk-options"}


class Options(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share()

    def start(self, model, *flags, **more):
        server = Server(model, *flags, **more)
        self.addCleanup(server.close)
        return server

    def text_of(self, server, ids):
        return self.good(server.post("/detokenize", {"tokens": ids}))["prompt"]

    # ------------------------------------------------------------------------------------------------- flags

    def test_guesses_change_no_token(self):
        guessing = self.serve("--spec-tokens", 4)
        ids = self.good(self.server.post("/tokenize", {"prompt": PROMPT}))["tokens"]
        repeated = ids + ids[1:] + ids[1:]
        for fields in ({"prompt": PROMPT}, {"prompt": repeated}, {"prompt": repeated, "temperature": 0.8, "seed": 3},
                       {"prompt": repeated, "repetition_penalty": 1.2}, {"prompt": repeated, "structured_outputs": {"regex": "( the[a-z ]{4}){9}"}}):
            fields = {"max_tokens": 60, "ignore_eos": True, "return_token_ids": True, **fields}
            plain, guessed = (self.good(server.complete(**fields))["choices"][0]["token_ids"] for server in (self.server, guessing))
            self.assertEqual(plain, guessed, fields)
        metrics = guessing.metrics()
        accepted = metrics["vllm:spec_decode_num_accepted_tokens_total"]
        self.assertGreater(accepted, 0)
        self.assertGreater(metrics["vllm:spec_decode_num_draft_tokens_total"], accepted)
        places = [metrics[f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{position="{i}"}}'] for i in range(4)]
        self.assertEqual(sum(places), accepted)
        self.assertEqual(places, sorted(places, reverse=True))
        self.assertEqual(self.server.metrics()["vllm:spec_decode_num_drafts_total"], 0)

    def test_generation_config(self):
        """Request, then the flag, then the file of the model or of another folder, then nothing."""
        model, other = self.folder / "model", self.folder / "other"
        shutil.copytree(BOOKS, model)
        other.mkdir()
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "temperature": 0, "max_new_tokens": 5}))
        (other / "generation_config.json").write_text(json.dumps({"top_k": 1, "max_new_tokens": 4}))
        ask = {"messages": [{"role": "user", "content": "Who are you?"}], "ignore_eos": True}

        def answer(server, **fields):
            body = self.good(server.post("/v1/chat/completions", {**ask, **fields}))
            return body["usage"]["completion_tokens"], body["choices"][0]["message"]["content"]

        def texts(server, **fields):
            return {answer(server, seed=seed, max_tokens=20, **fields)[1] for seed in range(4)}

        server = self.start(model, *self.template)
        self.assertEqual(answer(server)[0], 5)
        self.assertEqual(answer(server, max_tokens=3)[0], 3)
        self.assertEqual(len(texts(server)), 1)
        self.assertGreater(len(texts(server, temperature=1.5)), 1)
        server = self.start(model, *self.template, "--override-generation-config", '{"max_new_tokens": 7}')
        self.assertEqual(answer(server)[0], 7)
        self.assertEqual(len(texts(server)), 1)
        server = self.start(model, *self.template, "--generation-config", other)
        self.assertEqual(answer(server)[0], 4)
        self.assertEqual(len(texts(server, temperature=1.5)), 1)
        for name in ("none", "vllm"):
            server = self.start(model, *self.template, "--generation-config", name)
            self.assertGreater(answer(server)[0], 100)
            self.assertGreater(len(texts(server)), 1)
        self.check_message(awq("serve", model, "--port", 0, "--generation-config", self.folder), BAD_INPUT, "--generation-config")
        self.check_message(awq("serve", model, "--port", 0, "--override-generation-config", '{"top_p": 2}'), USAGE, "top_p")

    def test_open_metrics(self):
        closed = self.serve(environment=KEY)
        opened = self.serve("--open-metrics", environment=KEY)
        self.assertEqual(closed.get("/metrics").status, 401)
        self.assertEqual(opened.get("/metrics").status, 200)
        self.assertIn(b"vllm:num_requests_running", opened.get("/metrics").body)
        for path in ("/version", "/v1/models", "/load"):
            self.assertEqual(opened.get(path).status, 401)

    def test_no_page(self):
        server = self.serve("--no-page")
        self.refused(server.get("/"), status=404)
        self.assertEqual(server.get("/health").status, 200)
        self.good(server.complete(max_tokens=1))
        self.assertEqual(self.server.get("/").status, 200)

    def test_allow_no_key(self):
        self.check_message(awq("serve", BOOKS, "--host", "0.0.0.0", "--port", 0), USAGE, "--allow-no-key")
        server = self.serve("--host", "0.0.0.0", "--allow-no-key")
        self.assertEqual(server.complete(max_tokens=1).status, 200)
        # Whoever opens it to others opens it to names of other machines.
        self.assertEqual(server.get("/version", headers={"Host": "models.example.org"}).status, 200)
        self.assertEqual(self.server.get("/version", headers={"Host": "models.example.org"}).status, 403)

    def test_what_the_docs_call_refused(self):
        """The list in docs/serving.md, below "Answered with a clear 400"."""
        docs = (SOURCE / "docs" / "serving.md").read_text()
        words = docs[docs.index("Answered with a clear 400"):docs.index("Accepted under older or other names")]
        named = set(re.findall(r"`([a-z_]+)`", words))
        tools = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}
        cases = [("use_beam_search", {"use_beam_search": True}), ("structural_tag", {"structured_outputs": {"structural_tag": "x"}}),
                 ("best_of", {"best_of": 2}), ("priority", {"priority": 1}), ("prompt_embeds", {"prompt_embeds": "x"}),
                 ("n", {"n": 2, "temperature": 0}), ("prompt_logprobs", {"prompt_logprobs": 1, "stream": True}), ("logprob_token_ids", {"logprob_token_ids": [1]}),
                 ("thinking_token_budget", {"thinking_token_budget": 1}), ("structured_outputs", {"guided_regex": "a", "guided_choice": ["b"]})]
        for name, fields in cases:
            for ask in (self.server.complete, self.server.chat):
                self.assertIn(name, self.refused(ask(**fields)))
        self.refused(self.server.complete(suffix="x"), "suffix")
        chats = [("echo", {"echo": True}), ("chat_template", {"chat_template": "x"}), ("top_logprobs", {"top_logprobs": 1}),
                 ("tool_choice", {**tools, "guided_regex": "a"}),
                 ("continue_final_message", {"continue_final_message": True, "add_generation_prompt": True})]
        for name, fields in chats:
            self.refused(self.server.chat(**fields), name)
        self.refused(self.server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}))
        beside = {"temperature", "stream", "logprobs", "add_generation_prompt"}
        self.assertEqual(named - beside - {name for name, _ in cases + chats} - {"suffix"}, set(), "the docs name more than is tried here")

    # --------------------------------------------------------------------------------- what the model reads

    def test_cache_salt(self):
        prompt = [5 + i for i in range(100)]

        def cached(**fields):
            return self.good(self.server.complete(prompt, max_tokens=1, **fields))["usage"]["prompt_tokens_details"]["cached_tokens"]

        before = self.server.metrics()
        self.assertEqual(cached(cache_salt="a"), 0)
        self.assertGreaterEqual(cached(cache_salt="a"), 80)
        self.assertEqual(cached(cache_salt="b"), 0)
        self.assertEqual(cached(), 0)
        hit = cached()
        self.assertGreaterEqual(hit, 80)
        after = self.server.metrics()
        grown = {name: after[name] - before.get(name, 0) for name in after}
        self.assertEqual(grown["vllm:prompt_tokens_cached_total"], 2 * hit)
        self.assertEqual(grown['vllm:prompt_tokens_by_source_total{source="local_cache_hit"}'], 2 * hit)
        self.assertEqual(grown['vllm:prompt_tokens_by_source_total{source="local_compute"}'], 500 - 2 * hit)
        self.assertEqual(grown["vllm:request_prefill_kv_computed_tokens_sum"], 500 - 2 * hit)
        self.refused(self.server.complete(prompt, cache_salt=""), "cache_salt")

    def test_truncation(self):
        ids = [5 + i % 200 for i in range(300)]

        def read(**fields):
            choice = self.good(self.server.complete(ids, max_tokens=1, return_token_ids=True, **fields))["choices"][0]
            return choice["prompt_token_ids"]

        self.assertEqual(read(truncate_prompt_tokens=40), ids[-40:])
        self.assertEqual(read(truncate_prompt_tokens=40, truncation_side="left"), ids[-40:])
        self.assertEqual(read(truncate_prompt_tokens=40, truncation_side="right"), ids[:40])
        self.refused(self.server.complete(ids, truncate_prompt_tokens=40, truncation_side="middle"), "truncation_side")
        self.refused(self.server.complete(ids, truncate_prompt_tokens=300), "truncate_prompt_tokens")
        # -1: what the context leaves beside the answer.
        for max_tokens, kept in ((1, 255), (20, 236), (255, 1)):
            body = self.good(self.server.complete(ids, max_tokens=max_tokens, ignore_eos=True, truncate_prompt_tokens=-1))
            self.assertEqual((body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]), (kept, max_tokens))
        body = self.good(self.server.post("/v1/completions", {"prompt": ids, "truncate_prompt_tokens": -1, "ignore_eos": True}))
        self.assertEqual((body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]), (240, 16))
        self.refused(self.server.complete(ids, max_tokens=256, truncate_prompt_tokens=-1), "max_tokens")
        chat = self.good(self.server.chat("so " * 400, max_tokens=30, ignore_eos=True, truncate_prompt_tokens=-1))
        self.assertEqual((chat["usage"]["prompt_tokens"], chat["usage"]["completion_tokens"]), (226, 30))

    def conversation(self, server, *messages, **fields):
        """The text that the model reads."""
        roles = ("user", "assistant")
        body = {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)], "max_tokens": 2, "temperature": 0,
                "return_token_ids": True, **fields}
        answer = self.good(server.post("/v1/chat/completions", body))
        return self.text_of(server, answer["prompt_token_ids"])

    def test_an_open_last_message(self):
        plain = self.conversation(self.server, "Tell me.", "The sea was")
        self.assertTrue(plain.endswith("assistant: The sea was\nassistant:"), plain)
        opened = self.conversation(self.server, "Tell me.", "The sea was", continue_final_message=True)
        self.assertTrue(opened.endswith("assistant: The sea was"), opened)
        closed = self.conversation(self.server, "Tell me.", "The sea was", add_generation_prompt=False)
        self.assertTrue(closed.endswith("assistant: The sea was\n"), closed)

    def test_arguments_of_the_template(self):
        path = self.folder / "arguments.jinja"
        path.write_text("{% for d in documents or [] %}{{ d.title }} says {{ d.text }}.\n{% endfor %}effort {{ reasoning_effort }}, "
                        "thinking {{ enable_thinking }}\n{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
        server = self.serve("--chat-template", path)
        text = self.conversation(server, "Why?", documents=[{"title": "Moby", "text": "a whale"}, {"title": "Emma", "text": "a match"}],
                                 reasoning_effort="high", chat_template_kwargs={"enable_thinking": False, "unread": [1]})
        self.assertIn("Moby says a whale.\nEmma says a match.\neffort high, thinking False\nuser: Why?", text)
        text = self.conversation(server, "Why?", reasoning_effort="low", chat_template_kwargs={"reasoning_effort": "max"})
        self.assertIn("effort max, thinking \nuser", text)
        for fields, param in (({"documents": "x"}, "documents"), ({"reasoning_effort": 3}, "reasoning_effort"),
                              ({"chat_template_kwargs": []}, "chat_template_kwargs")):
            self.refused(server.chat(**fields), param)

    def test_token_ids(self):
        fields = {"max_tokens": 12, "ignore_eos": True, "return_token_ids": True}
        body = self.good(self.server.chat(**fields))
        choice = body["choices"][0]
        self.assertEqual(len(choice["token_ids"]), 12)
        self.assertEqual(len(body["prompt_token_ids"]), body["usage"]["prompt_tokens"])
        self.assertEqual(self.text_of(self.server, choice["token_ids"]).strip(), choice["message"]["content"].strip())
        events = self.server.chat(stream=True, **fields).events()
        self.assertEqual([i for e in events for c in e["choices"] for i in c.get("token_ids", [])], choice["token_ids"])
        self.assertEqual([e.get("prompt_token_ids") for e in events], [body["prompt_token_ids"]] + [None] * (len(events) - 1))
        ids = [9, 8, 7], [6, 5]
        whole = self.good(self.server.complete(ids, **fields))["choices"]
        chunks = [c for e in self.server.complete(ids, stream=True, **fields).events() for c in e["choices"]]
        for index, choice in enumerate(whole):
            own = [c for c in chunks if c["index"] == index]
            self.assertEqual([i for c in own for i in c["token_ids"]], choice["token_ids"])
            self.assertEqual([c.get("prompt_token_ids") for c in own], [ids[index]] + [None] * (len(own) - 1))
        self.assertNotIn("token_ids", self.good(self.server.chat())["choices"][0])


if __name__ == "__main__":
    run_tests()
