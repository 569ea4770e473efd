"""Files from strangers: a clean error or a network, never a crash, an import, a connection or a byte outside."""

import json
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models import CheckpointError
from models.checkpoints.description import describe
from models.checkpoints.diffusers import load_folder
from models.checkpoints.diffusers_config import read_autoencoder, read_text_encoder, read_unet
from models.checkpoints.diffusers_scheduler import read_low_res, read_sampler, read_schedule
from models.checkpoints.tokenizer import load_tokenizer
from models.checkpoints.weights import load_weights, weight_files
from models.networks.autoencoder import Autoencoder
from models.networks.text_encoder import TextEncoder
from models.networks.unet import UNet

CONFIGS, HEADERS = 300, 2000
HOSTILE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1 << 31,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "os.system",
    "../../../etc/passwd",
    "https://example.com/model",
    "\ud800",
    "x" * 10_000,
    [],
    [[]],
    [0],
    [-1, -1],
    [1 << 40] * 2,
    [32] * 10_000,
    [True, False],
    [None, None],
    {},
    {"__class__": "os.system"},
    {"_target_": "os.system", "args": ["touch exploded"]},
    ["builtins", "exec"],
]
# Keys by which other libraries import classes, fetch files, or are talked into either.
STRANGE_KEYS = {
    "_class_name": "evil.Pipeline",
    "auto_map": {"AutoModel": "evil--modeling.Evil"},
    "_name_or_path": "https://example.com/model",
    "architectures": ["os.system"],
    "trust_remote_code": True,
    "custom_pipeline": "evil.py",
    "tokenizer_class": "evil.Tokenizer",
    "tokenizer_file": "/etc/passwd",
    "vocab_file": "/etc/passwd",
    "quantization_config": {"quant_method": "evil"},
    "torch_dtype": "os.system",
}


@pytest.fixture(autouse=True)
def _shut_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection may be tried, and no module may be new to the process afterwards."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"tried to connect: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = {name for name in sys.modules if "evil" in name}
    yield
    assert {name for name in sys.modules if "evil" in name} == before


@pytest.fixture
def no_imports() -> Callable[[], None]:
    """Called at the end, it fails if a module was imported since the start."""
    before = set(sys.modules)

    def check() -> None:
        assert set(sys.modules) - before == set()

    return check


def clean(read: Callable[[], object]) -> bool:
    """Whether it was refused, in one sentence of bounded length; any other exception fails the test."""
    said = None
    try:
        read()
    except CheckpointError as error:
        said = str(error)
    assert said is None or 0 < len(said) < 2000
    return said is not None


def meta(config: Any, make: Callable[[Any], object]) -> object:
    with torch.device("meta"):
        return make(config)


