"""Every component that this repository offers conforms."""

import json

import pytest

from auxlearn.cli.main import main
from auxlearn.registry import discover
from auxlearn.testing.conformance import check_found

# These read a model of Hugging Face, which has to be downloaded; the tests of the plugin make small ones.
DOWNLOADED = {"text_encoder", "audio_encoder"}
FOUND = [one for one in discover().found if one.provider.name not in DOWNLOADED]


@pytest.mark.slow
@pytest.mark.parametrize("found", FOUND, ids=[f"{one.kind}-{one.full_name}" for one in FOUND])
def test_it_conforms(found):
    report = check_found(found)
    assert report.ok, str(report)
    assert not report.failed, str(report)


def test_the_command_tells_what_it_found(capsys):
    assert main(["plugins", "check", "rotation", "tiles=2"]) == 0
    assert "pretext task rotation of auxlearn-rotation" in capsys.readouterr().out


def test_the_command_speaks_json(capsys):
    assert main(["plugins", "check", "auxlearn:cosine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [report["name"] for report in told["reports"]] == ["cosine"]
    assert {"id", "level", "status", "reason", "fix", "message"} <= set(told["reports"][0]["results"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotatoin"], 'nothing named "rotatoin" is installed; did you mean "rotation"'),
        (["rotation", "tiles=1"], "/tiles: found 1"),
        (["rotation", "tiles"], "is no setting"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message, capsys):
    assert main(["plugins", "check", *arguments]) == 2
    assert message in capsys.readouterr().err
