"""A closed stderr or stdout, before the start or in the middle, does not end a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX file descriptors")

WRITER = """
import os, sys, time
from pathlib import Path
from zoo.runtime import streams

streams.make_lasting()
for number in range(2000):
    print("a line that nobody reads", number, file=sys.stderr)
    sys.stderr.flush()
Path(sys.argv[1]).write_text("done")
"""


def test_a_reader_that_goes_away_does_not_end_the_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "end")], stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(60) == 0
    assert (tmp_path / "end").read_text() == "done"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_what_is_printed_never_gets_into_a_file_that_took_its_number(closed: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom zoo.runtime import streams\nstreams.make_lasting()\n"
        "file = open(sys.argv[1], 'w')\nprint('out')\nprint('err', file=sys.stderr)\n"
        "import os\nos.write(1, b'raw'), os.write(2, b'raw')\nfile.write('mine')\n"
    )
    command = f"{sys.executable} {script} {tmp_path / 'file'} {closed}"
    assert subprocess.run(command, shell=True, check=False, capture_output=True).returncode == 0
    assert (tmp_path / "file").read_text() == "mine"


def test_zoo_works_with_a_closed_stderr(tmp_path: Path) -> None:
    command = f"{sys.executable} -m zoo version 2>&-"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:12]) == (0, "zoo, version")
