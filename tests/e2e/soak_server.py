#!/usr/bin/env python3
"""Ten minutes of load (AWQ_SOAK_SECONDS): 256 live streams within 1,000 connections, cancels, slow and hostile clients.
Every stream that ends has to say what the same request says alone; memory and descriptors have to stay flat.
Prints one line of numbers per minute; ends with 0 when all held."""
import asyncio
import json
import os
import random
import resource
import sys
import time

from server_support import BOOKS, Server

SECONDS = float(os.environ.get("AWQ_SOAK_SECONDS", "600"))
STREAMS, CONNECTIONS = 256, 1000
MAX_GROWTH = 1 << 20  # bytes per minute after the warm-up
PROMPTS = ["The old man looked at the sea and", "In the beginning there was", "She said that he", "It was a dark night and the"]


def request(prompt, tokens, stream=True):
    body = json.dumps({"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": stream}).encode()
    return (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n").encode() + body


class Load:
    def __init__(self, server, expected):
        self.server, self.expected = server, expected
        self.good = self.refused = self.cancelled = self.wrong = self.broken = 0
        self.end = time.monotonic() + SECONDS
        self.gate = asyncio.Semaphore(STREAMS)

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def client(self, number):
        draw = random.Random(number)
        while time.monotonic() < self.end:
            async with self.gate:
                await self.stream(draw)
            await asyncio.sleep(draw.random())

    async def stream(self, draw):
        prompt, tokens = draw.choice(PROMPTS), draw.choice((8, 16, 32))
        leave = draw.random() < 0.1
        try:
            reader, writer = await self.connect()
            writer.write(request(prompt, tokens))
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            if status in (429, 503):
                self.refused += 1
            elif leave:
                await reader.read(200)
                self.cancelled += 1
            else:
                text = await reader.read()
                lines = [line for line in text.decode().split("\n") if line.startswith("data: {")]
                said = "".join(c["text"] for line in lines for c in json.loads(line[6:])["choices"])
                self.good += 1
                self.wrong += said != self.expected[prompt, tokens] or "[DONE]" not in text.decode()
            writer.close()
        except (OSError, asyncio.IncompleteReadError, ValueError, KeyError):
            self.broken += 1

    async def idler(self):
        """Connections that are only there, and some that send nonsense or half a request."""
        draw = random.Random(os.getpid())
        while time.monotonic() < self.end:
            try:
                _, writer = await self.connect()
                if draw.random() < 0.3:
                    writer.write(draw.choice((b"GET / HT", b"\x16\x03\x01\x02", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")))
                await asyncio.sleep(min(draw.uniform(5, 20), max(0.0, self.end - time.monotonic())))
                writer.close()
            except OSError:
                await asyncio.sleep(0.5)

    async def watch(self):
        samples, start = [], time.monotonic()
        while time.monotonic() < self.end:
            await asyncio.sleep(min(60, SECONDS / 10))
            samples.append((time.monotonic() - start, self.server.resident_bytes(), self.server.descriptors()))
            print(f"{samples[-1][0]:6.0f} s: {self.good} good, {self.refused} refused, {self.cancelled} cancelled, {self.wrong} wrong, "
                  f"{self.broken} broken, {samples[-1][1] / 2**20:.1f} MiB, {samples[-1][2]} descriptors", flush=True)
        return samples

    async def run(self):
        tasks = [asyncio.create_task(self.client(i)) for i in range(STREAMS + 64)]
        tasks += [asyncio.create_task(self.idler()) for _ in range(CONNECTIONS - STREAMS - 64)]
        samples = await self.watch()
        await asyncio.gather(*tasks, return_exceptions=True)
        return samples


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    server = Server(BOOKS, "--max-num-seqs", 64, "--max-requests", 512, "--idle-timeout-ms", 5000, "--log-level", "warning")
    try:
        expected = {(p, n): server.complete(p, max_tokens=n, ignore_eos=True).json()["choices"][0]["text"] for p in PROMPTS for n in (8, 16, 32)}
        before = server.descriptors()
        load = Load(server, expected)
        samples = asyncio.run(load.run())
        time.sleep(7)
        after, used = server.descriptors(), server.metrics()["awq:kv_blocks_used"]
        steady = samples[len(samples) // 3:]
        minutes = (steady[-1][0] - steady[0][0]) / 60
        growth = (steady[-1][1] - steady[0][1]) / minutes if minutes > 0 else 0
        print(f"{load.good} good, {load.wrong} wrong, {load.broken} broken; memory {growth / 2**20:+.2f} MiB per minute; descriptors {before} "
              f"before, {after} after; {used:.0f} blocks in use at the end")
        held = load.good > 0 and load.wrong == 0 and load.broken == 0 and growth <= MAX_GROWTH and after <= before + 4 and used == 0
        return 0 if held and server.close() == 143 else 1
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
