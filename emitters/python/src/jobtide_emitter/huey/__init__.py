"""Huey: `install(huey)` where the Huey instance is made; in the app and in the consumer.

Huey's signals say neither when a task was stored nor whether a failed one is retried, so methods of the instance are
wrapped. `stamps` is what travels with a task, `tasks` tells what becomes of it, `lifecycle` is the consumer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from huey.consumer import Consumer  # type: ignore[import-untyped, unused-ignore]
from huey.exceptions import TaskTimeout  # type: ignore[import-untyped, unused-ignore]

from jobtide_emitter.guard import lets_through
from jobtide_emitter.huey import lifecycle, stamps, tasks
from jobtide_emitter.patching import Patches
from jobtide_emitter.process import prepare

_patches = Patches("huey")
_signals: dict[int, list[Callable[..., None]]] = {}


def install(huey: Any) -> None:
    """Puts the hooks on a Huey instance; twice is the same as once."""
    if _patches.installed(huey):
        return
    lets_through(TaskTimeout)
    prepare()
    stamps.wrap(huey, _patches)
    _patches.around(huey, "enqueue", before=tasks.before_enqueue, after=tasks.enqueued)
    _patches.around(huey, "_requeue_task", before=tasks.before_requeue, after=tasks.requeued)
    _patches.around(huey, "_execute", before=tasks.begun, always=tasks.ended)
    _patches.around(huey, "_run_post_execute", before=tasks.returned)
    _signals[id(huey)] = [_receiver(huey, tasks.revoked), _receiver(huey, tasks.expired)]
    for name, receiver in zip(("revoked", "expired"), _signals[id(huey)], strict=True):
        huey.signal(name)(receiver)
    _patches.around(huey, "create_consumer", after=lifecycle.made)
    huey.on_startup("jobtide")(lifecycle.online(huey))
    if not _patches.installed(Consumer):
        _patches.around(Consumer, "stop", before=lifecycle.stopping)


def uninstall(huey: Any) -> None:
    """Takes the hooks off again, from all instances."""
    for receiver in _signals.pop(id(huey), ()):
        huey.disconnect_signal(receiver)
    huey.unregister_on_startup("jobtide")
    _patches.restore()


def _receiver(huey: Any, tell: Callable[..., None]) -> Callable[..., None]:
    return lambda _signal, task, *_, **__: tell(huey, task)
