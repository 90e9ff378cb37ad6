#!/usr/bin/env python3
"""The official OpenAI client against a running server. Needs the package `openai`; AWQ_TEST_PYTHON may name a Python that
has it."""
import json
import os
import subprocess
import sys
import unittest

from server_support import PROMPT, ServerCase
from support import SKIPPED, run_tests

try:
    import openai
except ImportError:
    openai = None

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]


@unittest.skipIf(openai is None, "the package openai is not installed")
class OpenAi(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(environment={"AWQ_API_KEY": "sk-test"})
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.server.port}/v1", api_key="sk-test", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def chat(self, **fields):
        return self.client.chat.completions.create(model="books-12m", messages=MESSAGES, **fields)

    def complete(self, **fields):
        return self.client.completions.create(model="books-12m", prompt=PROMPT, **fields)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["books-12m"])
        self.assertEqual(self.client.models.retrieve("books-12m").id, "books-12m")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.models.retrieve("some/other")
        self.assertIn("some/other", caught.exception.body["message"])

    def test_key(self):
        with openai.OpenAI(base_url=self.client.base_url, api_key="wrong", max_retries=0) as other:
            with self.assertRaises(openai.AuthenticationError):
                other.models.list()

    def test_completion_fields(self):
        body = self.complete(max_tokens=12, temperature=0, logprobs=2, echo=True, seed=1, user="u")
        choice = body.choices[0]
        self.assertTrue(choice.text.startswith(PROMPT))
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertEqual(body.usage.completion_tokens, len(choice.logprobs.tokens) - body.usage.prompt_tokens)
        many = self.complete(max_tokens=8, n=3, temperature=1, top_p=0.9, presence_penalty=0.5, frequency_penalty=0.5, seed=3,
                             stop=["\n\n"], logit_bias={"300": -5})
        self.assertEqual([c.index for c in many.choices], [0, 1, 2])
        again = self.complete(max_tokens=8, n=3, temperature=1, top_p=0.9, presence_penalty=0.5, frequency_penalty=0.5, seed=3,
                              stop=["\n\n"], logit_bias={"300": -5})
        self.assertEqual([c.text for c in many.choices], [c.text for c in again.choices])
        more = self.complete(max_tokens=8, temperature=1, extra_body={"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.0, "ignore_eos": True,
                                                                      "min_tokens": 2, "skip_special_tokens": False})
        self.assertEqual(more.choices[0].finish_reason, "length")

    def ids(self, **extra):
        """Token ids and the choice of a greedy answer."""
        choice = self.complete(max_tokens=12, temperature=0, extra_body={"return_token_ids": True, "ignore_eos": True, **extra}).choices[0]
        return choice.token_ids, choice

    def test_fields_beside_those_of_openai(self):
        plain, _ = self.ids()
        self.assertEqual(len(plain), 12)
        cut, choice = self.ids(stop_token_ids=[plain[4]])
        self.assertEqual((cut, choice.finish_reason, choice.stop_reason), (plain[:plain.index(plain[4]) + 1], "stop", plain[4]))
        self.assertLessEqual(set(self.ids(allowed_token_ids=[300, 301])[0]), {300, 301})
        word = self.ids()[1].text.split()[1]
        self.assertNotIn(word, self.ids(bad_words=[word])[1].text.split())
        _, choice = self.ids(truncate_prompt_tokens=3)
        self.assertEqual(len(choice.prompt_token_ids), 3)
        self.assertEqual(self.ids(stop=choice.text[3:6], include_stop_str_in_output=True, truncate_prompt_tokens=3)[1].text, choice.text[:6])
        _, choice = self.ids(prompt_logprobs=2)
        self.assertEqual(len(choice.prompt_logprobs), len(choice.prompt_token_ids))
        self.assertIsNone(choice.prompt_logprobs[0])
        for token, entry in zip(choice.prompt_token_ids[1:], choice.prompt_logprobs[1:]):
            self.assertIn(str(token), entry)
        body = self.chat(max_tokens=2, temperature=0, extra_body={"prompt_logprobs": 1, "return_token_ids": True})
        self.assertEqual(len(body.prompt_logprobs), len(body.prompt_token_ids))
        named = self.complete(max_tokens=2, temperature=0, logprobs=1, extra_body={"logprob_token_ids": [300], "return_tokens_as_token_ids": True})
        self.assertIn("token_id:300", named.choices[0].logprobs.top_logprobs[0])
        _, choice = self.ids(allowed_token_ids=[300], repetition_detection={"max_pattern_size": 1, "min_count": 3})
        self.assertEqual(choice.finish_reason, "repetition")
        self.assertEqual(self.complete(max_tokens=1, extra_body={"request_id": "mine"}).id, "cmpl-mine")
        self.assertEqual(self.complete(max_tokens=1, extra_headers={"X-Request-Id": "head"}).id, "cmpl-head")

    def test_continuous_usage(self):
        options = {"include_usage": True, "continuous_usage_stats": True}
        for events in (self.complete(max_tokens=4, temperature=0, stream=True, stream_options=options, extra_body={"ignore_eos": True}),
                       self.chat(max_tokens=4, temperature=0, stream=True, stream_options=options, extra_body={"ignore_eos": True})):
            counts = [event.usage.completion_tokens for event in events]
            self.assertEqual((counts, counts[-2:]), (sorted(counts), [4, 4]))
            self.assertGreater(len(set(counts)), 3)

    def test_completion_stream(self):
        whole = self.complete(max_tokens=16, temperature=0)
        text, usage = "", None
        for event in self.complete(max_tokens=16, temperature=0, stream=True, stream_options={"include_usage": True}):
            text += "".join(choice.text for choice in event.choices)
            usage = event.usage or usage
        self.assertEqual(text, whole.choices[0].text)
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)

    def test_chat_fields(self):
        body = self.chat(max_completion_tokens=8, temperature=0, logprobs=True, top_logprobs=3, seed=1, n=1)
        choice = body.choices[0]
        self.assertEqual(choice.message.role, "assistant")
        self.assertEqual(len(choice.logprobs.content[0].top_logprobs), 3)
        self.assertIn(choice.finish_reason, ("stop", "length"))
        self.assertEqual(len(self.chat(max_tokens=4, n=2, temperature=1).choices), 2)

    def test_chat_stream(self):
        whole = self.chat(max_tokens=16, temperature=0)
        text, roles, reasons = "", [], []
        for event in self.chat(max_tokens=16, temperature=0, stream=True):
            delta = event.choices[0].delta
            roles += [delta.role] if delta.role else []
            text += delta.content or ""
            reasons += [event.choices[0].finish_reason] if event.choices[0].finish_reason else []
        self.assertEqual((text, roles, reasons), (whole.choices[0].message.content, ["assistant"], [whole.choices[0].finish_reason]))

    def test_stream_helper(self):
        fields = {"max_tokens": 60, "temperature": 0, "stop": ["e"]}  # the helper takes an answer that was cut for an error
        with self.client.chat.completions.stream(model="books-12m", messages=MESSAGES, **fields) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, self.chat(**fields).choices[0].message.content)

    def test_structured_outputs_and_tools(self):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"],
                  "additionalProperties": False}
        body = self.chat(max_tokens=60, temperature=0, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
        self.assertLessEqual(json.loads(body.choices[0].message.content)["n"], 9)
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        call = self.chat(max_tokens=90, temperature=0, tools=[tool], tool_choice={"type": "function", "function": {"name": "f"}})
        self.assertEqual(call.choices[0].message.tool_calls[0].function.name, "f")
        self.assertIn("n", json.loads(call.choices[0].message.tool_calls[0].function.arguments))
        self.assertTrue(self.chat(max_tokens=4, tools=[tool], tool_choice="auto").choices)
        word = self.complete(max_tokens=20, temperature=0, extra_body={"structured_outputs": {"choice": ["left", "right"]}})
        self.assertIn(word.choices[0].text, ("left", "right"))

    def test_every_form_of_an_answer(self):
        def text(**fields):
            return self.complete(max_tokens=60, temperature=0, extra_body=fields).choices[0].text

        self.assertRegex(text(structured_outputs={"regex": "[a-c]{2}-[0-9]"}), r"^[a-c]{2}-[0-9]$")
        self.assertRegex(text(guided_regex="[a-c]{2}-[0-9]"), r"^[a-c]{2}-[0-9]$")
        self.assertIn(text(structured_outputs={"grammar": 'root ::= "yes" | "no"'}), ("yes", "no"))
        self.assertIn(text(guided_choice=["left", "right"]), ("left", "right"))
        schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
        self.assertEqual(set(json.loads(text(structured_outputs={"json": schema}))), {"a"})
        self.assertTrue(self.chat(max_tokens=20, temperature=0, response_format={"type": "json_object"}).choices[0].message.content.lstrip().startswith("{"))
        self.assertTrue(self.chat(max_tokens=4, temperature=0, response_format={"type": "text"}).choices[0].message.content)
        pieces = [event.choices[0].delta.content or "" for event in self.chat(
            max_tokens=60, temperature=0, stream=True, extra_body={"structured_outputs": {"regex": "[a-c]{2}-[0-9]"}})]
        self.assertRegex("".join(pieces), r"^[a-c]{2}-[0-9]$")

    def test_streamed_tools(self):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"],
                  "additionalProperties": False}
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        for choice, reason in (("required", "tool_calls"), ({"type": "function", "function": {"name": "f"}}, "stop")):
            fields = {"max_tokens": 90, "temperature": 0, "tools": tools, "tool_choice": choice, "parallel_tool_calls": False}
            whole = self.chat(**fields).choices[0]
            self.assertEqual((whole.finish_reason, whole.message.content), (reason, None))
            names, arguments, kinds, reasons = [], "", set(), []
            for event in self.chat(stream=True, **fields):
                for call in event.choices[0].delta.tool_calls or []:
                    names += [call.function.name] if call.function.name else []
                    kinds |= {call.type} if call.type else set()
                    arguments += call.function.arguments or ""
                reasons += [event.choices[0].finish_reason] if event.choices[0].finish_reason else []
            self.assertEqual((names, kinds, reasons), (["f"], {"function"}, [reason]))
            self.assertEqual(arguments, whole.message.tool_calls[0].function.arguments)
            self.assertLessEqual(json.loads(arguments)["n"], 9)
        result = self.client.chat.completions.create(model="books-12m", max_tokens=4, tools=tools, messages=[
            *MESSAGES, {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "one"}])
        self.assertEqual(result.choices[0].message.role, "assistant")

    def test_errors_have_their_classes(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.completions.create(model="other", prompt="x")
        for fields in ({"temperature": 3}, {"n": 0}, {"extra_body": {"use_beam_search": True}}, {"best_of": 2}, {"max_tokens": 10**6},
                       {"extra_body": {"response_format": {"type": "structural_tag"}}}):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.complete(**fields)
            self.assertEqual(caught.exception.status_code, 400)
            self.assertTrue(caught.exception.body["message"])

    def test_a_client_that_leaves(self):
        stream = self.complete(max_tokens=240, temperature=0, stream=True, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
        self.assertTrue(self.complete(max_tokens=2).choices)


if __name__ == "__main__":
    other = os.environ.get("AWQ_TEST_PYTHON")
    if openai is None and other:
        environment = {key: value for key, value in os.environ.items() if key != "AWQ_TEST_PYTHON"}
        sys.exit(subprocess.run([other, *sys.argv], env=environment, check=False).returncode)
    if openai is None:
        print("skipped: the package openai is not installed (AWQ_TEST_PYTHON may name a Python that has it)")
        sys.exit(SKIPPED)
    run_tests()
