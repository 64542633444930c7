"""The kornia augmentation: replay, gate, masks, inverse, and its convention against `RandomJigsaw`."""

import kornia.augmentation as K
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn_puzzling import RandomTileShuffle, shuffle_tiles


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_shows_what_its_order_says():
    images, shuffle = torch.rand(16, 3, 12, 12), RandomTileShuffle(grid=3, p=0.5)
    result = shuffle(images)
    untouched = (result == images).flatten(1).all(1)
    assert 0 < untouched.sum() < 16
    assert torch.equal(result, shuffle_tiles(images, shuffle.order, 3))
    assert (shuffle.order[untouched] == torch.arange(9)).all()


@pytest.mark.parametrize(("p", "changed"), [(0.0, False), (1.0, True)])
def test_p_decides(p, changed):
    images = torch.rand(8, 3, 12, 12)
    assert torch.equal(RandomTileShuffle(grid=3, p=p)(images), images) is not changed


def test_same_seed_same_shuffle_and_each_call_its_own():
    images, shuffle = torch.rand(8, 3, 12, 12), RandomTileShuffle(grid=3, p=1.0)
    first, second = shuffle(images), shuffle(images)
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    third = shuffle(images)
    torch.manual_seed(5)
    assert torch.equal(third, shuffle(images))


def test_same_on_batch_has_one_order():
    shuffle = RandomTileShuffle(grid=3, p=1.0, same_on_batch=True)
    shuffle(torch.rand(8, 3, 12, 12))
    assert (shuffle.order == shuffle.order[0]).all()


def test_draws_every_permutation_alike():
    shuffle = RandomTileShuffle(grid=2, p=1.0)
    shuffle(torch.rand(4800, 1, 2, 2))
    kinds, counts = shuffle.order.unique(dim=0, return_counts=True)
    assert len(kinds) == 24
    assert counts.min() > 130  # 200 expected, standard deviation 14
    assert counts.max() < 270


def test_replays_inside_a_pipeline_with_other_augmentations():
    pipeline = K.AugmentationSequential(
        K.RandomHorizontalFlip(),
        RandomTileShuffle(grid=3, p=0.7),
        K.ColorJitter(0.2, 0.2, 0.2, 0.1),
        RandomTileShuffle(grid=2, p=0.7),
        data_keys=["input"],
    )
    images = torch.rand(8, 3, 12, 12)
    result = pipeline(images)
    params = pipeline._params
    pipeline(torch.rand(8, 3, 12, 12))
    assert torch.equal(pipeline(images, params=params), result)


def test_replays_alone():
    images, shuffle = torch.rand(8, 3, 12, 12), RandomTileShuffle(grid=3, p=0.5)
    result, params = shuffle(images), shuffle._params
    shuffle(images)
    assert torch.equal(shuffle(images, params=params), result)


def test_masks_go_along():
    pipeline = K.AugmentationSequential(RandomTileShuffle(grid=3, p=0.7), data_keys=["input", "mask"])
    images = torch.rand(8, 1, 12, 12)
    shown, masks = pipeline(images, (images > 0.5).float())
    assert torch.equal(masks, (shown > 0.5).float())
    assert torch.equal(pipeline.inverse(shown, masks)[1], (images > 0.5).float())


def test_masks_of_odd_sizes_keep_their_labels():
    pipeline = K.AugmentationSequential(RandomTileShuffle(grid=3, p=1.0), data_keys=["input", "mask"])
    masks = torch.randint(3, (4, 1, 13, 13)).float()
    assert set(pipeline(torch.rand(4, 1, 13, 13), masks)[1].unique().tolist()) <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize(("key", "value"), [("bbox_xyxy", [1.0, 1.0, 5.0, 5.0]), ("keypoints", [1.0, 1.0])])
def test_boxes_and_key_points_are_refused(key, value):
    pipeline = K.AugmentationSequential(RandomTileShuffle(grid=3, p=1.0), data_keys=["input", key])
    with pytest.raises(NotImplementedError, match="RandomTileShuffle"):
        pipeline(torch.rand(1, 1, 12, 12), torch.tensor([[value]]))


def test_no_matrix_describes_it():
    shuffle = RandomTileShuffle(grid=3, p=0.5)
    shuffle(torch.rand(16, 1, 12, 12))
    applied = shuffle._params["batch_prob"] > 0.5
    assert shuffle.transform_matrix[applied].isnan().all()
    assert torch.equal(shuffle.transform_matrix[~applied], torch.eye(3).expand(int((~applied).sum()), 3, 3))


def test_inverse_puts_the_tiles_back():
    images, shuffle = torch.rand(8, 3, 12, 12), RandomTileShuffle(grid=3, p=0.5)
    result = shuffle(images)
    order = shuffle.order
    assert torch.equal(shuffle.inverse(result), images)
    assert torch.equal(shuffle.order, order)


def test_a_pipeline_can_be_undone():
    steps = (RandomTileShuffle(grid=3, p=0.7), K.RandomHorizontalFlip(), RandomTileShuffle(grid=2, p=0.7))
    pipeline = K.AugmentationSequential(*steps, data_keys=["input"])
    images = torch.rand(8, 3, 12, 12)
    torch.testing.assert_close(pipeline.inverse(pipeline(images)), images)


def test_a_single_image_and_an_odd_size():
    assert RandomTileShuffle(grid=3, p=1.0, keepdim=True)(torch.rand(3, 13, 14)).shape == (3, 13, 14)


def test_an_empty_batch_stays_empty():
    assert RandomTileShuffle(grid=3, p=1.0)(torch.rand(0, 3, 12, 12)).shape == (0, 3, 12, 12)


def test_kornia_s_jigsaw_is_this_with_other_numbers():
    """`RandomJigsaw` numbers positions column by column: this is the label trap that the class avoids."""
    images, jigsaw = torch.rand(8, 3, 12, 12), K.RandomJigsaw((3, 3), p=1.0)
    result = jigsaw(images)
    permutation = jigsaw._params["permutation"]
    assert not torch.equal(result, shuffle_tiles(images, permutation, 3))
    relabelled = permutation.view(8, 3, 3).transpose(1, 2).flatten(1)
    assert torch.equal(result, shuffle_tiles(images, relabelled, 3))


def test_reads_nothing_back_from_the_device():
    shuffle = RandomTileShuffle(grid=3, p=0.5)
    params = shuffle.forward_parameters(torch.Size([8, 3, 12, 12]))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        params = {k: mode.from_tensor(v).to("cuda") if k != "forward_input_shape" else v for k, v in params.items()}
        result = shuffle(torch.empty(8, 3, 12, 12, device="cuda"), params=params)
    assert result.device.type == "cuda"


def test_moved_to_the_device_it_draws_there_and_reads_nothing_back():
    with FakeTensorMode():
        shuffle = RandomTileShuffle(grid=3, p=0.5).to("cuda")
        result = shuffle(torch.empty(8, 3, 12, 12, device="cuda"))
        assert {result.device.type, shuffle._params["order"].device.type, shuffle.order.device.type} == {"cuda"}


def test_is_one_graph():
    shuffle, images = RandomTileShuffle(grid=3, p=1.0), torch.rand(8, 3, 12, 12)
    expected = shuffle(images)
    params = dict(shuffle._params)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: shuffle(x, params=params), fullgraph=True, backend="eager")
    assert torch.equal(compiled(images), expected)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="`grid` should be at least 2, found 1"):
        RandomTileShuffle(grid=1)
    with pytest.raises(ValueError, match="`order` should be read after a call"):
        _ = RandomTileShuffle().order
