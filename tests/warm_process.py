"""Runs `python -m zoo` in forks of a process that has imported the slow libraries.

torch with its compiler, bitsandbytes, scipy and pandas take most of a process's start, and read none of the
variables that tests set. transformers, peft, datasets and huggingface_hub do, so each fork imports its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_LIBRARIES = (
    "torch._inductor.compile_fx",
    "torch.distributed.tensor",
    "bitsandbytes",
    "scipy.stats",
    "pandas",
)
_TIMEOUT = 300.0
_servers: list[subprocess.Popen[str]] = []


def run(args: list[str], env: dict[str, str], cwd: str) -> tuple[int, str, str]:
    """The exit code (negative: killed by that signal), stdout and stderr of `python -m zoo ARGS...`."""
    if not _servers:
        env_of_all = {**os.environ, "PYTHONPATH": ""}  # a test may have set it; each fork gets its own
        pipe: Any = subprocess.PIPE
        command = [sys.executable, __file__]
        _servers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env_of_all))
    (server,) = _servers
    assert server.stdin is not None
    assert server.stdout is not None
    with TemporaryDirectory() as folder:
        paths = [f"{folder}/out", f"{folder}/err"]
        server.stdin.write(json.dumps({"args": args, "env": env, "cwd": cwd, "paths": paths}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        out, err = (Path(path).read_text(encoding="utf-8") for path in paths)
    return code, out, err


def _serve() -> None:
    import importlib

    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):  # bitsandbytes is optional
            importlib.import_module(name)
    assert not {"transformers", "peft", "huggingface_hub", "zoo"} & {*sys.modules}
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_zoo(**asked)
        deadline = time.monotonic() + _TIMEOUT
        status = (0, 0)
        while status[0] == 0 and time.monotonic() < deadline:
            status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.005)
        if status[0] == 0:
            os.kill(child, 9)
            status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status[1]), flush=True)


def _become_zoo(args: list[str], env: dict[str, str], cwd: str, paths: list[str]) -> None:
    import atexit
    import runpy
    import traceback

    nothing = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in paths)
    for handle, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(handle, number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.path[1:1] = [
        one for one in env.get("PYTHONPATH", "").split(os.pathsep) if one and one not in sys.path
    ]
    sys.argv = ["zoo", *args]
    code: Any = 0
    try:
        runpy.run_module("zoo", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
