"""The keys file: read, watched and written. JSON, mode 0600, replaced as a whole so that no reader sees half of it.

`Keyring` is for servers: it looks at the file's time at most once a second and takes the new keys; a file that cannot
be read as keys is refused and the last good ones stay, a file that is gone lets nobody in. `KeyFile` is for the command
line. Neither ever writes or logs a token.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from jobtide.access.caller import Caller
from jobtide.access.keys import Key, Keys, Refusal, digest, token_of
from jobtide.streams.errors import ConfigError

log = logging.getLogger(__name__)

LOOK_US = 1_000_000
_VERSION = 1


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keys: list[Key]


class KeyFile:
    """One keys file, as the command line sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """All keys, revoked ones too; [] without a file. ConfigError if it is not a keys file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"JOBTIDE_KEYS_FILE: {self.path} cannot be read: {error.strerror}") from None
        try:
            file = msgspec.json.decode(content, type=_File)
        except msgspec.DecodeError as error:
            raise ConfigError(f"JOBTIDE_KEYS_FILE: {self.path} is not a keys file ({error}): restore it, or make another") from None
        if file.version != _VERSION:
            raise ConfigError(f"JOBTIDE_KEYS_FILE: {self.path} was written by another version of jobtide ({file.version})")
        return file.keys

    def create(self, template: Key) -> str:
        """Add a key with a fresh id and secret in place of the template's; the token, which exists nowhere else."""
        key_id = secrets.token_hex(6)
        token = token_of(key_id, secrets.token_hex(32))
        with self._locked():
            self._write([*self.read(), msgspec.structs.replace(template, id=key_id, sha256=digest(token))])
        return token

    def revoke(self, key_id: str, now_us: int) -> Key:
        """The key, revoked from now on. ConfigError if there is none of this id."""
        with self._locked():
            keys = self.read()
            found = next((key for key in keys if key.id == key_id), None)
            if found is None:
                raise ConfigError(f"no key has the id {key_id!r}: `jobtide keys list` shows them")
            revoked = found if found.revoked_us is not None else msgspec.structs.replace(found, revoked_us=now_us)
            self._write([revoked if key.id == key_id else key for key in keys])
        return revoked

    def _write(self, keys: list[Key]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_File(_VERSION, keys)), indent=1)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:  # mkstemp makes it 0600
                file.write(content + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two command lines at once must not lose each other's key."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise ConfigError(f"JOBTIDE_KEYS_FILE: {self.path} cannot be written: {error.strerror}") from None


class Keyring:
    """The keys of a running server. `now_us`: the clock."""

    def __init__(self, path: Path, now_us: Callable[[], int]) -> None:
        """ConfigError if the file cannot be read as keys."""
        self._file = KeyFile(path)
        self._now_us = now_us
        self._seen = self._stamp()
        self._keys = Keys(self._file.read())
        self._look_at_us = now_us() + LOOK_US

    def find(self, token: str) -> Caller | Refusal:
        """Whose token it is, by the file as it was within the last second."""
        now_us = self._now_us()
        if now_us >= self._look_at_us:
            self._look_at_us = now_us + LOOK_US
            self._reload()
        return self._keys.find(token, now_us)

    def usable(self) -> int:
        return self._keys.usable(self._now_us())

    def _reload(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = Keys(self._file.read())
            log.info("keys were read again", extra={"keys": len(self._keys)})
        except ConfigError as error:
            log.error("the keys file is refused; the keys before it stay", extra={"reason": str(error)})

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
