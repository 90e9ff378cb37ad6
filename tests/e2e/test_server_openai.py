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
