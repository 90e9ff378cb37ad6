#!/usr/bin/env python3
"""awq compare and the pages: keys, refusals, and what a browser shows of the report in light and in dark."""
import json
import os
import shutil
import struct
import subprocess
import unittest
import xml.etree.ElementTree
import zlib
from html.parser import HTMLParser

from support import BAD_INPUT, USAGE, Case, awq, make_model, make_text, run_tests

METHOD_KEYS = ("file_bytes", "bits_per_weight", "perplexity", "kl_mean", "kl_stderr", "kl_p99", "top1_agreement",
               "delta_nll_mean", "delta_nll_stderr", "quantize_seconds", "peak_rss_bytes")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Collects what could reach outside, and checks that tags close."""
    VOID = {"meta", "br", "hr", "img", "input", "link"}

    def __init__(self, text):
        super().__init__()
        self.open, self.problems, self.outside = [], [], []
        self.feed(text)
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.outside += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another tag")


def read_png(path):
    """(width, height, rows of RGB bytes) of a PNG as browsers write it: 8 bits, RGB or RGBA, no interlace."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    assert depth == 8 and color in (2, 6)
    size, packed, at = (3 if color == 2 else 4), b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    raw, stride, rows, last = zlib.decompress(packed), width * size, [], bytearray(width * size)
    for y in range(height):
        method, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            a = line[i - size] if i >= size else 0
            b, c = last[i], last[i - size] if i >= size else 0
            if method == 1:
                line[i] = (line[i] + a) & 255
            elif method == 2:
                line[i] = (line[i] + b) & 255
            elif method == 3:
                line[i] = (line[i] + (a + b) // 2) & 255
            elif method == 4:
                p = a + b - c
                near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
                line[i] = (line[i] + near) & 255
        rows.append(bytes(line[i] for i in range(stride) if size == 3 or i % 4 != 3))
        last = line
    return width, height, rows


class Compare(Case):
    def setUp(self):
        super().setUp()
        self.model, self.text = self.folder / "model", self.folder / "text.txt"
        make_model(self.model)
        self.text.write_text(make_text(1500))

    def compare(self, *flags, methods="rtn,awq,fp8,gguf-q4_0"):
        return awq("compare", self.model, "--methods", methods, "--text", self.text, "--calib", self.text, "--group-size", 32,
                   "--max-tokens", 400, "--threads", 1, "--work", self.folder, *flags)

    def test_keys_and_leftovers(self):
        before = sorted(os.listdir(self.folder))
        result = self.compare("--json", "--no-speed")
        self.assertEqual(result.status, 0, result.err)
        report = json.loads(result.out)
        self.assertEqual([m["name"] for m in report["methods"]], ["rtn", "awq", "fp8", "gguf-q4_0"])
        for method in report["methods"]:
            for key in METHOD_KEYS:
                self.assertIsInstance(method[key], (int, float), f"{method['name']} {key}")
            self.assertGreater(method["kl_mean"], 0)
            self.assertEqual(len(method["layers"]), 2)
            for layer in method["layers"]:
                self.assertGreater(layer["accumulated"], 0)
        by_name = {m["name"]: m for m in report["methods"]}
        self.assertLess(by_name["fp8"]["kl_mean"], by_name["rtn"]["kl_mean"])
        self.assertGreater(by_name["fp8"]["file_bytes"], by_name["rtn"]["file_bytes"])
        self.assertEqual(sorted(os.listdir(self.folder)), before, "a working folder was left behind")

    def test_a_method_that_cannot_do_the_model_says_why(self):
        result = self.compare("--json", "--no-speed", methods="rtn,fp8-block")  # 64 inputs are no block of 128
        self.assertEqual(result.status, 0, result.err)
        rtn, block = json.loads(result.out)["methods"]
        self.assertNotIn("skipped", rtn)
        self.assertTrue("nothing is left to quantize" in block.get("skipped", "") or "kl_mean" in block)

    def test_refusals(self):
        self.assertEqual(self.compare(methods="rtn,best").status, USAGE)
        self.assertEqual(self.compare(methods="rtn,rtn").status, USAGE)
        self.assertEqual(self.compare("--report", self.folder / "no" / "r.html").status, USAGE)
        self.assertEqual(awq("compare", self.model).status, USAGE)
        self.assertEqual(awq("compare", self.model, "--text", self.text, "--methods", "rtn,awq", "--bits", 5).status, USAGE)
        self.assertEqual(awq("compare", self.model, "--text", self.folder / "none.txt").status, BAD_INPUT)

    def test_report(self):
        path = self.folder / "report.html"
        result = self.compare("--report", path, "--no-speed")
        self.assertEqual(result.status, 0, result.err)
        self.assertIn("gguf-q4_0", result.out)
        self.check_page(path)

    def test_quantize_report(self):
        path = self.folder / "report.html"
        result = awq("quantize", self.model, "-o", self.folder / "out", "--calib", self.text, "--group-size", 32, "--calib-samples",
                     16, "--calib-seqlen", 32, "--threads", 1, "--report", path)
        self.assertEqual(result.status, 0, result.err)
        self.check_page(path)

    def check_page(self, path):
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        self.assertEqual(page.problems, [])
        self.assertEqual(page.outside, [])
        at, pictures = 0, 0
        while (at := text.find("<svg ", at)) >= 0:
            end = text.index("</svg>", at) + 6
            xml.etree.ElementTree.fromstring(text[at:end])
            pictures, at = pictures + 1, end
        self.assertGreaterEqual(pictures, 2)

    @unittest.skipUnless(CHROMIUM, "no chromium on this machine")
    def test_a_browser_shows_it_in_light_and_dark(self):
        path = self.folder / "report.html"
        self.assertEqual(self.compare("--report", path, "--no-speed").status, 0)
        ground = {}
        for theme, flags in (("light", []), ("dark", ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"])):
            image = self.folder / f"{theme}.png"
            done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=420,900",
                                   f"--user-data-dir={self.folder / theme}", *flags, f"--screenshot={image}", path.as_uri()],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
            if not image.is_file():
                self.skipTest("chromium does not run here: " + done.stderr.decode("utf-8", "replace")[-300:])
            width, height, rows = read_png(image)
            colors = {row[i:i + 3] for row in rows[::7] for i in range(0, len(row), 33)}
            self.assertGreater(len(colors), 20, "the page is blank")
            ground[theme] = sum(rows[2][:3])
            if theme == "light":
                self.assertGreater(ground[theme], 600)
                # Nothing wider than a phone makes the page scroll sideways: its right edge is bare ground.
                self.assertEqual({row[-3:] for row in rows[300::50]}, {rows[2][:3]})
        if ground["dark"] == ground["light"]:
            self.skipTest("this chromium has no flag for dark")
        self.assertLess(ground["dark"], 200)


if __name__ == "__main__":
    run_tests()
