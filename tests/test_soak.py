"""Runs a minute of random commands with kills against one registry; tests/soak.py runs as long as asked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_a_minute_of_random_commands_with_kills_loses_nothing() -> None:
    command = [sys.executable, "tests/soak.py", "--seconds", "60", "--processes", "2", "--seed", "14"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["problems"] == 0
    assert facts["acknowledged"]["adds"] > 0
    assert facts["signals"]
