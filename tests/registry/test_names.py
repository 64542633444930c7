import pytest
from torch import nn

from auxlearn.registry import unusable_name

TAKEN = sorted({*dir(nn.ModuleDict()), *dir(nn.ParameterDict())})


@pytest.mark.parametrize("name", [name for name in TAKEN if not name.startswith("_")])
def test_what_torch_uses_is_refused(name):
    assert unusable_name(name) == "torch uses this name itself"


@pytest.mark.parametrize("name", ["", "a.b", "values", "audio", "video_2d", "x y"])
def test_what_is_accepted_can_be_a_part(name):
    if unusable_name(name) is None:
        assert name in nn.ModuleDict({name: nn.Identity()})
    else:
        with pytest.raises(KeyError):
            nn.ModuleDict({name: nn.Identity()})
