#!/usr/bin/env python3
"""Calls of tools in every format, and thoughts, over HTTP: whole and streamed."""
from server_support import SCHEMA, ServerCase, chat_template
from support import run_tests

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": SCHEMA}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
ARGUMENTS = '{"a": 7, "b": "x"}'
# One call as a model of each format writes it.
CALLS = {
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": %s}\n</tool_call>' % ARGUMENTS,
    "llama3_json": '{"name": "get_weather", "parameters": %s}' % ARGUMENTS,
    "mistral": '[TOOL_CALLS][{"name": "get_weather", "arguments": %s}]' % ARGUMENTS,
    "mistral_named": "[TOOL_CALLS]get_weather[ARGS]%s" % ARGUMENTS,
    "qwen3_coder": "<tool_call>\n<function=get_weather>\n<parameter=a>\n7\n</parameter>\n<parameter=b>\nx\n</parameter>\n</function>\n</tool_call>",
    "glm45": "<tool_call>get_weather\n<arg_key>a</arg_key>\n<arg_value>7</arg_value>\n<arg_key>b</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
}


def pattern(text):
    """A regular expression of this very text."""
    return "".join("\\" + c if c in r"\.[]{}()*+?|^$" else c for c in text)


def says(text, **fields):
    """Fields of a request whose answer has to be this text."""
    return {"structured_outputs": {"regex": pattern(text)}, "max_tokens": 160, **fields}


