"""Figures: one picture for each pretext task that has one, a row for each sample and a column for each kind."""

from __future__ import annotations

from pathlib import Path

import attrs
import torch
from PIL import Image

from auxlearn import Arrangement, Learner
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.figures import contact_sheet, draw_figures


class Pictured(TinyPretext):
    def picture(self, views, result):  # type: ignore[no-untyped-def]
        return {"seen": views[0].inputs["image"], "dark": torch.zeros_like(views[0].inputs["image"])}


def learner() -> Learner:
    return Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, pretext={"a": Pictured(), "b": TinyPretext()})


def test_a_contact_sheet_has_rows_of_samples_and_columns_of_kinds() -> None:
    images = {"white": torch.ones(3, 3, 4, 4), "black": torch.zeros(3, 3, 4, 4)}
    sheet = contact_sheet(images)
    assert sheet.size == (2 * 6, 3 * 6)
    assert sheet.getpixel((0, 6)) == (255, 255, 255)
    assert sheet.getpixel((6, 6)) == (0, 0, 0)


def test_a_task_without_a_picture_has_no_file(tmp_path: Path) -> None:
    assert draw_figures(learner(), tiny_batch(), tmp_path / "figures") == [tmp_path / "figures" / "a.png"]
    with Image.open(tmp_path / "figures" / "a.png") as sheet:
        assert sheet.size == (2 * 10, 8 * 10)


class Halves(Pictured):
    """Darkens the image by half, and says how large it was."""

    def views(self, batch, draws):  # type: ignore[no-untyped-def]
        (view,) = super().views(batch, draws)
        return (attrs.evolve(view, inputs={"image": view.inputs["image"] / 2}),)


def test_shared_views_are_drawn_one_upon_the_other_and_own_ones_in_their_size(tmp_path: Path) -> None:
    drawn = Learner(
        TinyBackbone(),
        pretext={"a": Halves(), "b": Halves(), "c": Pictured()},
        arrange={
            "a": Arrangement(view="shared"),
            "b": Arrangement(view="shared"),
            "c": Arrangement(view="own", resolution=0.5, statistics="batch"),
        },
    )
    white = attrs.evolve(tiny_batch(), inputs={"image": torch.full((8, 3, 8, 8), 255, dtype=torch.uint8)})
    before = {name: tensor.clone() for name, tensor in drawn.state_dict().items()}
    draw_figures(drawn, white, tmp_path)
    assert all(torch.equal(tensor, drawn.state_dict()[name]) for name, tensor in before.items())
    with Image.open(tmp_path / "a.png") as first, Image.open(tmp_path / "b.png") as second:
        assert (first.getpixel((0, 0))[0], second.getpixel((0, 0))[0]) == (128, 64)  # type: ignore[index]
    with Image.open(tmp_path / "c.png") as third:
        assert third.size == (2 * 6, 8 * 6)


def test_drawing_changes_nothing(tmp_path: Path) -> None:
    drawn, before = learner(), torch.random.get_rng_state()
    state = {name: tensor.clone() for name, tensor in drawn.state_dict().items()}
    draw_figures(drawn, tiny_batch(rows=40), tmp_path / "one")
    draw_figures(drawn, tiny_batch(rows=40), tmp_path / "two")
    assert all(torch.equal(tensor, drawn.state_dict()[name]) for name, tensor in state.items())
    assert torch.equal(before, torch.random.get_rng_state())
    assert drawn.training
    assert (tmp_path / "one" / "a.png").read_bytes() == (tmp_path / "two" / "a.png").read_bytes()
