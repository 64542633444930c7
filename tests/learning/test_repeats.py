"""Several clean views of each row in a step: who sees them, and what the losses are means over."""

import pytest
import torch

import auxlearn
from auxlearn import Arrangement, Learner, Moment
from auxlearn.data import Batch
from auxlearn.learning import Augmentation, Motion, Preprocess
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

NOW = Moment(step=0)


class Noise(Augmentation):
    def __init__(self):
        super().__init__()
        self.preprocess = Preprocess()

    def forward(self, inputs, draws):
        image = inputs["image"].float()
        return {"image": image + draws.normal(len(image), 1, 1, 1)}, Motion.still(len(image))


def learner(repeats, *, pretext=(), **options):
    torch.manual_seed(0)
    tasks = {name: TinyPretext() for name in pretext}
    primary = {"kind": TinyPrimary()}
    return Learner(TinyBackbone(norm=False), primary=primary, pretext=tasks, repeats=repeats, **options)


def test_each_row_is_augmented_anew_beside_its_other_views():
    batch = tiny_batch(4)
    plan = learner(3, augmentation=Noise()).plan(batch, NOW)
    (clean,) = plan.passes
    noise = clean.inputs["image"] - batch.image.repeat_interleave(3, 0)
    each = noise[:, 0, 0, 0]
    torch.testing.assert_close(noise, each.view(-1, 1, 1, 1).expand_as(noise), atol=1e-4, rtol=0)
    assert len(each.unique()) == 12
    (ask,) = plan.asks
    assert ask.batch.ids.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert torch.equal(ask.batch.targets["kind"], batch.targets["kind"].repeat_interleave(3))


def test_equal_views_are_one():
    once, thrice = learner(1), learner(3)
    batch = tiny_batch(4)
    one, three = once.step(batch, NOW), thrice.step(batch, NOW)
    torch.testing.assert_close(three.total, one.total)
    one.total.backward()
    three.total.backward()
    for mine, other in zip(once.parameters(), thrice.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    assert one.samples == three.samples == 4


def test_pretext_tasks_get_every_view():
    arrange = {"a": Arrangement(view="own", portion=0.5), "b": Arrangement(view="shared")}
    plan = learner(2, pretext="ab", arrange=arrange).plan(tiny_batch(4), NOW)
    assert {part.name: len(part) for part in plan.passes} == {"shared": 8, "a/0": 4}


def test_labelled_rows_stay_in_front():
    whole = tiny_batch(4)
    batch = Batch(
        inputs=whole.inputs,
        targets={"kind": torch.tensor([0, 1])},
        present={"targets/kind": torch.tensor([True, False])},
        ids=whole.ids,
        labelled=2,
    )
    repeated = batch.repeat(2)
    assert (repeated.labelled, repeated.ids.tolist()) == (4, [0, 0, 1, 1, 2, 2, 3, 3])
    assert repeated.targets["kind"].tolist() == [0, 0, 1, 1]
    assert repeated.has("kind").tolist() == [True, True, False, False]
    assert batch.repeat(1) is batch


def test_a_learner_refuses_none():
    with pytest.raises(ValueError, match="`repeats` should be at least 1, found 0"):
        learner(0)


def test_a_spec_says_how_many(tmp_path):
    told = []

    class Told(TinyPretext):
        def views(self, batch, draws):
            told.append(len(batch))
            return super().views(batch, draws)

    spec = {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "augment": {"type": "identity", "repeats": 2},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"steps": 1, "batch_size": 8},
    }
    built = auxlearn.build(spec, plugins=[plugin])
    assert built.learner.repeats == 2
    assert built.spec.rows_per_step == 16
    built.learner.pretext["flip"] = Told()
    built.learner.plan(tiny_batch(8), NOW)
    assert told == [16]
