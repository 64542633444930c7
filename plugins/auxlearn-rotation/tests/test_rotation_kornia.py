"""The kornia augmentation: gate, replay, masks, boxes, key points, matrices and inverse."""

import kornia.augmentation as K
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn_rotation import RandomQuarterTurn, quarter_turn


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("tiles", [1, 3])
def test_shows_what_its_turns_say(tiles):
    images, rotate = torch.rand(32, 3, 12, 12), RandomQuarterTurn(tiles, p=0.5)
    result = rotate(images)
    assert torch.equal(result, quarter_turn(images, rotate.turns, tiles))
    untouched = (rotate.turns == 0).all(1)
    assert 0 < untouched.sum() < 32
    assert torch.equal(rotate.inverse(result), images)


@pytest.mark.parametrize(("p", "turned"), [(0.0, 0), (1.0, 3)])
def test_p_decides(p, turned):
    rotate = RandomQuarterTurn(p=p)
    rotate(torch.rand(64, 3, 8, 8))
    assert rotate.turns.max() == turned


def test_same_on_batch_has_one_turn():
    rotate = RandomQuarterTurn(tiles=2, p=1.0, same_on_batch=True)
    rotate(torch.rand(8, 3, 12, 12))
    assert (rotate.turns == rotate.turns[0]).all()


def test_a_pipeline_is_replayed_and_undone():
    steps = (RandomQuarterTurn(p=0.7), K.RandomHorizontalFlip(), RandomQuarterTurn(tiles=2, p=0.7))
    pipeline = K.AugmentationSequential(*steps, data_keys=["input"])
    images = torch.rand(8, 3, 12, 12)
    result = pipeline(images)
    params = pipeline._params
    torch.testing.assert_close(pipeline.inverse(result), images)
    pipeline(torch.rand(8, 3, 12, 12))
    assert torch.equal(pipeline(images, params=params), result)


def test_masks_go_along_also_at_odd_sizes():
    pipeline = K.AugmentationSequential(RandomQuarterTurn(tiles=3, p=0.7), data_keys=["input", "mask"])
    images = torch.rand(8, 1, 12, 12)
    shown, masks = pipeline(images, (images > 0.5).float())
    assert torch.equal(masks, (shown > 0.5).float())
    assert torch.equal(pipeline.inverse(shown, masks)[1], (images > 0.5).float())
    odd = torch.randint(3, (4, 1, 13, 13)).float()
    assert set(pipeline(torch.rand(4, 1, 13, 13), odd)[1].unique().tolist()) <= {0.0, 1.0, 2.0}


def test_the_matrix_and_key_points_follow_the_pixels():
    images = torch.zeros(16, 1, 9, 9)
    images[:, :, 2, 7] = 1
    rotate = RandomQuarterTurn(p=0.8)
    pipeline = K.AugmentationSequential(rotate, data_keys=["input", "keypoints"])
    points = torch.tensor([[[7.0, 2.0]]]).expand(16, 1, 2)
    shown, moved = pipeline(images, points)
    assert torch.equal(moved[:, 0], shown[:, 0].nonzero()[:, [2, 1]].float())
    by_matrix = rotate.transform_matrix @ torch.tensor([7.0, 2.0, 1.0])
    torch.testing.assert_close(by_matrix[:, :2], moved[:, 0])
    torch.testing.assert_close(pipeline.inverse(shown, moved)[1], points)


def test_images_and_boxes_are_those_of_kornia_s_rotation_by_a_fixed_angle():
    """kornia's `RandomRotation90` interpolates; it is the reference for what a box is."""
    images, boxes = torch.rand(16, 1, 9, 9), torch.tensor([[[5.0, 1.0, 8.0, 4.0]]]).expand(16, 1, 4)
    rotate = RandomQuarterTurn(p=1.0)
    shown, moved = K.AugmentationSequential(rotate, data_keys=["input", "bbox_xyxy"])(images, boxes)
    for turn in range(1, 4):
        rows = (rotate.turns == turn).squeeze(1)
        assert rows.any()
        reference = K.AugmentationSequential(K.RandomRotation90((turn, turn), p=1.0), data_keys=["input", "bbox_xyxy"])
        by_kornia, boxes_by_kornia = reference(images[rows], boxes[rows])
        torch.testing.assert_close(shown[rows], by_kornia, atol=1e-5, rtol=0)
        torch.testing.assert_close(moved[rows], boxes_by_kornia, atol=1e-5, rtol=0)


def test_no_matrix_describes_turned_tiles():
    rotate = RandomQuarterTurn(tiles=2, p=0.5)
    rotate(torch.rand(16, 1, 12, 12))
    applied = rotate._params["batch_prob"] > 0.5
    assert rotate.transform_matrix[applied].isnan().all()
    assert torch.equal(rotate.transform_matrix[~applied], torch.eye(3).expand(int((~applied).sum()), 3, 3))


@pytest.mark.parametrize(("key", "value"), [("bbox_xyxy", [1.0, 1.0, 5.0, 5.0]), ("keypoints", [1.0, 1.0])])
def test_boxes_and_key_points_of_tiles_are_refused(key, value):
    pipeline = K.AugmentationSequential(RandomQuarterTurn(tiles=2, p=1.0), data_keys=["input", key])
    with pytest.raises(NotImplementedError, match="RandomQuarterTurn moves images and masks"):
        pipeline(torch.rand(1, 1, 12, 12), torch.tensor([[value]]))


def test_a_single_image_and_an_empty_batch():
    assert RandomQuarterTurn(tiles=3, p=1.0, keepdim=True)(torch.rand(3, 13, 13)).shape == (3, 13, 13)
    assert RandomQuarterTurn(p=1.0)(torch.rand(0, 3, 12, 12)).shape == (0, 3, 12, 12)


def test_reads_nothing_back_from_the_device():
    with FakeTensorMode():
        rotate = RandomQuarterTurn(tiles=2, p=0.5).to("cuda")
        result = rotate(torch.empty(8, 3, 12, 12, device="cuda"))
        assert {result.device.type, rotate.turns.device.type} == {"cuda"}


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="`tiles` should be at least 1, found 0"):
        RandomQuarterTurn(tiles=0)
    with pytest.raises(ValueError, match="`turns` should be read after a call"):
        _ = RandomQuarterTurn().turns
