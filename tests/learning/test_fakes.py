"""The fakes keep their promises, since so many tests rest on them."""

import torch

from auxlearn.learning import Draws, StepContext
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch


def test_backbone_has_the_shapes_that_it_says():
    backbone = TinyBackbone(6)
    shape = backbone.shapes["image"]
    found = backbone({"image": torch.rand(2, 3, 16, 16)}).only
    assert found.pooled.shape == (2, shape.pooled)
    assert [m.shape for m in found.maps] == [(2, m.channels, 16 // m.reduction, 16 // m.reduction) for m in shape.maps]


def test_pretext_asks_what_it_did():
    task = TinyPretext(motion=True, views=2)
    batch = tiny_batch(32)
    views = task.views(batch, Draws(seed=0, name="a", step=0))
    assert len(views) == 2
    assert not torch.equal(views[0].answers["turned"], views[1].answers["turned"])
    for view in views:
        for row, turned in enumerate(view.answers["turned"].tolist()):
            expected = batch.image[row].flip(1) if turned else batch.image[row]
            assert torch.equal(view.inputs["image"][row], expected)
            corner = view.motion.matrix[row] @ torch.tensor([2.0, 1.0, 1.0])
            assert corner.tolist() == [2.0, 6.0 if turned else 1.0]


def test_primary_scores_the_rows_that_have_a_label():
    task = TinyPrimary()
    batch = tiny_batch()
    features = TinyBackbone()({"image": batch.image.float()})
    probabilities = task.predict(features)["probabilities"]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8))
    metrics = task.metrics()
    task.update(metrics, features, batch)
    right = (probabilities.argmax(1) == batch.targets["kind"]).float().mean()
    torch.testing.assert_close(metrics.compute()["accuracy"], right)
    logits = task.head(features.only.pooled)
    expected = torch.nn.functional.cross_entropy(logits, batch.targets["kind"], reduction="sum")
    torch.testing.assert_close(task.loss(features, batch, StepContext()).loss, expected)
    assert task.linear() is task.head


def test_batches_are_repeatable():
    assert torch.equal(tiny_batch(seed=3).image, tiny_batch(seed=3).image)
    assert not torch.equal(tiny_batch(seed=3).image, tiny_batch(seed=4).image)
