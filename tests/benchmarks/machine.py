"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = (
    *("opper-batch", "httpx", "aiohttp", "pyreqwest", "httptools", "uvloop", "h11", "pydantic"),
    *("pyarrow", "polars", "duckdb", "uvicorn", "tenacity"),
)


def described() -> str:
    """Two lines: the machine, and the versions of what is installed."""
    versions = (f"{name} {found}" for name in _LIBRARIES if (found := _version(name)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{_processor()}, {cores}; {platform.platform()}\n{python}, {', '.join(versions)}"


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    if found.exists():
        lines = found.read_text().splitlines()
        return next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown"
        )
    named = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
    return named.stdout.strip() or platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
