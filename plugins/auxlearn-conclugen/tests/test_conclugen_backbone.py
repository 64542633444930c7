"""The backbone: the gated unit by hand, joining, standardisation, copies, and what it is built from."""

import math

import pytest
import torch
from torch import nn

from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext
from auxlearn_conclugen import GatedEmbedding, GatedMultimodal, GatedMultimodalParams, UnitParams
from auxlearn_conclugen.provider import build_backbone

WIDTHS = {"video_2d": 4, "video_3d": 3, "audio": 5, "text": 2}


def context(widths=None, **changes):
    forms = {
        name: InputShape(shape=(d,), dtype="float32", kind="feature", mean=(1.0,) * d, std=(2.0,) * d)
        for name, d in (widths or WIDTHS).items()
    }
    return BuildContext(inputs={**forms, **changes})


def build(**params):
    torch.manual_seed(0)
    return build_backbone(GatedMultimodalParams(**{"width": 8, **params}), context())


def inputs(rows=6, *, copies=None):
    shapes = {name: (rows, d) if copies is None else (rows, copies, d) for name, d in WIDTHS.items()}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def test_the_unit_by_hand():
    """1 -> ReLU(2) -> 2 sigmoid(2 * 0.5) -> ReLU(-3 * that + 7)."""
    unit = GatedEmbedding(1, 1)
    for part, weight, bias in ((unit.fc1, 2.0, 0.0), (unit.gate, 0.5, 0.0), (unit.fc2, -3.0, 7.0)):
        nn.init.constant_(part.weight, weight)
        nn.init.constant_(part.bias, bias)
    gated = 2 / (1 + math.exp(-1))
    assert unit(torch.tensor([[1.0], [-1.0]])).flatten().tolist() == pytest.approx([7 - 3 * gated, 7.0])


def test_the_unit_is_a_gated_linear_unit_between_two_layers():
    unit = GatedEmbedding(5, 3)
    x = torch.randn(4, 5)
    hidden = unit.fc1(x).clamp(min=0)
    glu = nn.functional.glu(torch.cat([hidden, unit.gate(hidden)], 1))
    torch.testing.assert_close(unit(x), unit.fc2(glu).clamp(min=0))


def test_one_unit_for_each_feature_of_the_data():
    backbone = build()
    assert list(backbone.shapes) == list(WIDTHS)
    assert {name: (shape.pooled, shape.source) for name, shape in backbone.shapes.items()} == {
        name: (8, d) for name, d in WIDTHS.items()
    }
    given = inputs()
    found = backbone(given)
    for name in WIDTHS:
        source = (given[name] - 1) / 2
        torch.testing.assert_close(found[name].source, source)
        torch.testing.assert_close(found[name].pooled, backbone.units[name](source))


def test_joined_modalities_stand_where_their_first_part_stood():
    backbone = build(join={"video": ("video_2d", "video_3d")}, standardize=False)
    assert list(backbone.shapes) == ["video", "audio", "text"]
    assert (backbone.shapes["video"].source, backbone.shapes["video"].inputs) == (7, ("video_2d", "video_3d"))
    given = inputs()
    assert torch.equal(backbone(given)["video"].source, torch.cat([given["video_2d"], given["video_3d"]], 1))


def test_modalities_can_be_chosen_and_a_unit_can_be_narrower():
    backbone = build(modalities=("audio", "video_3d"), units={"audio": UnitParams(width=3)})
    assert list(backbone(inputs())) == ["audio", "video_3d"]
    gated, last = backbone.units["audio"]
    assert (gated.fc1.in_features, gated.fc2.out_features, last.in_features, last.out_features) == (5, 3, 3, 8)
    assert sorted(backbone.standardise) == ["audio", "video_3d"]


def test_of_several_copies_the_first_is_read():
    backbone, given = build(), inputs(copies=3)
    first = backbone({name: one[:, 0] for name, one in given.items()})
    for name, part in backbone(given).items():
        assert torch.equal(part.pooled, first[name].pooled)
        assert torch.equal(part.source, first[name].source)


def test_copies_are_told_by_the_last_dimension():
    form = InputShape(shape=(3, 5), dtype="float32", kind="feature", mean=(0.0,) * 5, std=(1.0,) * 5)
    backbone = build_backbone(GatedMultimodalParams(width=4), BuildContext(inputs={"audio": form}))
    assert backbone.shapes["audio"].source == 5


def test_layers_go_from_input_to_output_and_name_each_parameter_once():
    backbone = build(units={"audio": UnitParams(width=3)})
    layers = backbone.layers()
    assert [len(layer) for layer in layers] == [8, 8, 8, 2]
    assert sorted(name for layer in layers for name in layer) == sorted(n for n, _ in backbone.named_parameters())
    assert "units.audio.0.fc1.weight" in layers[0]
    assert layers[3] == ["units.audio.1.weight", "units.audio.1.bias"]


def test_compiles_in_one_graph_and_exports():
    backbone, given = build(join={"video": ("video_2d", "video_3d")}), inputs()

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone

        def forward(self, given):
            return {name: part.pooled for name, part in self.backbone(given).items()}

    wanted = Pooled()(given)
    compiled = torch.compile(Pooled(), fullgraph=True, backend="eager")(given)
    exported = torch.export.export(Pooled(), (given,)).module()(given)
    for found in (compiled, exported):
        torch.testing.assert_close(found, wanted)


def test_bf16_autocast_and_float64():
    backbone = build()
    exact = backbone(inputs())["audio"]
    assert exact.source.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        part = backbone(inputs())["audio"]
    assert (part.pooled.dtype, part.source.dtype) == (torch.bfloat16, torch.float32)
    double = backbone.double()({name: one.double() for name, one in inputs().items()})["audio"]
    assert (double.pooled.dtype, double.source.dtype) == (torch.float64, torch.float64)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"modalities": ("audi",)}, r'/modalities/0: .*"audi"; allowed: .*; did you mean "audio"\?'),
        ({"join": {"video": ("video_2d", "video_4d")}}, '/join/video/1: the data has no feature "video_4d"'),
        ({"join": {"audio": ("video_2d", "video_3d")}}, '/join/audio: "audio" is an input of the data'),
        ({"join": {"a": ("video_2d",), "b": ("video_2d",)}}, '/join/b/0: "video_2d" is part of "a" already'),
        ({"units": {"sound": UnitParams()}}, '/units/sound: there is no feature "sound"'),
    ],
)
def test_says_what_is_wrong(params, message):
    with pytest.raises(SpecError, match=message):
        build(**params)


def test_says_what_the_data_lacks():
    image = InputShape(shape=(3, 8, 8))
    with pytest.raises(SpecError, match=r"/type: reads precomputed features, but the data has image \(image\)"):
        build_backbone(GatedMultimodalParams(), BuildContext(inputs={"image": image}))
    unknown = BuildContext(inputs={"audio": InputShape(shape=(3,), dtype="float32", kind="feature")})
    with pytest.raises(SpecError, match=r"/standardize: the data does not tell .* allowed: false"):
        build_backbone(GatedMultimodalParams(), unknown)
    assert build_backbone(GatedMultimodalParams(standardize=False), unknown).shapes["audio"].source == 3
    both = context(image=image)
    assert list(build_backbone(GatedMultimodalParams(width=2), both).shapes) == list(WIDTHS)
    with pytest.raises(ValueError, match="same modalities"):
        GatedMultimodal({}, {"audio": None})
