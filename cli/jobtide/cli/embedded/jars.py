"""Finds Apache Kafka's jars: KAFKA_HOME, the user's cache directory, else Maven fetches them there once.

Maven runs with the user's own settings (mirrors, proxies); no repository is named here. Nothing is downloaded when the
jars are already there.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from jobtide.streams.errors import ConfigError

VERSION = "4.1.0"
_PROOF = "kafka_2.1*.jar"
_ADVICE = "install Maven (`mvn`) and run again, set KAFKA_HOME to an unpacked Apache Kafka 4, or use `--ephemeral`"


def find(tell: Callable[[str], None] = lambda line: None) -> Path:
    """The directory that holds Kafka's jars. ConfigError with one sentence when they cannot be had."""
    if home := os.environ.get("KAFKA_HOME"):
        return _in_home(Path(home))
    cache = cache_dir()
    if any(cache.glob(_PROOF)):
        return cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    with (cache.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(cache.glob(_PROOF)):
            tell(f"fetching Apache Kafka {VERSION} with Maven into {cache} (once, about 60 MB)")
            _fetch(cache)
    return cache


def cache_dir() -> Path:
    """Where the jars are kept between runs, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "jobtide" / f"kafka-{VERSION}"


def _in_home(home: Path) -> Path:
    for libs in (home / "libs", home):
        if any(libs.glob(_PROOF)):
            return libs
    raise ConfigError(f"KAFKA_HOME={home} holds no Kafka jars (libs/{_PROOF}): point it at an unpacked Apache Kafka 4")


def _fetch(cache: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigError(f"Apache Kafka's jars are not in {cache} and there is no `mvn` to fetch them: {_ADVICE}")
    with tempfile.TemporaryDirectory(dir=cache.parent) as work, as_file(files(__package__) / "pom.xml") as pom:
        target = Path(work) / "libs"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        # Maven writes beside the pom, which may be a read-only site-packages directory: work on a copy.
        copy = Path(shutil.copy(pom, Path(work) / "pom.xml"))
        command = [maven, "-B", "-q", "-f", str(copy), *goal]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed arguments
        if done.returncode or not any(target.glob(_PROOF)):
            last = (done.stdout + done.stderr).strip().splitlines()[:1]
            raise ConfigError(f"Maven could not fetch Apache Kafka {VERSION} ({' '.join(last)}): {_ADVICE}")
        target.rename(cache)
