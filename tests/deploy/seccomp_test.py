#!/usr/bin/env python3
"""deploy/seccomp: the built server lives under its profile, as under a container runtime."""

import ctypes
import ctypes.util
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROFILE = json.loads((ROOT / "deploy/seccomp/spade-server.json").read_text())
SERVER = ROOT / "build/server/spade-server"
CLIENT = ROOT / "build/server/spade-client"
LIBRARY = ctypes.util.find_library("seccomp")

ALLOW = 0x7FFF0000
ERRNO = 0x00050000


def names():
    return {name for rule in PROFILE["syscalls"] for name in rule["names"]}


def confine():
    """Loads the profile into this process; what it starts inherits it."""
    seccomp = ctypes.CDLL(LIBRARY)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | PROFILE["defaultErrnoRet"]))
    for name in names():
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other architectures
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SeccompTest(unittest.TestCase):
    def test_what_a_server_has_no_use_for_is_refused(self):
        self.assertEqual(PROFILE["defaultAction"], "SCMP_ACT_ERRNO")
        self.assertEqual({rule["action"] for rule in PROFILE["syscalls"]}, {"SCMP_ACT_ALLOW"})
        for name in ("ptrace", "bpf", "mount", "unshare", "setns", "init_module", "kexec_load",
                     "process_vm_readv", "keyctl", "perf_event_open", "userfaultfd",
                     "io_uring_setup", "pivot_root", "reboot", "vfork", "fork", "mknod"):
            self.assertNotIn(name, names())

    def test_the_profile_is_in_order(self):
        for rule in PROFILE["syscalls"]:
            self.assertTrue(rule["comment"])
            self.assertEqual(rule["names"], sorted(set(rule["names"])))
            for name in rule["names"]:
                self.assertRegex(name, re.compile(r"^[a-z0-9_]+$"))

    @unittest.skipIf(LIBRARY is None or platform.machine() != "x86_64",
                     "needs libseccomp, and the architecture that was measured")
    def test_the_server_lives_under_it(self):
        target = f"127.0.0.1:{free_port()}"
        with tempfile.TemporaryFile("w+") as log:
            server = subprocess.Popen(
                [SERVER, "--model", ROOT / "models/tickets-7m", "--listen", target,
                 "--metrics-listen", f"127.0.0.1:{free_port()}", "--kv-memory", "8MiB"],
                stdout=log, stderr=log, preexec_fn=confine)
            try:
                self.assertTrue(self.serves(target, server))
                status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
                self.assertRegex(status, r"Seccomp:\s+2")
                for command in (["generate", "-p", "Support inbox.", "-n", "8"],
                                ["decide", "-p", "my card", "--labels", " card, food"]):
                    done = subprocess.run([CLIENT, "--target", target, *command],
                                          capture_output=True, text=True, check=False)
                    self.assertEqual(done.returncode, 0, done.stderr)
                server.send_signal(signal.SIGTERM)
                self.assertEqual(server.wait(timeout=60), os.EX_OK)
            finally:
                server.kill()
                server.wait()
                log.seek(0)
                print(log.read())

    @staticmethod
    def serves(target, server):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            done = subprocess.run([CLIENT, "--target", target, "--deadline", "2", "health"],
                                  capture_output=True, check=False)
            if done.returncode == 0:
                return True
            time.sleep(0.1)
        return False


if __name__ == "__main__":
    unittest.main()