def test_three_hundred_hostile_configs_are_refused_or_built(
    written: dict[str, Path], no_imports: Callable[[], None]
) -> None:
    words = load_tokenizer(written["sd2"] / "tokenizer")
    readers: dict[str, Callable[[Any], object]] = {
        "unet/config.json": lambda config: meta(read_unet(config), UNet),
        "vae/config.json": lambda config: meta(read_autoencoder(config), Autoencoder),
        "text_encoder/config.json": lambda config: meta(
            read_text_encoder(config), lambda shape: TextEncoder(shape, words)
        ),
        "scheduler/scheduler_config.json": lambda config: (read_schedule(config), read_sampler(config)),
    }
    chance = random.Random(0)
    refused = 0
    for _ in range(CONFIGS):
        file = chance.choice(sorted(readers))
        honest = json.loads((written["sd2"] / file).read_text())
        keys = chance.sample(sorted(honest), k=chance.choice((1, 1, 2)))
        hostile = honest | {key: chance.choice(HOSTILE) for key in keys}
        key = chance.choice(sorted(STRANGE_KEYS))
        hostile[key] = STRANGE_KEYS[key]
        try:
            refused += clean(lambda file=file, config=hostile: readers[file](config))  # type: ignore[misc]
        except Exception as error:
            raise AssertionError(f"{file} with {keys}: {[hostile[key] for key in keys]!r:.200}") from error
    assert refused > CONFIGS / 3
    no_imports()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"unet"', b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 100_000, b"{" + b" " * 99 + b"}"],
)
def test_what_is_no_config_is_refused_with_its_path(written: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    copy_folder(written["sd1"], tmp_path)
    for name in ("unet/config.json", "vae/config.json", "tokenizer/tokenizer.json"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        assert clean(lambda: load_folder(tmp_path, device=torch.device("cpu"), dtype=torch.float32))
        assert describe(tmp_path).problems
        (tmp_path / name).write_bytes(whole)


def test_strange_keys_change_nothing_and_nothing_is_imported_or_fetched(
    written: dict[str, Path], tmp_path: Path, no_imports: Callable[[], None]
) -> None:
    copy_folder(written["sd1"], tmp_path)
    for path in tmp_path.rglob("*.json"):
        if path.name not in ("model_index.json", "tokenizer.json"):
            kept = {key: value for key, value in STRANGE_KEYS.items() if key != "_class_name"}
            path.write_text(json.dumps(json.loads(path.read_text()) | kept))
    pipeline = load_folder(tmp_path, device=torch.device("cpu"), dtype=torch.float32)
    assert len(pipeline.text_encoder.tokenizer) == pipeline.text_encoder.config.vocab_size
    no_imports()


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value!r:.20}")
def test_hostile_indices_and_tokenizers_are_refused(written: dict[str, Path], tmp_path: Path, value: Any) -> None:
    copy_folder(written["sd1"] / "tokenizer", tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}))
    assert clean(lambda: weight_files(tmp_path, "model"))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": value}}))
    assert clean(lambda: weight_files(tmp_path, "model"))
    honest = json.loads((tmp_path / "tokenizer.json").read_text())
    for part in ("vocab", "merges"):
        (tmp_path / "tokenizer.json").write_text(json.dumps(honest | {"model": honest["model"] | {part: value}}))
        clean(lambda: load_tokenizer(tmp_path))
    (tmp_path / "tokenizer.json").write_text(json.dumps(honest))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": value, "added_tokens_decoder": value}))
    clean(lambda: load_tokenizer(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"max_noise_level": value}))
    clean(lambda: read_low_res(tmp_path))


def test_two_thousand_mutated_headers_are_refused_or_loaded(tmp_path: Path) -> None:
    network = torch.nn.Linear(4, 4)
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    honest = path.read_bytes()
    length = struct.unpack("<Q", honest[:8])[0]
    chance = random.Random(0)
    refused = sum(clean_after(mutate(honest, length, chance), path, network) for _ in range(HEADERS))
    assert refused > HEADERS / 2


def mutate(honest: bytes, length: int, chance: random.Random) -> bytes:
    """The file with bytes of its header changed, its length wrong, numbers replaced, or its end cut off."""
    content = bytearray(honest)
    match chance.randrange(5):
        case 0:
            where = chance.randrange(8 + length)
            content[where : where + 1] = chance.randbytes(chance.randrange(4))
        case 1:
            content[:8] = struct.pack("<Q", chance.choice((0, 1, length - 1, length + 1, 1 << 40, (1 << 64) - 1)))
        case 2:
            del content[chance.randrange(len(content)) :]
        case 3:
            header = content[8 : 8 + length].replace(*chance.choice(SWAPS))
            content = bytearray(struct.pack("<Q", len(header)) + header + content[8 + length :])
        case _:
            header = json.loads(content[8 : 8 + length])
            key = chance.choice(sorted(header))
            header[chance.choice((key, "weight", "\0", "x" * 5000))] = chance.choice(HOSTILE)
            encoded = json.dumps(header).encode()
            content = bytearray(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])
    return bytes(content)


SWAPS = [
    (b"F32", b"I32"),
    (b"F32", b"F64"),
    (b"F32", b"F16"),
    (b"[4,4]", b"[2,8]"),
    (b"[4,4]", b"[16]"),
    (b"[4,4]", b"[4294967296,4294967296]"),
    (b"[0,16]", b"[16,0]"),
    (b"16", b"18446744073709551615"),
    (b"weight", b"bias"),
    (b"bias", b"b\\u0000as"),
]


def clean_after(content: bytes, path: Path, network: torch.nn.Module) -> bool:
    path.write_bytes(content)
    return clean(lambda: load_weights(network, [path]))


def copy_folder(source: Path, target: Path) -> None:
    """Every file of a folder, so that a test may spoil them."""
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())
