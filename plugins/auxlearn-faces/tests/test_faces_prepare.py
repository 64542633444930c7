"""`auxlearn data prepare` on every public layout: the table that comes out is the data set that went in."""

from __future__ import annotations

import numpy as np
import pytest

from auxlearn.cli.main import main
from auxlearn.data import DataContext
from auxlearn.data.opening import read_section
from auxlearn.registry import discover
from auxlearn_faces import auxlearn_data_sources, testing

PROVIDERS = {provider.name: provider for provider in auxlearn_data_sources()}
WRITERS = {
    "affectnet": testing.write_affectnet,
    "fer2013": testing.write_fer2013,
    "ferplus": testing.write_ferplus,
    "raf_db": testing.write_raf_db,
    "ck_plus": testing.write_ck_plus,
    "pose_300w_lp": testing.write_300w_lp,
    "aflw2000": testing.write_aflw2000,
    "biwi": testing.write_biwi,
    "utkface": testing.write_utkface,
    "fairface": testing.write_fairface,
    "celeba": testing.write_celeba,
    "adience": testing.write_adience,
}


def test_every_layout_is_here():
    assert set(WRITERS) == set(PROVIDERS)


@pytest.mark.parametrize("name", WRITERS)
def test_the_table_is_the_data_set(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = WRITERS[name](tmp_path / "given")
    assert main(["data", "prepare", name, f"path={folder}", "--out", "table", "--quiet"]) == 0, capsys.readouterr().err
    provider = PROVIDERS[name]
    wanted = provider.build(provider.params(path=str(folder)), DataContext())
    section = read_section("table/data.json", [], discover())
    found = section.choice.provider.build(section.choice.params, DataContext(root=section.root))
    assert found.splits == wanted.splits
    for target, info in wanted.targets.items():
        assert (found.targets[target].kind, found.targets[target].shape) == (info.kind, info.shape)
        assert found.targets[target].names == info.names
    for split in wanted.splits:
        assert found.groups(split) == wanted.groups(split)
        rows = [made.dataset(split) for made in (found, wanted)]
        assert len(rows[0]) == len(rows[1])
        for index in range(len(rows[1])):
            one, other = rows[0][index], rows[1][index]
            assert set(one) == set(other)
            for key, value in other.items():
                np.testing.assert_array_equal(np.asarray(one[key]), np.asarray(value), err_msg=f"{index} {key}")
