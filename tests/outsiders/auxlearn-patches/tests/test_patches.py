"""The task conforms, and does what the paper says."""

import torch
from auxlearn.data import Batch
from auxlearn.learning import Draws
from auxlearn.registry import CheckContext
from auxlearn.testing import Conformance

import auxlearn_patches
from auxlearn_patches import PatchesParams
from auxlearn_patches.layout import Layout
from auxlearn_patches.task import Patches

(PROVIDER,) = auxlearn_patches.auxlearn_pretext_tasks()
DIRECTIONS = torch.tensor([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])  # (down, right)


class TestPatches(Conformance):
    component, kind = PROVIDER, "pretext_task"


class TestWithProjectedColours(Conformance):
    component, kind = PROVIDER, "pretext_task"
    params = {"colours": "project"}


def views(images, **settings):
    batch = Batch(inputs={"image": images}, ids=torch.arange(len(images)))
    return Patches(4, **settings).views(batch, Draws(seed=0, name="patches", step=0))


def test_the_neighbour_lies_where_the_answer_says():
    # Each pixel's colour says where it is, so a patch's first pixel says where the patch is from.
    row, column = torch.meshgrid(torch.arange(120.0), torch.arange(100.0), indexing="ij")
    images = torch.stack([row, column, row]).expand(64, 3, 120, 100)
    middle, other = views(images, colours="keep")
    layout = Layout.of(100, gap=0.5, jitter=7 / 96)
    assert layout == (24, 12, 2)
    way = other.inputs["image"][:, :2, 0, 0] - middle.inputs["image"][:, :2, 0, 0]
    neighbour = middle.answers["neighbour"]
    assert neighbour.unique().tolist() == list(range(8))
    jitter = way - DIRECTIONS[neighbour] * (24 + 12)
    assert jitter.unique().tolist() == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert torch.equal(middle.inputs["image"][0, 1, 5, :3].diff(), torch.ones(2))  # and it was not turned


def test_one_channel_is_kept_and_the_others_are_noise():
    images = torch.rand(32, 3, 64, 64)
    spread = torch.stack([view.inputs["image"] for view in views(images)]).std((3, 4))
    assert ((spread > 0.2).sum(2) == 1).all()
    noise = spread[spread < 0.2].view(2, 32, 2) * 100
    torch.testing.assert_close(noise, spread.amax(2, keepdim=True).expand_as(noise), rtol=0.3, atol=0)


def test_green_and_magenta_are_projected_out():
    images = torch.rand(8, 3, 64, 64)
    for plain, projected in zip(views(images, colours="keep"), views(images, colours="project"), strict=True):
        a = torch.tensor([[-1.0, 2.0, -1.0]])
        expected = torch.einsum("ij,njhw->nihw", torch.eye(3) - a.T @ a / (a @ a.T), plain.inputs["image"])
        torch.testing.assert_close(projected.inputs["image"], 0.5 + 0.75 * (expected - 0.5))


def test_images_that_are_too_small_are_refused_ahead():
    (problem,) = PROVIDER.check(PatchesParams(gap=4), CheckContext(size=32, view="own"))
    assert str(problem).startswith("/gap: images of 32 px give patches of 2 px")
    (problem,) = PROVIDER.check(PatchesParams(), CheckContext(size=64, view="shared"))
    assert problem.where == "/view"
