"""`Batch`: taking, splitting and moving rows keeps what belongs together together."""

import copy
import pickle

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import Batch


def make(rows, *, partial=True):
    number = torch.arange(rows)
    return Batch(
        inputs={"image": number.view(-1, 1, 1, 1).expand(rows, 3, 2, 2).float(), "audio": number.unsqueeze(1) * 10.0},
        targets={"kind": number % 3, "pose": number.unsqueeze(1) + torch.zeros(3)},
        present={"targets/kind": number % 2 == 0} if partial else {},
        ids=number + 100,
    )


def same(one, other):
    def flat(b):
        return {**b.inputs, **b.targets, **b.present, "ids": b.ids}

    a, b = flat(one), flat(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


ROWS = st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=10)))


@given(ROWS, st.booleans())
def test_take_takes_the_same_rows_of_everything(case, partial):
    rows, wanted = case
    part = make(rows, partial=partial).take(torch.tensor(wanted, dtype=torch.long))
    assert len(part) == len(wanted)
    assert part.ids.tolist() == [100 + row for row in wanted]
    assert part.inputs["audio"].flatten().tolist() == [10.0 * row for row in wanted]
    assert part.inputs["image"][:, 0, 0, 0].tolist() == wanted
    assert part.targets["kind"].tolist() == [row % 3 for row in wanted]
    assert part.has("kind").tolist() == [row % 2 == 0 if partial else True for row in wanted]
    assert part.has("pose").all()


@given(ROWS, st.data())
def test_take_after_take_is_take_of_the_composed_rows(case, data):
    rows, first = case
    first = torch.tensor(first, dtype=torch.long)
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=6)) if len(first) else []
    second = torch.tensor(second, dtype=torch.long)
    assert same(make(rows).take(first).take(second), make(rows).take(first[second]))


@given(st.integers(1, 4), st.integers(1, 4))
def test_split_parts_put_together_are_the_batch(parts, size):
    batch = make(parts * size)
    split = batch.split(parts)
    assert [len(one) for one in split] == [size] * parts
    assert torch.equal(torch.cat([one.ids for one in split]), batch.ids)
    assert torch.equal(torch.cat([one.has("kind") for one in split]), batch.has("kind"))
    assert torch.equal(torch.cat([one.inputs["image"] for one in split]), batch.inputs["image"])


def test_split_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="divide the 5 rows of the batch, found 2"):
        make(5).split(2)


def mixed(labelled, unlabelled):
    """Return a batch whose rows have the numbers of `make`, the last of them without targets."""
    whole = make(labelled + unlabelled)
    return Batch(
        inputs=whole.inputs,
        targets={name: t[:labelled] for name, t in whole.targets.items()},
        present={**{name: t[:labelled] for name, t in whole.present.items()}, "inputs/audio": whole.ids % 3 > 0},
        ids=whole.ids,
        labelled=labelled,
    )


def holds(batch, wanted, labelled):
    """Assert that `batch` has the rows `wanted` of `mixed`, of which the first come with their targets."""
    assert len(batch) == len(wanted)
    assert batch.ids.tolist() == [100 + row for row in wanted]
    assert batch.inputs["audio"].flatten().tolist() == [10.0 * row for row in wanted]
    assert batch.present["inputs/audio"].tolist() == [(100 + row) % 3 > 0 for row in wanted]
    assert batch.targets["kind"].tolist() == [row % 3 for row in wanted[:labelled]]
    assert batch.has("kind").tolist() == [row % 2 == 0 for row in wanted[:labelled]]
    assert batch.has("pose").tolist() == [True] * labelled
    assert batch.labelled == (None if labelled == len(wanted) else labelled)
    assert batch.parts == (() if labelled == len(wanted) else (labelled, len(wanted) - labelled))


@given(st.integers(0, 5), st.integers(1, 5), st.data())
def test_labelled_rows_stay_first_and_the_others_have_no_targets(labelled, unlabelled, data):
    batch, total = mixed(labelled, unlabelled), labelled + unlabelled
    first, last = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    holds(batch.take(slice(first, last)), list(range(first, last)), max(0, min(last, labelled) - first))
    known = data.draw(st.lists(st.integers(0, labelled - 1), max_size=4)) if labelled else []
    other = data.draw(st.lists(st.integers(labelled, total - 1), max_size=4))
    rows = torch.tensor(known + other, dtype=torch.long)
    holds(batch.take(rows, labelled=len(known)), known + other, len(known))
    holds(batch.take(rows), known + other, 0)
    holds(batch.map(torch.clone), list(range(total)), labelled)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_each_part_of_a_split_has_its_share_of_either_stream(parts, labelled, unlabelled):
    for number, part in enumerate(mixed(parts * labelled, parts * unlabelled).split(parts)):
        known = list(range(number * labelled, (number + 1) * labelled))
        first = parts * labelled + number * unlabelled
        holds(part, known + list(range(first, first + unlabelled)), labelled)


def test_mixed_batches_refuse_what_they_cannot_keep_apart():
    with pytest.raises(ValueError, match="divide the 3 labelled and 2 other rows of the batch, found 2"):
        mixed(3, 2).split(2)
    with pytest.raises(ValueError, match="slice of step 1"):
        mixed(2, 2).take(slice(0, 4, 2))


def test_moving_a_batch_moves_everything():
    batch = make(3)
    there = batch.to(torch.device("meta"))
    assert {t.device.type for t in (*there.inputs.values(), *there.targets.values(), *there.present.values())} == {
        "meta"
    }
    assert there.device.type == there.has("kind").device.type == there.has("pose").device.type == "meta"
    assert batch.to(batch.device) is batch


def test_image_is_for_batches_of_images_only():
    batch = make(2)
    with pytest.raises(ValueError, match=r"only modality of the batch, found \['audio', 'image'\]"):
        _ = batch.image
    alone = Batch(inputs={"image": batch.inputs["image"]}, ids=batch.ids)
    assert alone.image is batch.inputs["image"]
    with pytest.raises(ValueError, match=r"found \['audio'\]"):
        _ = Batch(inputs={"audio": batch.inputs["audio"]}, ids=batch.ids).image


@pytest.mark.parametrize("part", ["inputs", "targets", "present"])
def test_nobody_can_put_other_tensors_into_a_batch(part):
    batch = make(4)
    for one in (batch, batch.take(slice(0, 2)), batch.split(2)[1], attrs.evolve(batch, labelled=None)):
        with pytest.raises(TypeError, match="does not support item assignment"):
            getattr(one, part)["kind"] = torch.zeros(4)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))])
def test_a_batch_can_be_copied_and_sent(again):
    batch = make(4)
    assert same(again(batch), batch)
    assert again(attrs.evolve(batch, labelled=4)).labelled == 4
