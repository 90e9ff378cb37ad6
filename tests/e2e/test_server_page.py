#!/usr/bin/env python3
"""The chat page in headless Chromium, driven over the WebDriver protocol (Debian: chromium, chromium-driver)."""
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from server_support import ServerCase, chat_template, wait_until
from support import SKIPPED, run_tests

DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SHOTS = os.environ.get("AWQ_TEST_SHOTS")  # a folder for pictures of the page, to be looked at


class Browser:
    """A session of chromedriver; requests and answers are JSON over HTTP."""

    def __init__(self, folder, dark=False):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # A session of its own: whatever Chromium leaves behind goes with the group.
        self.driver = subprocess.Popen([DRIVER, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,700",
                     f"--user-data-dir={folder}", "--proxy-server=direct://"]
        if dark:
            arguments.append("--force-dark-mode")
            arguments.append("--blink-settings=preferredColorScheme=0")
        try:
            wait_until(self.ready, 20)
            value = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}})
            self.session = "/session/" + value["sessionId"]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            self.kill()
            raise unittest.SkipTest(f"Chromium does not start here: {error}") from error

    def ready(self):
        try:
            return self.call("GET", "/status")["ready"]
        except OSError:
            return False

    def call(self, method, path, body=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and answer.get("error"):
            raise RuntimeError(answer["message"])
        return answer

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def script(self, text, *arguments):
        return self.call("POST", self.session + "/execute/sync", {"script": text, "args": list(arguments)})

    def find(self, selector):
        return self.call("POST", self.session + "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", f"{self.session}/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self.call("POST", f"{self.session}/element/{self.find(selector)}/value", {"text": text})

    def shot(self, name):
        if SHOTS:
            Path(SHOTS, name + ".png").write_bytes(base64.b64decode(self.call("GET", self.session + "/screenshot")))

    def errors(self):
        return [e for e in self.call("POST", self.session + "/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]

    def close(self):
        try:
            self.call("DELETE", self.session, timeout=5)
        except OSError:
            pass  # Chromium can take long to end; it need not
        finally:
            self.kill()

    def kill(self):
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait(20)


class Page(ServerCase):
    def start(self, *flags, dark=False, environment=None):
        server = self.serve(*chat_template(self.folder), *flags, environment=environment)
        browser = Browser(self.folder / "profile", dark)
        self.addCleanup(browser.close)
        browser.open(f"http://127.0.0.1:{server.port}/")
        return server, browser

    def idle(self, browser):
        return browser.script("return running === null")

    def text(self, browser, selector):
        return browser.script("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def test_a_conversation(self):
        _, browser = self.start()
        self.assertTrue(wait_until(lambda: "books-12m" in self.text(browser, "#model")[0]))
        browser.shot("empty")
        browser.click("#toggle")
        browser.type("#temperature", "0")
        browser.type("#max_tokens", "40")
        browser.type("#system", "Tell a story.")
        browser.shot("settings")
        browser.click("#toggle")
        browser.type("#prompt", "Once upon a time\ue007")  # and Enter
        self.assertTrue(wait_until(lambda: self.text(browser, ".assistant") and self.idle(browser), 30))
        self.assertEqual(self.text(browser, ".user"), ["Once upon a time"])
        self.assertGreater(len(self.text(browser, ".assistant")[0]), 10)
        self.assertRegex(self.text(browser, ".stats")[0], r"\d+ tokens · [\d.]+ tokens/s · first after [\d.]+ s")
        browser.type("#prompt", "And then?")
        browser.click("#send")
        self.assertTrue(wait_until(lambda: len(self.text(browser, ".assistant")) == 2 and self.idle(browser), 30))
        self.assertEqual(browser.script("return history.length"), 4)
        browser.shot("conversation")
        browser.click("#reset")
        self.assertEqual(self.text(browser, ".turn"), [])
        self.assertEqual(browser.errors(), [])
        # The page is whole: it asked this server for itself and its data, and nobody for anything else.
        names = browser.script("return performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)")
        self.assertLessEqual(set(names), {"/v1/models", "/v1/chat/completions", "/v1/completions"})

    def test_stop_and_completion(self):
        server, browser = self.start()
        browser.script("document.getElementById('mode').value = 'completion'; document.getElementById('max_tokens').value = 240;")
        browser.type("#prompt", "The old man looked at the sea and\ue007")
        self.assertTrue(wait_until(lambda: len("".join(self.text(browser, ".assistant"))) > 5, 20))
        browser.script("document.getElementById('stop').click()")
        self.assertTrue(wait_until(lambda: self.idle(browser)))
        self.assertTrue(wait_until(lambda: server.metrics()["awq:kv_blocks_used"] == 0))
        self.assertGreater(len(self.text(browser, ".assistant")[0]), 5)

    def test_dark_and_key_and_errors(self):
        _, browser = self.start(dark=True, environment={"AWQ_API_KEY": "secret"})
        self.assertTrue(wait_until(lambda: "API key" in self.text(browser, "#model")[0]))
        browser.type("#prompt", "Hello\ue007")
        self.assertTrue(wait_until(lambda: self.text(browser, ".error")))
        self.assertIn("Unauthorized", self.text(browser, ".error")[0])
        browser.shot("dark-error")
        browser.script("const k = document.getElementById('key'); k.value = 'secret'; k.dispatchEvent(new Event('change'));")
        self.assertTrue(wait_until(lambda: "books-12m" in self.text(browser, "#model")[0]))
        browser.script("document.getElementById('max_tokens').value = 30")
        browser.type("#prompt", "Hello <b>there</b>\ue007")
        self.assertTrue(wait_until(lambda: len(self.text(browser, ".assistant:not(.error)")) == 1 and self.idle(browser), 30))
        self.assertEqual(self.text(browser, ".user")[-1], "Hello <b>there</b>")  # text, not markup
        self.assertEqual(self.text(browser, ".turn b"), [])
        browser.shot("dark")


if __name__ == "__main__":
    if DRIVER is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("skipped: chromium and chromedriver are not installed")
        sys.exit(SKIPPED)
    run_tests()