class Tools(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share()

    def whole(self, server, **fields):
        """Content, reasoning, calls as (name, arguments), and the finish reason: the same whole and streamed."""
        choice = self.good(server.chat(**fields))["choices"][0]
        message = choice["message"]
        calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
        self.assertTrue(all(call["type"] == "function" and call["id"] for call in message.get("tool_calls", [])))
        self.assertEqual(message.get("reasoning"), message.get("reasoning_content"))
        found = (message["content"] or "", message.get("reasoning", ""), calls, choice["finish_reason"])
        self.assertEqual(message["content"] is None, bool(calls) and not found[0])
        self.assertEqual(self.streamed(server, **fields), found)
        return found

    def streamed(self, server, **fields):
        content, reasoning, names, arguments, reason = "", "", {}, {}, None
        for event in server.chat(stream=True, **fields).events():
            choice = event["choices"][0]
            delta, reason = choice["delta"], choice["finish_reason"]
            content += delta.get("content", "")
            reasoning += delta.get("reasoning", "")
            for piece in delta.get("tool_calls", []):
                index = piece["index"]
                if "name" in piece["function"]:
                    self.assertNotIn(index, names)
                    self.assertTrue(piece["id"])
                    names[index] = piece["function"]["name"]
                arguments[index] = arguments.get(index, "") + piece["function"].get("arguments", "")
        return content, reasoning, [(names[i], arguments[i]) for i in sorted(names)], reason

    def test_plain_json(self):
        """The model has no format of its own for calls: they are plain JSON, enforced by the schema."""
        for choice, expected in ((NAMED, "stop"), ("required", "tool_calls")):
            content, _, calls, reason = self.whole(self.server, tools=[TOOL], tool_choice=choice, max_tokens=120, parallel_tool_calls=False)
            self.assertEqual((content, [name for name, _ in calls], reason), ("", ["get_weather"], expected))
            self.check_schema(calls[0][1])
        self.good(self.server.chat(tools=[TOOL]))
        self.good(self.server.chat(tools=[TOOL], tool_choice="none"))

    def test_formats(self):
        other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
        for parser, call in CALLS.items():
            with self.subTest(parser=parser):
                server = self.serve(*self.template, "--tool-call-parser", parser)
                forced = {"max_tokens": 160, "parallel_tool_calls": False}
                content, _, calls, reason = self.whole(server, tools=[TOOL], tool_choice="required", **forced)
                self.assertEqual((content, [name for name, _ in calls], reason), ("", ["get_weather"], "tool_calls"))
                self.check_schema(calls[0][1])
                content, _, calls, reason = self.whole(server, tools=[other, TOOL], tool_choice=NAMED, **forced)
                self.assertEqual((content, [name for name, _ in calls], reason), ("", ["get_weather"], "stop"))
                self.check_schema(calls[0][1])
                content, _, calls, reason = self.whole(server, tools=[other, TOOL], **says(call))
                self.assertEqual((content, reason), ("", "tool_calls"))
                self.assertEqual([(name, text.replace(" ", "")) for name, text in calls], [("get_weather", ARGUMENTS.replace(" ", ""))])
                # Nobody asked for calls: it is what the model said.
                self.assertEqual(self.whole(server, tools=[TOOL], tool_choice="none", **says(call)), (call, "", [], "stop"))
                self.assertEqual(self.whole(server, **says(call)), (call, "", [], "stop"))

    def test_calls_beside_text(self):
        server = self.serve(*self.template, "--tool-call-parser", "hermes")
        call = CALLS["hermes"]
        found = self.whole(server, tools=[TOOL], **says("Let me see. " + call))
        self.assertEqual(found, ("Let me see.", "", [("get_weather", ARGUMENTS)], "tool_calls"))
        two = says(call + "\n" + call, max_tokens=220)
        self.assertEqual(self.whole(server, tools=[TOOL], **two)[2], [("get_weather", ARGUMENTS)] * 2)
        self.assertEqual(self.whole(server, tools=[TOOL], parallel_tool_calls=False, **two)[2], [("get_weather", ARGUMENTS)])
        # An answer by a schema is an answer, whatever it looks like.
        schema = {"type": "object", "properties": {"name": {"const": "get_weather"}, "parameters": SCHEMA}, "required": ["name", "parameters"],
                  "additionalProperties": False}
        llama = self.serve(*self.template, "--tool-call-parser", "llama3_json")
        content, _, calls, reason = self.whole(llama, tools=[TOOL], max_tokens=160,
                                               response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
        self.assertEqual((calls, reason), ([], "stop"))
        self.assertIn("get_weather", content)

    def test_reasoning(self):
        server = self.serve(*self.template, "--reasoning-parser", "think", "--tool-call-parser", "hermes")
        text = "<think>\nIs it so?\nIt is.\n</think>\n\nYes, <b>it</b> is."
        self.assertEqual(self.whole(server, **says(text)), ("Yes, <b>it</b> is.", "Is it so?\nIt is.", [], "stop"))
        self.assertEqual(self.whole(server, include_reasoning=False, **says(text)), ("Yes, <b>it</b> is.", "", [], "stop"))
        self.assertEqual(self.whole(server, **says("<b>No</b> </think> here.")), ("<b>No</b> </think> here.", "", [], "stop"))
        self.assertEqual(self.whole(server, tools=[TOOL], **says("<think>Hm.</think>\n\n" + CALLS["hermes"])),
                         ("", "Hm.", [("get_weather", ARGUMENTS)], "tool_calls"))
        listed = {"structured_outputs": {"choice": ["<think>a</think>b"]}, "max_tokens": 40}
        self.assertEqual(self.whole(server, **listed), ("<think>a</think>b", "", [], "stop"))
        plain = self.serve(*self.template, "--reasoning-parser", "none")
        self.assertEqual(self.whole(plain, **says(text)), (text, "", [], "stop"))

    def test_a_template_that_opens_a_thought(self):
        flag, path = chat_template(self.folder)
        path.write_text(path.read_text().replace("assistant:{%", "assistant:<think>\n{%") + "{# </think> #}")
        server = self.serve(flag, path)
        content, reasoning, _, reason = self.whole(server, max_tokens=12, ignore_eos=True)
        self.assertEqual((content, reason), ("", "length"))
        self.assertGreater(len(reasoning), 5)
        self.assertEqual(self.whole(server, max_tokens=12, ignore_eos=True, include_reasoning=False), ("", "", [], "length"))
        self.refused(server.chat(thinking_token_budget=-1), "thinking_token_budget")
        # A thought has as many tokens as it may, and then an answer, by a pattern if there is one.
        for budget in (0, 5, 9):
            begun = self.whole(server, max_tokens=budget, ignore_eos=True)[1] if budget else ""
            content, reasoning, _, reason = self.whole(server, thinking_token_budget=budget, max_tokens=40, ignore_eos=True)
            self.assertEqual((reasoning, reason), (begun.rstrip(), "length"))
            self.assertGreater(len(content), 5)
            content, reasoning, _, reason = self.whole(server, thinking_token_budget=budget, max_tokens=60, structured_outputs={"regex": "[0-9]{3}"})
            self.assertEqual((reasoning, reason), (begun.rstrip(), "stop"))
            self.assertRegex(content, r"^[0-9]{3}$")
            content, reasoning, _, _ = self.whole(server, thinking_token_budget=budget, max_tokens=60, include_reasoning=False,
                                                  structured_outputs={"choice": ["left", "right"]})
            self.assertEqual((content in ("left", "right"), reasoning), (True, ""))
        many = self.good(server.chat(thinking_token_budget=5, max_tokens=30, n=3, temperature=1, seed=1, ignore_eos=True))["choices"]
        self.assertTrue(all(choice["message"]["reasoning"] and choice["message"]["content"] for choice in many))

    def test_a_budget_for_a_thought_of_its_own(self):
        server = self.serve(*self.template, "--reasoning-parser", "think")
        free = {"structured_outputs": {"regex": "<think>[a-z ]{40,90}</think>(yes|no)|(<think>[a-z ]+</think>)maybe"}, "max_tokens": 120}
        content, reasoning, _, _ = self.whole(server, thinking_token_budget=4, **free)
        self.assertEqual(content, "maybe")
        self.assertLess(len(reasoning), 40)
        self.refused(self.server.chat(thinking_token_budget=4), "thinking_token_budget")
        self.refused(self.server.complete(thinking_token_budget=4), "thinking_token_budget")


if __name__ == "__main__":
    run_tests()
