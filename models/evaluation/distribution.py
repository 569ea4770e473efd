"""Do drawn pictures, taken together, look like real ones? FID, KID, IS, precision and recall on own features.

The formulas are torchmetrics' (FID: Heusel et al. 2017; KID: Binkowski et al. 2018; IS: Salimans et al. 2016);
precision and recall are those of Kynkaanniemi et al. 2019, eq. 1 to 3. The features are those of `SceneClassifier`.

Axes: n pictures, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.evaluation.classifier import NUM_FEATURES, SceneClassifier
from models.evaluation.prompt_following import Pictures

BATCH = 64
NEIGHBOURS = 3
FEWEST = 2 * (NEIGHBOURS + 1)


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Of n drawn pictures beside m real ones. fid, kid: 0 = the same; inception_score: of the drawn ones, the more
    classes and the surer of each, the greater; precision: how many drawn ones lie among the real ones; recall: the
    reverse."""

    n: int
    m: int
    fid: float
    kid: float
    inception_score: float
    precision: float
    recall: float


class _Features(nn.Module):
    """The classifier as torchmetrics wants it: uint8 pictures (n, 3, h, w) to (n, d)."""

    def __init__(self, classifier: SceneClassifier, *, logits: bool = False) -> None:
        super().__init__()
        self.classifier, self.logits = classifier, logits
        self.num_features = NUM_FEATURES

    def forward(self, pictures: Tensor) -> Tensor:
        images = pictures.float() / 127.5 - 1.0
        return self.classifier(images)[0] if self.logits else self.classifier.features(images)


@torch.inference_mode()
def resemblance(classifier: SceneClassifier, drawn: Pictures, real: Pictures) -> Resemblance:
    """How alike drawn (n, h, w, 3) and real (m, h, w, 3) pictures are.

    Raises: ValueError for fewer than FEWEST pictures of a kind.
    """
    # an optional dependency: only who judges models needs it
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    if min(len(drawn), len(real)) < FEWEST:
        raise ValueError(f"at least {FEWEST} pictures of a kind are needed, got {len(drawn)} and {len(real)}")
    network = _Features(classifier)
    fid = FrechetInceptionDistance(feature=network)
    kid = KernelInceptionDistance(feature=network, subsets=1, subset_size=min(len(drawn), len(real)))
    score = InceptionScore(feature=_Features(classifier, logits=True), splits=1)
    for pictures, is_real in ((real, True), (drawn, False)):
        for start in range(0, len(pictures), BATCH):
            some = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2)
            fid.update(some, real=is_real)
            kid.update(some, real=is_real)
            if not is_real:
                score.update(some)
    of_drawn, of_real = _features(network, drawn), _features(network, real)
    return Resemblance(
        n=len(drawn),
        m=len(real),
        fid=float(fid.compute()),
        kid=float(kid.compute()[0]),
        inception_score=float(score.compute()[0]),
        precision=share_inside(of_drawn, of_real),
        recall=share_inside(of_real, of_drawn),
    )


def share_inside(points: Tensor, manifold: Tensor) -> float:
    """How many of the points (n, d) lie no farther from one of the manifold (m, d) than its k-th nearest neighbour."""
    own = torch.cdist(manifold, manifold)
    # the nearest of a point is itself
    radii = own.kthvalue(NEIGHBOURS + 1, dim=1).values  # (m,)
    return float((torch.cdist(points, manifold) <= radii).any(dim=1).float().mean())


def _features(network: _Features, pictures: Pictures) -> Tensor:
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    return torch.cat([network(tensor[start : start + BATCH]) for start in range(0, len(tensor), BATCH)])
