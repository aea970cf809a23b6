"""msa chat on a pseudo-terminal, as a person uses it, and with lines from a pipe."""

import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from msa_case import BINARY, TIMEOUT_S, WithModel, default_signals, environment

PROMPT = "msa> "


class Terminal:
    """A program on a pseudo-terminal: type, and wait for what should appear."""

    def __init__(self, arguments, env):
        self.master, slave = pty.openpty()

        def prepare():
            default_signals()
            os.setsid()
            import fcntl
            import termios
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it

        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=env,
                                        preexec_fn=prepare)
        os.close(slave)
        self.text = ""

    def read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += piece.decode("utf-8", "replace")
        return bool(piece)

    def wait_for(self, pattern):
        """Everything up to and including the next match of `pattern`, taken off the text."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            match = re.search(pattern, self.text)
            if match:
                seen, self.text = self.text[:match.end()], self.text[match.end():]
                return seen
            if not self.read(0.2) and self.process.poll() is not None and not self.read(0.2):
                break
        raise AssertionError("no %r in %r" % (pattern, self.text))

    def type(self, text):
        os.write(self.master, text.encode("utf-8"))

    def finish(self):
        end = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            self.read(0.2)
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError("does not end; last: %r" % self.text[-500:])
        while self.read(0):
            pass
        os.close(self.master)
        return self.process.returncode


class Chat(WithModel):

    def setUp(self):
        super().setUp()
        self.small_bank()
        self.env = environment(XDG_STATE_HOME=str(self.folder / "state"))

    def arguments(self, *options):
        return [BINARY, "chat", "-b", str(self.bank), "-m", str(self.model), *map(str, options)]

    def chat(self, *options):
        terminal = Terminal(self.arguments(*options), self.env)
        self.addCleanup(terminal.process.kill)
        self.assertIn("5 documents", terminal.wait_for(PROMPT))
        return terminal

    def test_questions_and_commands(self):
        terminal = self.chat("--max-tokens", 16, "--retrieval", "router", "--router-documents", 2)
        terminal.type("/docs\n")
        self.assertIn("no answer yet", terminal.wait_for("\n" + PROMPT))
        terminal.type("Wo ist die Brücke?\n")
        terminal.wait_for("based on 2 documents")
        terminal.wait_for(PROMPT)
        terminal.type("/docs\n")
        self.assertEqual(len(re.findall(r"\[\d\] Title \d", terminal.wait_for("\n" + PROMPT))), 2)
        terminal.type("/route\n")
        self.assertIn("all layers", terminal.wait_for("\n" + PROMPT))
        terminal.type("/route Which one?\n")
        self.assertIn("all layers", terminal.wait_for("\n" + PROMPT))
        terminal.type("/help\n")
        self.assertIn("/quit", terminal.wait_for("\n" + PROMPT))
        terminal.type("/hlep\n")
        self.assertIn("did you mean '/help'?", terminal.wait_for("\n" + PROMPT))
        terminal.type("/quit\n")
        self.assertEqual(terminal.finish(), 0)
        history = (self.folder / "state" / "msa" / "history").read_text(encoding="utf-8")
        self.assertIn("Wo ist die Brücke?\n", history)
        self.assertIn("/route Which one?\n", history)

    def test_history_is_there_the_next_time(self):
        terminal = self.chat()
        terminal.type("/help\n")
        terminal.wait_for("\n" + PROMPT)
        terminal.type("\x04")
        self.assertEqual(terminal.finish(), 0)
        terminal = self.chat()
        terminal.type("\x1b[A\n")  # arrow up
        self.assertIn("/quit", terminal.wait_for("\n" + PROMPT))
        terminal.type("\x04")
        self.assertEqual(terminal.finish(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_chat(self):
        terminal = self.chat("--max-tokens", 100000, "--max-rounds", 1000)
        terminal.type("Tell me everything.\n")
        terminal.wait_for("Tell me everything.")
        time.sleep(0.3)
        terminal.type("\x03")
        self.assertIn("stopped", terminal.wait_for("\n" + PROMPT))
        terminal.type("half a line\x03")  # at the prompt it drops the line
        terminal.wait_for(re.escape("^C") + r"\s+" + PROMPT)
        terminal.type("/help\n")
        self.assertIn("/docs", terminal.wait_for("\n" + PROMPT))
        terminal.type("\x04")
        self.assertEqual(terminal.finish(), 0)

    def test_sigterm_leaves_the_terminal_in_order(self):
        terminal = self.chat()
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.finish(), 130)

    def test_lines_from_a_pipe(self):
        done = subprocess.run(self.arguments("--max-tokens", 8, "--retrieval", "router"),
                              input=b"Which bridge?\n/docs\n\n/help\n", capture_output=True,
                              env=self.env, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(re.findall(rb"(?m)^\[\d\] Title \d", done.stdout)), 4)
        self.assertIn(b"/quit", done.stdout)
        self.assertNotIn(PROMPT.encode(), done.stdout)
        self.assertFalse((self.folder / "state").exists())


if __name__ == "__main__":
    unittest.main()
