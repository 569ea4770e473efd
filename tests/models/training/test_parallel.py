"""Two processes train one model: each on its half of every batch, both with the same weights at every step."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from models.training.autoencoder import AutoencoderObjective
from models.training.batches import step_generator
from models.training.config import AutoencoderTraining
from models.training.parallel import ALONE, Group, average_gradients, joined_group
from models.training.sources import open_source, stream

CPU = torch.device("cpu")
CONFIG = AutoencoderTraining(
    preset="cpu",
    scenes="a",
    native_size=32,
    num_steps=2,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=1,
    clip_norm=1e6,
    bfloat16=False,
    ema_decay=0.0,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_two(config: Path, run: Path) -> str:
    """The command as torchrun would start it, twice, for one run; what the two of them said."""
    shared = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "models.cli", "train", "autoencoder", str(config), "--run", str(run)]
    children = [
        subprocess.Popen(
            command,
            env=shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    return "".join(said)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the two processes: with more, sums come out a little otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_step_by_the_mean_of_both_halves(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in asdict(CONFIG).items()))
    said = run_two(path, tmp_path / "run")
    assert said.count("step 2/2") == 1, "one of them reports"
    together = load_file(tmp_path / "run" / "checkpoint.safetensors")

    halves = [AutoencoderObjective(CONFIG, CPU, group=Group(rank, 2)) for rank in (0, 1)]
    network = halves[0].network
    halves[1].network = network
    optimiser = torch.optim.AdamW(network.parameters(), lr=CONFIG.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    data = [half.batches(0) for half in halves]
    for step in range(2):
        losses = [
            half.losses(next(own), step_generator(CONFIG.seed, step, half.group.rank))["loss"]
            for half, own in zip(halves, data, strict=True)
        ]
        (sum(losses, torch.zeros(())) / 2).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    for name, weight in network.state_dict().items():
        # Adam divides by what a gradient was: where that is next to nothing, rounding counts. A step is 1e-3 long.
        strayed = (together[f"network.{name}"] - weight).abs()
        assert float(strayed.max()) < 2e-4, name
        assert float(strayed.mean()) < 2e-6, name


def test_the_processes_share_a_batch_and_no_picture() -> None:
    source = open_source(CONFIG)
    halves = [next(stream(source, CONFIG, 5, Group(rank, 2))) for rank in (0, 1)]
    assert all(half.images.shape[0] == 2 for half in halves)
    assert not torch.equal(halves[0].images, halves[1].images)
    with pytest.raises(ValueError, match="a multiple of the 3 processes, got 4"):
        next(stream(source, CONFIG, 0, Group(0, 3)))


def test_alone_nothing_is_averaged_and_nobody_waited_for() -> None:
    network = nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    before = [own.grad.clone() for own in network.parameters() if own.grad is not None]
    average_gradients(network, ALONE)
    assert all(torch.equal(own.grad, kept) for own, kept in zip(network.parameters(), before, strict=True))  # type: ignore[arg-type]
    with joined_group(CPU) as (group, device):
        assert (group, device) == (ALONE, CPU)
