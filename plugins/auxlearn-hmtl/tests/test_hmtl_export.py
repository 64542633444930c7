"""What is left of a run with every kind of task: a program that knows nothing of the pretext tasks."""

import pytest
import torch

import auxlearn

SPEC = {
    "auxlearn": 1,
    "data": {"type": "synthfaces", "fraction": 0.02},
    "augment": {"type": "weak", "size": 48},
    "primary": {"emotion": {"type": "fer"}, "pose": {"type": "head_pose"}, "sex": {"type": "gender"}},
    "pretext": {
        "puzzle": {"type": "puzzling", "grid": 3, "view": "own"},
        "inpaint": {"type": "inpainting", "mask": "face", "view": "own", "perceptual": {"network": "ema"}},
        "rotation": {"type": "rotation", "view": "own", "portion": 0.5},
    },
    "train": {"steps": 2, "batch_size": 8, "accelerator": "cpu", "ema": 0.9},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test_efficientnet", "test_convnext", "test_vit"])
def test_the_final_model_is_a_program_without_auxiliaries(model, tmp_path):
    auxlearn.run({**SPEC, "backbone": {"type": "timm", "model": model}}, out=tmp_path / "run")
    loaded = auxlearn.load_run(tmp_path / "run")
    folder = loaded.export("torch_export", out=tmp_path / "program")
    program = torch.export.load(folder / "model.pt2")
    assert not [name for name in program.state_dict if not name.startswith(("backbone.", "primary."))]
    loaded.export("onnx", out=tmp_path / "graph")  # is read back, and its answers compared
    images = torch.rand(5, 3, 64, 64)  # as the data stores them
    with torch.no_grad():
        wanted = loaded.model(images)
        found = program.module()(loaded.model.preprocess({"image": images})["image"])
    for task, answers in wanted.items():
        for name, tensor in answers.items():
            torch.testing.assert_close(found[f"{task}.{name}"], tensor, atol=1e-4, rtol=1e-4)
    turned = found["pose.rotation"]
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
