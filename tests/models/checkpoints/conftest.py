"""The miniatures, written once for all tests that only read them."""

from pathlib import Path

import pytest

from tests.models.checkpoints import miniatures


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind, as diffusers' save_pretrained writes it in float32."""
    root = tmp_path_factory.mktemp("miniatures")
    return {kind: miniatures.write(kind, root) for kind in miniatures.KINDS}
