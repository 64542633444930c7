"""The kornia augmentation: replay, gate, fills, and what goes along."""

import kornia.augmentation as K
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn_inpainting import BlockMask, FreeformMask, GridMask, RandomMasking, fill_masked


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_hides_what_its_mask_says(fill):
    images, masking = torch.rand(16, 3, 12, 12), RandomMasking(GridMask(cells=3), fill, p=0.5)
    result = masking(images)
    untouched = (result == images).flatten(1).all(1)
    assert 0 < untouched.sum() < 16
    assert torch.equal(result, fill_masked(images, masking.mask, fill))
    assert not masking.mask[untouched].any()


def test_noise_differs_from_row_to_row_and_stays_in_range():
    masking = RandomMasking(GridMask(portion=1.0), "noise", p=1.0)
    result = masking(torch.zeros(8, 3, 16, 16))
    assert 0 <= result.min() < 0.01 < 0.99 < result.max() < 1
    assert len(result.flatten(1).unique(dim=0)) == 8
    assert torch.equal(masking(torch.zeros(8, 3, 16, 16), params=masking._params), result)


@pytest.mark.parametrize(("p", "changed"), [(0.0, False), (1.0, True)])
def test_p_decides(p, changed):
    images = torch.rand(8, 3, 12, 12)
    masking = RandomMasking(p=p)
    assert torch.equal(masking(images), images) is not changed
    assert masking.mask.any().item() is changed


def test_same_seed_same_mask_and_each_call_its_own():
    images, masking = torch.rand(8, 3, 12, 12), RandomMasking(FreeformMask(), p=1.0)
    first, second = masking(images), masking(images)
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    third = masking(images)
    torch.manual_seed(5)
    assert torch.equal(third, masking(images))


def test_same_on_batch_has_one_mask():
    masking = RandomMasking(fill="noise", p=1.0, same_on_batch=True)
    result = masking(torch.zeros(8, 3, 12, 12))
    assert (masking.mask == masking.mask[0]).all()
    assert (result == result[0]).all()


def test_replays_inside_a_pipeline_with_other_augmentations():
    pipeline = K.AugmentationSequential(
        K.RandomHorizontalFlip(),
        RandomMasking(p=0.7),
        K.ColorJitter(0.2, 0.2, 0.2, 0.1),
        RandomMasking(FreeformMask(), "noise", p=0.7),
        data_keys=["input"],
    )
    images = torch.rand(8, 3, 12, 12)
    result = pipeline(images)
    params = pipeline._params
    pipeline(torch.rand(8, 3, 12, 12))
    assert torch.equal(pipeline(images, params=params), result)


def test_replays_alone():
    images, masking = torch.rand(8, 3, 12, 12), RandomMasking(p=0.5)
    result, params, mask = masking(images), masking._params, masking.mask
    masking(images)
    assert torch.equal(masking(images, params=params), result)
    assert torch.equal(masking.mask, mask)


def test_labels_of_pixels_boxes_and_key_points_stay():
    """What is hidden is still there: the labels are what a network should find behind the mask."""
    pipeline = K.AugmentationSequential(RandomMasking(p=1.0), data_keys=["input", "mask", "bbox_xyxy", "keypoints"])
    images, labels = torch.rand(2, 3, 12, 12), torch.randint(3, (2, 1, 12, 12)).float()
    boxes, points = torch.tensor([[[1.0, 1.0, 5.0, 5.0]]] * 2), torch.tensor([[[1.0, 1.0]]] * 2)
    shown = pipeline(images, labels, boxes, points)
    assert not torch.equal(shown[0], images)
    for found, given in zip(shown[1:], (labels, boxes, points), strict=True):
        torch.testing.assert_close(found, given)


def test_a_single_image_and_an_odd_size():
    assert RandomMasking(p=1.0, keepdim=True)(torch.rand(3, 13, 14)).shape == (3, 13, 14)


def test_an_empty_batch_stays_empty():
    assert RandomMasking(fill="noise", p=1.0)(torch.rand(0, 3, 12, 12)).shape == (0, 3, 12, 12)


def test_keeps_the_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert RandomMasking(fill="noise", p=1.0)(torch.rand(2, 3, 12, 12, dtype=dtype)).dtype == dtype


def test_moved_to_the_device_it_draws_there_and_reads_nothing_back():
    with FakeTensorMode():
        masking = RandomMasking(fill="noise", p=0.5).to("cuda")
        result = masking(torch.empty(8, 3, 12, 12, device="cuda"))
        assert {result.device.type, masking._params["mask"].device.type, masking.mask.device.type} == {"cuda"}


def test_is_one_graph():
    masking, images = RandomMasking(p=1.0), torch.rand(8, 3, 12, 12)
    expected = masking(images)
    params = dict(masking._params)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: masking(x, params=params), fullgraph=True, backend="eager")
    assert torch.equal(compiled(images), expected)


def test_says_what_it_is_and_what_is_wrong():
    assert "BlockMask(number=(1, 1)" in repr(RandomMasking(BlockMask(number=(1, 1))))
    with pytest.raises(ValueError, match="'noise', found 'median'"):
        RandomMasking(fill="median")
    with pytest.raises(ValueError, match="`mask` should be read after a call"):
        _ = RandomMasking().mask
