"""Training on several threads: what is learnt depends on data, config and seed, not on cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from geoseg.config import TrainConfig
from geoseg.learning.batch_statistics import AllReduce, BatchStatistics
from geoseg.learning.batches import Batch
from geoseg.learning.shares import cut, share_size
from geoseg.learning.threads import OwnRandomNumbers, Threads
from geoseg.legend import UNKNOWN
from tests.support import tiny_fit


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_change_no_weight(precision: str) -> None:
    first, *others = (tiny_fit.learnt(threads, precision) for threads in (1, 2, 3, 0, 2))
    assert others == [first] * 4


def test_cores_change_no_weight_and_no_lane_has_a_team_of_threads() -> None:
    """In processes of their own, on one core and on all, where OpenMP would start four threads."""
    here, cores = tiny_fit.learnt(2), len(os.sched_getaffinity(0))
    environment = {**os.environ, "OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}
    asked = ((0, 1), (3, cores))
    started = [
        subprocess.Popen(
            [sys.executable, tiny_fit.__file__, str(threads), str(allowed)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for threads, allowed in asked
    ]  # fmt: skip
    for (threads, allowed), process in zip(asked, started, strict=True):
        learnt, more = process.communicate()[0].splitlines()
        assert learnt == here
        assert int(more) <= max(4, threads or allowed), "more than the four shares' threads"


def test_another_seed_learns_something_else() -> None:
    fits = [tiny_fit.fit(tiny_fit.CONFIG.model_copy(update={"seed": seed})) for seed in (5, 6)]
    assert len({tiny_fit.digest(fit.network) for fit in fits}) == 1
    for fit in fits:
        fit.step(_batch(8), 1, 0)
    assert len({tiny_fit.digest(fit.network) for fit in fits}) == 2


def _batch(size: int) -> Batch:
    """Noise; each sample knows less than the one before it, and the last nothing."""
    random = torch.Generator().manual_seed(1)
    features = torch.randn(size, 4, 64, 64, generator=random)
    target = torch.randint(0, tiny_fit.CLASSES, (size, 64, 64), generator=random)
    for place in range(size):
        target[place, : 64 * place // max(1, size - 1)] = UNKNOWN
    return Batch(features.contiguous(memory_format=torch.channels_last), target)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_the_shares_gradients_are_the_batchs(size: int, weighting: str) -> None:
    """Against torch's own loss over the whole batch, clipped; without batch normalization."""
    config = tiny_fit.CONFIG.model_copy(update={"class_weights": weighting, "patch": 128})
    fit, batch = tiny_fit.fit(config, norm=False), _batch(size)
    whole = tiny_fit.network(norm=False)
    loss = nn.functional.cross_entropy(
        whole(batch.features), batch.target, fit._weights, ignore_index=UNKNOWN
    )
    loss.backward()
    nn.utils.clip_grad_norm_(whole.parameters(), 5.0)
    assert float(fit.step(batch, 1, 0)) == pytest.approx(float(loss.detach()), rel=1e-5)
    for ours, theirs in zip(fit.network.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_large_gradient_is_clipped() -> None:
    fit, batch = tiny_fit.fit(norm=False), _batch(8)
    fit.step(Batch(batch.features * 1e4, batch.target), 1, 0)
    gradients = [parameter.grad.flatten() for parameter in fit.network.parameters()]
    assert float(torch.cat(gradients).norm()) == pytest.approx(5.0, rel=1e-4)


def test_steps_are_those_of_adamw_and_of_the_running_average() -> None:
    """Three steps against torch's own optimizer, schedule and a hand-made average."""
    fit, batch = tiny_fit.fit(norm=False), _batch(8)
    whole = tiny_fit.network(norm=False)
    config = tiny_fit.CONFIG
    optimizer = torch.optim.AdamW(
        whole.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=4, pct_start=0.15
    )
    seen: list[list[torch.Tensor]] = []
    for number in range(3):
        fit.step(batch, 1, number)
        optimizer.zero_grad()
        logits = whole(batch.features)
        nn.functional.cross_entropy(
            logits, batch.target, fit._weights, ignore_index=UNKNOWN
        ).backward()
        nn.utils.clip_grad_norm_(whole.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        seen.append([parameter.detach().clone() for parameter in whole.parameters()])
    means = seen[0]  # then 2/11 and 3/12 of the old one stay
    for memory, weights in zip((2 / 11, 3 / 12), seen[1:], strict=True):
        means = [memory * a + (1 - memory) * b for a, b in zip(means, weights, strict=True)]
    for found, expected in ((fit.network, seen[-1]), (fit._average, means)):
        for ours, theirs in zip(found.parameters(), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_normalization_is_that_of_the_whole_batch(size: int, precision: str) -> None:
    """Gradients and running statistics of a step, against torch's own over the batch.

    The samples differ in level and spread, as patches of water and of forest do.
    """
    config = tiny_fit.CONFIG.model_copy(update={"patch": 128, "precision": precision})
    fit, whole = tiny_fit.fit(config, chance=False), tiny_fit.network(chance=False).train()
    batch, level = _batch(size), torch.arange(size).reshape(-1, 1, 1, 1)
    batch = Batch(batch.features * (1 + level) + 3 * level, batch.target)
    fit.step(batch, 1, 0)
    with fit.accelerator.autocast():
        logits = whole(fit.accelerator.load(batch)[0])
    nn.functional.cross_entropy(
        logits.float(), batch.target, fit._weights, ignore_index=UNKNOWN
    ).backward()
    nn.utils.clip_grad_norm_(whole.parameters(), 5.0)
    near = {"rtol": 1e-4, "atol": 1e-6} if precision == "fp32" else {"rtol": 0.02, "atol": 0.01}
    for ours, theirs in zip(fit.network.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, **near)
    for ours, theirs in zip(fit.network.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, **near)


def test_instance_normalization_stays_of_each_sample() -> None:
    values = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with BatchStatistics(0, AllReduce(2, Threads(1))):  # it would wait for the other share
        normal = nn.InstanceNorm2d(3)(values)
    torch.testing.assert_close(normal, nn.functional.instance_norm(values))


def test_a_share_that_fails_keeps_no_other_waiting() -> None:
    fit, batch = tiny_fit.fit(), _batch(8)

    def fail(*_: object) -> None:
        raise MemoryError("no room for a share")

    fit._replicas[2][-1].register_forward_hook(fail)
    with pytest.raises(MemoryError, match="no room for a share"):
        fit.step(batch, 1, 0)


def test_weights_that_the_network_does_not_use_stay() -> None:
    fit = tiny_fit.fit()
    fit.network.register_parameter("idle", nn.Parameter(torch.ones(3)))
    again = type(fit)(fit.network, fit.loader, fit.legend, fit.accelerator)
    again.step(_batch(8), 1, 0)
    assert torch.equal(fit.network.idle, torch.ones(3))


@pytest.mark.parametrize(
    ("patch", "batch", "expected"),
    [(256, 4, 2), (256, 8, 2), (256, 1, 1), (256, 64, 8), (128, 8, 2), (64, 8, 2), (32, 16, 8)],
)
def test_a_share_is_worth_its_thread(patch: int, batch: int, expected: int) -> None:
    assert share_size(TrainConfig(patch=patch, batch=batch)) == expected


@pytest.mark.parametrize(
    ("size", "shares"), [(1, [1]), (3, [2, 1]), (5, [2, 2, 1]), (6, [2, 2, 2])]
)
def test_a_batch_is_cut_in_order(size: int, shares: list[int]) -> None:
    batch = _batch(size)
    parts = list(cut(batch, 2))
    assert [len(part.target) for part in parts] == shares
    assert torch.equal(torch.cat([part.features for part in parts]), batch.features)
    assert torch.equal(torch.cat([part.target for part in parts]), batch.target)


def _draw(_: int) -> list[torch.Tensor]:
    with OwnRandomNumbers(7):
        drawn = [torch.rand(50), torch.randn(50), torch.randint(9, (50,)), torch.randperm(50)]
        drawn.append(nn.functional.dropout(torch.ones(50), 0.5))
        return [*drawn, torch.zeros(50).normal_(), torch.rand_like(torch.zeros(50))]


def test_random_numbers_of_a_lane_are_its_own() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, *others = Threads(3).map(_draw, range(12))
    assert torch.equal(torch.get_rng_state(), before)
    for other in others:
        assert all(map(torch.equal, first, other))
    assert 0 < int((first[4] == 0).sum()) < 50


def test_a_lane_has_one_thread_forward_and_backward() -> None:
    seen: list[int] = []

    class Witness(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            seen.append(torch.get_num_threads())
            return values.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append(torch.get_num_threads())
            return gradient

    class Layer(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return Witness.apply(values)

    network = nn.Sequential(nn.Conv2d(4, tiny_fit.CLASSES, 1), Layer())
    torch.set_num_threads(3)
    fit = tiny_fit.fit()
    type(fit)(network, fit.loader, fit.legend, fit.accelerator).step(_batch(8), 1, 0)
    assert seen == [1] * 8  # four shares, there and back
