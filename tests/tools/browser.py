"""Chromium without a window, spoken to over two pipes by the DevTools protocol: no driver, no port, no package."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-dev-shm-usage".split()


class Browser:
    """One page. What the page writes to the console, and what it throws, gathers in `said`."""

    def __init__(self, read: int, write: int):
        self.read, self.write, self.rest, self.number, self.session = read, write, b"", 0, None
        self.said, self.loaded = [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": values}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.loaded = False
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not self.loaded:
            self._next()

    def value(self, expression: str):
        """What an expression of JavaScript gives; None where that is undefined."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _next(self) -> dict:
        while b"\0" not in self.rest:
            more = os.read(self.read, 2**16)
            assert more, "the browser has gone"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        event = json.loads(message)
        if event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.said.append(event["params"])
        self.loaded |= event.get("method") == "Page.loadEventFired"
        return event


@contextmanager
def browser(profile: Path):
    """A browser whose files lie in the folder `profile`; it ends with the block."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()

    def pipes() -> None:  # Chromium reads from 3 and writes to 4
        given, taken = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(given, 3)
        os.dup2(taken, 4)

    process = subprocess.Popen(
        [CHROMIUM, *_OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        preexec_fn=pipes, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
