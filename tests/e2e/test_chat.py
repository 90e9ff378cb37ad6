#!/usr/bin/env python3
"""awq run --chat: conversations in the terminal and through pipes."""
import json
import signal
import subprocess

from support import BAD_INPUT, USAGE, Case, awq, command, make_model, run_tests, stop

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.content == 'refuse' %}{{ raise_exception('I refuse') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}\n"
)


class Chat(Case):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model", max_position_embeddings=4096)
        (self.model / "chat_template.jinja").write_text(TEMPLATE)

    def say(self, *lines, flags=()):
        text = "".join(line + "\n" for line in lines).encode()
        return self.check_ok(awq("run", self.model, "--chat", "-n", 12, *flags, stdin=text))

    def continued(self, prompt, *flags):
        """What the model says after a text, without any template; the tokenizer puts the BOS before it."""
        path = self.folder / "prompt.txt"
        path.write_text(prompt, encoding="utf-8", newline="")
        return json.loads(self.check_ok(awq("run", self.model, "-f", path, "-n", 12, "--json", *flags)).out)

    def test_one_message_is_rendered(self):
        chat = json.loads(self.check_ok(awq("run", self.model, "-p", "hi", "--chat", "-n", 12, "--json")).out)
        self.assertEqual(chat["token_ids"], self.continued("[user]hi\n[assistant]")["token_ids"])
        system = json.loads(self.check_ok(
            awq("run", self.model, "-p", "hi", "--chat", "--system", "be brief", "-n", 12, "--json")).out)
        self.assertEqual(system["token_ids"],
                         self.continued("[system]be brief\n[user]hi\n[assistant]")["token_ids"])

    def test_the_prompt_is_not_shown(self):
        shown = self.check_ok(awq("run", self.model, "-p", "hello there", "--chat", "-n", 4)).out
        self.assertNotIn("hello there", shown)

    def test_history(self):
        said = json.loads(self.say("one", "two", flags=("--json",)).out)
        self.assertEqual(said["turns"], 2)
        roles = [message["role"] for message in said["messages"]]
        self.assertEqual(roles, ["user", "assistant", "user", "assistant"])
        first, second = said["messages"][1]["content"], said["messages"][3]["content"]
        self.assertEqual(first, self.continued("[user]one\n[assistant]")["text"])
        self.assertEqual(second, self.continued(f"[user]one\n[assistant]{first}\n[user]two\n[assistant]")["text"])
        # On a pipe the answers alone go to standard output.
        self.assertEqual(self.say("one", "two").out, f"{first}\n{second}\n")

    def test_a_turn_computes_only_what_is_new(self):
        def cached(*lines):
            said = json.loads(self.say(*lines, flags=("--json",)).out)
            return said["prompt_tokens"], said["cached_tokens"], [m["content"] for m in said["messages"]]

        long = "sea " * 40
        first, kept, _ = cached(long)
        self.assertEqual(kept, 0)
        both, kept, said = cached(long, "two")
        self.assertGreater(kept, first - 32)  # whole blocks of 16; the message and what begins the answer are new
        self.assertEqual(said[3], self.continued(f"[user]{long}\n[assistant]{said[1]}\n[user]two\n[assistant]")["text"])
        # A message for which there is no room makes room and begins anew, once.
        _, before, _ = cached(long, "two", "three")
        longer = "wind " * 500
        tokens, after, said = cached(long, "two", "three", longer, "five")
        self.assertGreater(after - before, 1500)
        told = "".join(f"[{('user', 'assistant')[i % 2]}]{text}\n" for i, text in enumerate(said[:-1])) + "[assistant]"
        self.assertEqual(said[-1], self.continued(told)["text"])
        # Another system message changes the beginning.
        _, kept, _ = cached(long, "/reset", "/system other words", long)
        self.assertLess(kept, 17)

    def test_commands(self):
        said = json.loads(self.say("one", "/reset", "/system terse", "", "two", "/nonsense", "/exit", "three",
                                   flags=("--json",)).out)
        self.assertEqual([m["content"] for m in said["messages"][:2]], ["terse", "two"])
        self.assertEqual(len(said["messages"]), 3)
        self.assertIn("unknown command /nonsense", self.say("/nonsense").err)

    def test_lines_that_are_no_utf8(self):
        said = self.check_ok(awq("run", self.model, "--chat", "-n", 2, "--json", stdin=b"/system caf\xe9\none \xff\n"))
        contents = [message["content"] for message in json.loads(said.out)["messages"]]
        self.assertEqual(contents[:2], ["caf\ufffd", "one \ufffd"])

    def test_what_the_template_refuses(self):
        # In a conversation the message is dropped; a single one is a usage error in the template's words.
        said = self.say("refuse", "one", flags=("--json",))
        self.assertIn("I refuse", said.err)
        self.assertEqual(len(json.loads(said.out)["messages"]), 2)
        self.check_message(awq("run", self.model, "-p", "refuse", "--chat"), USAGE, "I refuse")

    def test_needs_a_template(self):
        (self.model / "chat_template.jinja").unlink()
        self.check_message(awq("run", self.model, "-p", "hi", "--chat"), BAD_INPUT, "no chat template")
        (self.model / "chat_template.jinja").write_text("{% if %}")
        self.check_message(awq("run", self.model, "-p", "hi", "--chat"), BAD_INPUT, "chat_template.jinja:1")

    def test_flags(self):
        self.check_message(awq("run", self.model, "--chat", "--prompt-ids", "1,2"), USAGE, "--prompt-ids")
        self.check_message(awq("run", self.model, "-p", "x", "--system", "y"), USAGE, "--system")

    def start_endless_answer(self):
        process = subprocess.Popen(command("run", self.model, "--chat", "-n", 100000, "--ignore-eos"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(stop, process)
        process.stdin.write(b"one\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.read(1))
        return process

    def test_interrupt_stops_the_answer_and_not_the_program(self):
        process = self.start_endless_answer()
        process.send_signal(signal.SIGINT)
        process.stdin.write(b"two\n/exit\n")
        process.stdin.close()
        out, err = process.stdout.read(), process.stderr.read().decode("utf-8", "replace")
        self.assertEqual(process.wait(timeout=300), 0, err)
        self.assertIn("(stopped)", err)
        self.assertTrue(out)

    def test_terminate_ends_the_program(self):
        process = self.start_endless_answer()
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        self.assertEqual(process.wait(timeout=300), 143)


if __name__ == "__main__":
    run_tests()
