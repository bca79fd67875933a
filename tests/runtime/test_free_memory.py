"""What is free is the least of what the machine and the control groups around a process have left."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.runtime.free_memory import Free, free_memory

GB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable:   {8 * GB // 1024} kB\n")
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_without_a_group_it_is_what_the_machine_has(root: Path) -> None:
    assert free_memory(root) == Free(8 * GB, "this machine")


def test_a_system_that_does_not_tell_gives_none(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None


def test_a_limit_of_a_group_of_version_2_counts_with_the_files_it_caches(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/a/b\n")
    for group, most in (("a", f"{3 * GB}\n"), ("a/b", "max\n")):
        put(root, f"sys/fs/cgroup/{group}/memory.max", most)
        put(root, f"sys/fs/cgroup/{group}/memory.current", f"{2 * GB}\n")
        put(root, f"sys/fs/cgroup/{group}/memory.stat", f"anon 5\ninactive_file {GB // 2}\n")
    assert free_memory(root) == Free(GB + GB // 2, "the control group of this process")


@pytest.mark.parametrize("used", [GB, 4 * GB])
def test_a_limit_of_a_group_of_version_1_counts(used: int, root: Path) -> None:
    put(root, "proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/jobs/one\n0::/\n")
    for group, most in (("", (1 << 63) - 4096), ("jobs", (1 << 63) - 4096), ("jobs/one", 2 * GB)):
        put(root, f"sys/fs/cgroup/memory/{group}/memory.limit_in_bytes", f"{most}\n")
        put(root, f"sys/fs/cgroup/memory/{group}/memory.usage_in_bytes", f"{used}\n")
        put(root, f"sys/fs/cgroup/memory/{group}/memory.stat", "cache 1\ntotal_inactive_file 0\n")
    assert free_memory(root) == Free(max(0, 2 * GB - used), "the control group of this process")


def test_this_machine_answers() -> None:
    found = free_memory()
    assert found is None or found.bytes >= 0
