"""Loading holds every weight once, in its target dtype: measured in a process that does nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.diffusers_config import write_unet
from models.config import UNetConfig
from models.networks.unet import UNet

CONFIG = UNetConfig(
    in_channels=4,
    out_channels=4,
    channels=(128, 256),
    attention=(True, True),
    heads=(4, 8),
    cross_attention_dim=256,
    layers_per_block=2,
)
# Anonymous memory (not the pages of a mapped file) before, and at the highest while loading.
CHILD = """
import sys, threading
from pathlib import Path
import torch
from models.checkpoints.components import load_unet

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) << 10

peak, done = 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.0005):
        peak = max(peak, anonymous())

dtype = getattr(torch, sys.argv[2])
torch.nn.Conv2d(4, 4, 3).to(dtype).to(memory_format=torch.channels_last)
before = anonymous()
watcher = threading.Thread(target=watch)
watcher.start()
unet = load_unet(Path(sys.argv[1]), device=torch.device("cpu"), dtype=dtype)
peak = max(peak, anonymous())
done.set()
watcher.join()
weights = sum(one.nbytes for one in unet.state_dict().values())
print(weights, peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(("stored", "target"), [("float16", "float32"), ("float32", "float16")])
def test_peak_anonymous_memory_is_at_most_a_quarter_above_the_weights(
    tmp_path: Path, stored: str, target: str, record_property: object
) -> None:
    with torch.device("meta"):
        shapes = {name: one.shape for name, one in UNet(CONFIG).state_dict().items()}
    tensors = {name: torch.zeros(shape, dtype=getattr(torch, stored)) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(write_unet(CONFIG, sample_size=32)))
    child = [sys.executable, "-c", CHILD, str(tmp_path), target]
    said = subprocess.run(child, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    weights, peak = map(int, said.stdout.split())
    assert weights > 20 << 20, "too small to tell from what Python takes"
    record_property("ratio", peak / weights)  # type: ignore[operator]
    assert peak <= 1.25 * weights, f"{peak / weights:.3f}"
