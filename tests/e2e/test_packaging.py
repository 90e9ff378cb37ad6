#!/usr/bin/env python3
"""packaging/: the systemd unit as systemd reads it, and what the Dockerfile says against the program."""
import json
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from server_support import ServerCase, wait_until
from support import BINARY, SOURCE, run_tests

PACKAGING = SOURCE / "packaging"


def run(*words, **more):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120, **more)


def is_debian_12():
    release = Path("/etc/os-release")
    return release.is_file() and 'VERSION_ID="12"' in release.read_text() and "ID=debian" in release.read_text()


class Packaging(ServerCase):
    def verify(self, *changes, cuda=True):
        """What systemd has to say about the unit with its drop-in."""
        unit = self.folder / "awq-serve.service"
        text = (PACKAGING / unit.name).read_text()
        self.assertIn("ExecStart=/usr/local/bin/awq serve ${MODEL} $FLAGS", text)
        for before, after in (("/usr/local/bin/awq", str(BINARY)), *changes):
            text = text.replace(before, after)
        unit.write_text(text)
        (self.folder / "awq-serve.service.d").mkdir(exist_ok=True)
        if cuda:
            shutil.copy(PACKAGING / "awq-serve-cuda.conf", self.folder / "awq-serve.service.d" / "cuda.conf")
        done = run("systemd-analyze", "verify", "--man=no", unit)
        return [line for line in done.stdout.splitlines() if "awq-serve" in line or "cuda.conf" in line or done.returncode]

    @unittest.skipIf(shutil.which("systemd-analyze") is None, "systemd-analyze is not here")
    def test_unit(self):
        self.assertEqual(self.verify(cuda=False), [])
        self.assertEqual(self.verify(), [])
        # It would say so.
        self.assertTrue(self.verify(("KillSignal=SIGTERM", "KillSignal=SIGNOTHING")))
        self.assertTrue(self.verify((str(BINARY) + " serve", "/nowhere/awq serve")))
        drop_in = self.folder / "awq-serve.service.d" / "cuda.conf"
        drop_in.write_text(drop_in.read_text() + "NoSuchKey=1\n")
        self.assertTrue(self.verify(cuda=False))

    def instructions(self):
        text = re.sub(r"^#.*\n", "", (PACKAGING / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
        return [line.split(None, 1) for line in text.splitlines() if line.strip()]

    def test_dockerfile(self):
        lines = self.instructions()
        known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
        self.assertEqual({name for name, _ in lines} - known, set())
        last = dict(lines[max(i for i, (name, _) in enumerate(lines) if name == "FROM"):])
        self.assertEqual((last["USER"], last["STOPSIGNAL"], json.loads(last["ENTRYPOINT"])), ("awq", "SIGTERM", ["awq"]))
        self.assertIn("build", (SOURCE / ".dockerignore").read_text().split(), "COPY . . would take the host's build along")
        self.assertTrue(all(re.match(r"debian:12(-slim)?( AS \w+)?$", rest) for name, rest in lines if name == "FROM"))

    def test_health_check(self):
        """The image's own command, against a server that runs, one that fails, and none."""
        check = dict(self.instructions())["HEALTHCHECK"]
        command = json.loads(check[check.index("CMD") + 3:])
        server = self.serve()
        health = lambda port: run(*command, env={"AWQ_PORT": str(port), "PATH": "/usr/bin:/bin"}).returncode
        self.assertEqual(health(server.port), 0)
        self.assertIn(f"127.0.0.1/${{AWQ_PORT:-{dict(self.instructions())['EXPOSE'].strip()}}}", command[2])
        closed = self.serve(environment={"AWQ_API_KEY": "sk-x"})
        self.assertEqual(health(closed.port), 0, "no key is needed")
        port = server.port
        server.close()
        self.assertTrue(wait_until(lambda: health(port) != 0))

    @unittest.skipUnless(is_debian_12() and shutil.which("objdump"), "not on the image's Debian")
    def test_libraries_of_the_image(self):
        packages = set(re.search(r"--no-install-recommends\s+(.*?)&&", (PACKAGING / "Dockerfile").read_text().replace("\\\n", " "), re.S).group(1).split())
        needed = re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", BINARY).stdout)
        self.assertGreater(len(needed), 5)
        owners = {}
        for name in needed:
            path = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", run("/sbin/ldconfig", "-p").stdout, re.M)
            if path is None:  # of the sanitizers
                continue
            place = str(Path(path.group(1)).resolve())
            # dpkg knows what was in /lib before /lib became /usr/lib by that name.
            for known in (place, place.removeprefix("/usr")):
                owner = run("dpkg-query", "-S", known)
                if owner.returncode == 0:
                    owners[owner.stdout.split(":")[0]] = name
        base = {"libc6", "libgcc-s1", "libstdc++6", "zlib1g"}  # of debian:12-slim, with what the packages bring
        missing = {owner: name for owner, name in owners.items() if owner not in packages | base and not owner.startswith(("libasan", "libubsan", "libtsan"))}
        self.assertEqual(missing, {})
        self.assertEqual({package for package in packages if package not in owners}, set(), "a package that nothing needs")


if __name__ == "__main__":
    run_tests()
