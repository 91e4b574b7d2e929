"""The short form of the checkpoint's proof on real Kafka, and that its judge sees what it is there for."""

import pytest
from jobtide.streams.checkpoint.ownership import CLAIM_PREFIX

from tests.chaos.checkpoint_writer import APPLIED
from tests.proof import checkpoint_atomic
from tests.proof.checkpoint_atomic import Batches
from tests.proof.command import Servers

OLD, NEW = b"old owner", b"new owner"


def claim(owner: bytes) -> tuple[bytes, bytes, bytes]:
    return CLAIM_PREFIX + owner, owner, b"1"


def batch(number: int, owner: bytes, count: int = 2) -> list[tuple[bytes, bytes, bytes]]:
    value = b"%d of %d x" % (number, count)
    return [*((b"k%d" % index, owner, value) for index in range(count)), (APPLIED, owner, value)]


def faults(*records: tuple[bytes, bytes, bytes]) -> list[str]:
    batches = Batches()
    batches.take(0, list(records))
    return batches.faults


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_batch_is_whole_or_absent_on_kafka(proof_servers: Servers) -> None:
    figures = checkpoint_atomic.run(False, proof_servers)
    assert figures["passed"], figures


def test_the_judge_takes_whole_batches_in_order() -> None:
    assert not faults(claim(OLD), *batch(1, OLD), *batch(2, OLD, 5), claim(NEW), *batch(3, NEW))


@pytest.mark.parametrize("missing", range(3))
def test_the_judge_sees_a_torn_batch(missing: int) -> None:
    torn = batch(1, OLD)
    del torn[missing]
    assert faults(claim(OLD), *torn, *batch(2, OLD))


def test_the_judge_sees_a_batch_twice_and_a_missing_one() -> None:
    assert faults(claim(OLD), *batch(1, OLD), *batch(1, OLD))
    assert faults(claim(OLD), *batch(1, OLD), *batch(3, OLD))


def test_the_judge_sees_that_a_replaced_writer_was_believed() -> None:
    overwritten = [claim(OLD), *batch(1, OLD), claim(NEW), *batch(2, OLD)]
    restored = [(key, NEW, value) for key, _, value in batch(1, NEW)]
    believed = [(key, NEW, value) for key, _, value in batch(2, NEW)]
    assert not faults(*overwritten, claim(NEW), *restored, *batch(2, NEW))
    assert faults(*overwritten, claim(NEW), *believed, *batch(3, NEW))
