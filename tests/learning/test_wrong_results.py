"""What components return, and what they do to others, is looked at; each fault is told with its place."""

import asyncio
import os
import signal

import attrs
import pytest
import torch

from auxlearn import Learner, Moment
from auxlearn.calls import calling
from auxlearn.errors import Call, DataError, EnvironmentProblem, PluginError
from auxlearn.learning import Balanced, Feature, Features, Motion
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.identity import Identity
from auxlearn.learning.preprocess import Preprocess
from auxlearn.spec.models import Arrangement
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

NOW = Moment(step=0)


def changed(base, method, change, *args, **kwargs):
    """Return a component whose `method` returns what `change` makes of the right result and the arguments."""

    def wrong(self, *given):
        return change(getattr(base, method)(self, *given), *given)

    return type("Changed", (base,), {method: wrong})(*args, **kwargs)


def learner(*, view="own", portion=1.0, **parts):
    backbone, primary, pretext = (
        parts.pop(name, None) or make()
        for name, make in (("backbone", TinyBackbone), ("kind", TinyPrimary), ("a", TinyPretext))
    )
    arrange = {"a": Arrangement(view=view, portion=portion)}
    return Learner(backbone, primary={"kind": primary}, pretext={"a": pretext}, arrange=arrange, **parts)


def go(made):
    """Take a step as the trainer does, with the update of queues."""
    result = made.step(tiny_batch(), NOW)
    result.total.backward()
    made.after_step(result, NOW)


def image(change):
    """Return a change of views: one with its images changed."""
    return lambda views, *_: (attrs.evolve(views[0], inputs={"image": change(views[0].inputs["image"])}),)


def view(**changes):
    """Return a change of views: one with other fields."""
    return lambda views, *_: (attrs.evolve(views[0], **changes),)


def result(**changes):
    return lambda found, *_: attrs.evolve(found, **{n: make(found) for n, make in changes.items()})


VIEWS = {
    "a list": (lambda views, *_: list(views), "a tuple of View, it returned list of View"),
    "a view": (lambda views, *_: views[0], "a tuple of View, it returned View"),
    "none": (lambda *_: None, "a tuple of View, it returned None"),
    "no views": (lambda *_: (), "at least one view, it returned none"),
    "no inputs": (view(inputs={}), "view 0 has no inputs"),
    "fewer rows": (image(lambda t: t[1:]), r"tensors of 8 rows, view 0: inputs `image` is \(7, 3, 8, 8\)"),
    "an array": (image(lambda t: t.numpy()), "tensors of 8 rows, view 0: inputs `image` is ndarray"),
    "another device": (image(lambda t: t.to("meta")), "tensors on cpu, view 0: inputs `image` is on meta"),
    "bytes": (image(lambda t: (t * 255).byte()), "keep the type of inputs, .*torch.uint8, expected torch.float32"),
    "another name": (
        lambda views, *_: (attrs.evolve(views[0], inputs={"imag": views[0].inputs["image"]}),),
        r'show inputs of the batch, image, view 0 shows `imag`; did you mean "image"\?',
    ),
    "channels": (
        image(lambda t: t[:, :1]),
        r"the dimensions and channels of inputs, view 0: `image` is \(8, 1, 8, 8\)",
    ),
    "dimensions": (
        image(lambda t: t.flatten(1)),
        r"the dimensions and channels of .* is \(8, 192\), in the batch \(8, 3",
    ),
    "answers": (view(answers={"turned": torch.zeros(3)}), r"tensors of 8 rows, view 0: answers `turned` is \(3,\)"),
    "motion": (view(motion=Motion.still(3)), r"a Motion of \(8, 2, 3\), view 0: found \(3, 2, 3\)"),
}


@pytest.mark.parametrize(("change", "message"), VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("how", ["own", "clean", "shared"])
def test_wrong_views(how, change, message):
    with pytest.raises(PluginError, match=f"pretext task a: `views` should .*{message}"):
        go(learner(a=changed(TinyPretext, "views", change), view=how))


SHARED = {
    "two": (lambda views, *_: views * 2, "a shared view is exactly one view, it returned 2"),
    "smaller": (image(lambda t: t[..., :4]), "a shared view keeps its shape .*8, 8.*it returned"),
    "doubles": (image(lambda t: t.double()), "keep the type of a shared view, .*torch.float64, expected torch.float32"),
}


@pytest.mark.parametrize(("change", "message"), SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("portion", [1.0, 0.5])
def test_wrong_shared_views(portion, change, message):
    with pytest.raises(PluginError, match=f"pretext task a: `views` should .*{message}"):
        go(learner(a=changed(TinyPretext, "views", change), view="shared", portion=portion))


RESULTS = {
    "none": (lambda *_: None, "a TaskResult, it returned None"),
    "text": (lambda *_: "0.3", "a TaskResult, it returned str '0.3'"),
    "a tensor": (lambda found, *_: found.loss, "a TaskResult, it returned tensor"),
    "rows": (result(loss=lambda r: r.loss.expand(8)), r"`loss.loss` should be a scalar tensor, found \(8,\)"),
    "one row": (result(loss=lambda r: r.loss.view(1)), r"`loss.loss` should be a scalar tensor, found \(1,\)"),
    "a number": (result(loss=lambda r: 3), "`loss.loss` should be a scalar tensor, found int 3"),
    "integers": (result(loss=lambda r: r.loss.detach().long()), "found .* of torch.int64"),
    "detached": (result(loss=lambda r: r.loss.detach()), "a loss with a graph to the features, it is detached"),
    "another device": (result(loss=lambda r: torch.zeros((), device="meta")), "a loss on cpu, found meta"),
    "a float metric": (result(metrics=lambda r: {"x": 0.5}), "detached scalars as metrics, `x` is float 0.5"),
    "a live metric": (result(metrics=lambda r: {"x": r.loss}), "detached scalars as metrics, `x` is .* with a graph"),
    "a metric by number": (result(metrics=lambda r: {3: r.loss.detach()}), "metrics by name, a name is int 3"),
    "a carry by number": (
        result(carry=lambda r: {3: r.loss.detach().view(1)}),
        "carry tensors by name, a name is int 3",
    ),
    "a live carry": (result(carry=lambda r: {"x": r.loss.view(1)}), "carry detached tensors with rows, `x` is"),
    "a scalar carry": (result(carry=lambda r: {"x": r.loss.detach()}), "carry detached tensors with rows, `x` is"),
}


@pytest.mark.parametrize(("change", "message"), RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("role", ["pretext", "primary"])
def test_wrong_losses(role, change, message):
    parts = {"a": changed(TinyPretext, "loss", change)} if role == "pretext" else {}
    parts |= {"kind": changed(TinyPrimary, "loss", change)} if role == "primary" else {}
    task = "a" if role == "pretext" else "kind"
    with pytest.raises(PluginError, match=f"{role} task {task}: `loss` should .*{message}") as caught:
        go(learner(**parts))
    assert caught.value.call == Call(role, task, "loss")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("count", [None, 2.5, "8", True, -1, torch.ones(8), torch.ones(1)])
def test_wrong_counts(count):
    message = "`count` should return an int from 0 on, or a tensor without dimensions, it returned"
    with pytest.raises(PluginError, match=f"pretext task a: {message}"):
        go(learner(a=changed(TinyPretext, "count", lambda *_: count)))
    with pytest.raises(PluginError, match=f"primary task kind: {message}"):
        go(learner(kind=changed(TinyPrimary, "count", lambda *_: count)))


def features(**changes):
    """Return a change of features: other tensors in place of the right ones."""

    def change(found, *_):
        right = {"pooled": found.only.pooled, "maps": found.only.maps}
        return Features({"image": Feature(**right | changes)})

    return change


FEATURES = {
    "a tensor": (lambda found, *_: found.only.pooled, "Features, it returned tensor"),
    "width": (features(pooled=torch.zeros(8, 5)), r"`image.pooled` of \(8, 8\) by `shapes`, found \(8, 5\)"),
    "rows": (features(pooled=torch.zeros(3, 8)), r"`image.pooled` of \(8, 8\) by `shapes`, found \(3, 8\)"),
    "maps": (features(maps=()), "1 maps of `image` as `shapes` declares, found 0"),
    "channels": (features(maps=(torch.zeros(8, 4, 2, 2),)), r"`image.maps\[0\]` of \(8, 8\) by `shapes`, found"),
    "a flat map": (features(maps=(torch.zeros(8, 8),)), r"`image.maps\[0\]` of \(8, 8\) by `shapes`, found"),
    "a name": (lambda found, *_: Features({"face": found.only}), "what `shapes` declares, image, it gave `face`"),
    "nothing": (lambda *_: Features({}), "what `shapes` declares, `image` is missing"),
    "a device": (features(pooled=torch.zeros(8, 8, device="meta")), "`image.pooled` on cpu, found meta"),
}


@pytest.mark.parametrize(("change", "message"), FEATURES.values(), ids=FEATURES)
def test_wrong_features(change, message):
    with pytest.raises(PluginError, match=f"backbone: `forward` should .*{message}"):
        go(learner(backbone=changed(TinyBackbone, "forward", change)))


AUGMENTED = {
    "no motion": (lambda made, *_: made[0], "the inputs and their motion, it returned dict"),
    "no inputs": (lambda made, *_: ({}, made[1]), "all inputs, image, by name"),
    "bytes": (lambda made, given, _: (given, made[1]), r"images as floats in \[0, 1\], `image` is .*torch.uint8"),
    "rows": (lambda made, *_: ({"image": made[0]["image"][:2]}, made[1]), "tensors of 8 rows"),
    "another motion": (lambda made, *_: (made[0], None), r"a Motion of \(8, 2, 3\), found None"),
}


@pytest.mark.parametrize(("change", "message"), AUGMENTED.values(), ids=AUGMENTED)
def test_wrong_augmentation(change, message):
    with pytest.raises(PluginError, match=f"augmentation: `forward` should return {message}"):
        go(learner(augmentation=changed(Identity, "forward", change, Preprocess())))


def test_wrong_rows_for_evaluation():
    made = learner(augmentation=changed(Identity, "evaluate", lambda made, given: given, Preprocess()))
    with pytest.raises(PluginError, match="augmentation: `evaluate` should return images as floats"):
        made.features(tiny_batch().inputs)


TOTALS = {
    "a tensor": (lambda found, *_: found.total, "Balanced, it returned tensor"),
    "rows": (lambda found, *_: attrs.evolve(found, total=found.total.expand(3)), "a total that is a scalar on cpu"),
    "a number": (lambda found, *_: attrs.evolve(found, total=1.0), "a total that is a scalar on cpu, found float 1.0"),
    "detached": (lambda found, *_: attrs.evolve(found, total=found.total.detach()), "a total with a graph"),
    "weights": (lambda found, *_: Balanced(total=found.total, weights={}), "a weight for each loss, kind@clean, a@a"),
}


@pytest.mark.parametrize(("change", "message"), TOTALS.values(), ids=TOTALS)
def test_wrong_totals(change, message):
    with pytest.raises(PluginError, match=f"balancer: `combine` should return {message}"):
        go(learner(balancer=changed(Fixed, "combine", change)))


def test_wrong_targets_after_a_motion(spot):
    task = changed(spot, "move_targets", lambda moved, *_: {"spot": moved["spot"][1:]})
    made = Learner(TinyBackbone(), primary={"spot": task})
    batch = attrs.evolve(tiny_batch(), targets={"spot": torch.rand(8, 2)})
    with pytest.raises(PluginError, match=r"primary task spot: `move_targets` should .*8 rows, `spot` is \(7, 2\)"):
        made.step(batch, NOW)


def writes(which):
    """Return a change that writes into an argument of the method."""

    def change(found, *given):
        with torch.no_grad():
            which(*given).add_(1)
        return found

    return change


WRITING = {
    "views": ("a", TinyPretext, "views", writes(lambda batch, _: batch.inputs["image"]), "pretext task a"),
    "targets": ("a", TinyPretext, "views", writes(lambda batch, _: batch.targets["kind"]), "pretext task a"),
    "features": ("a", TinyPretext, "loss", writes(lambda f, *_: f[0].only.pooled), "pretext task a"),
    "maps": ("kind", TinyPrimary, "loss", writes(lambda f, *_: f.only.maps[0]), "primary task kind"),
    "labels": ("kind", TinyPrimary, "loss", writes(lambda _, batch, __: batch.targets["kind"]), "primary task kind"),
    "carry": ("a", TinyPretext, "after_step", writes(lambda carry, _: carry["answer"]), "pretext task a"),
    "inputs": ("backbone", TinyBackbone, "forward", writes(lambda inputs: inputs["image"]), "backbone"),
}


@pytest.mark.parametrize(("part", "base", "method", "change", "who"), WRITING.values(), ids=WRITING)
def test_writing_into_what_others_read(part, base, method, change, who):
    with pytest.raises(PluginError, match=f"{who}: `{method}` should not write into what it is given"):
        go(learner(**{part: changed(base, method, change)}))


def rebinds(part):
    def change(views, batch, draws):
        mapping = getattr(batch, part)
        mapping[next(iter(mapping))] = torch.zeros(8)
        return views

    return change


@pytest.mark.parametrize("part", ["inputs", "targets"])
@pytest.mark.parametrize("how", ["own", "clean", "shared"])
def test_other_tensors_cannot_be_put_into_the_batch(how, part):
    with pytest.raises(PluginError, match="pretext task a: `views` failed with TypeError: 'mappingproxy' object"):
        go(learner(a=changed(TinyPretext, "views", rebinds(part)), view=how))


SETTINGS = {
    "folder": (lambda: os.chdir("/"), "the working folder", os.getcwd),
    "dtype": (lambda: torch.set_default_dtype(torch.float64), "the default dtype", torch.get_default_dtype),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "number of threads", torch.get_num_threads),
    "gradients": (lambda: torch.set_grad_enabled(not torch.is_grad_enabled()), "gradient mode", torch.is_grad_enabled),
    "determinism": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
    ),
    "precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        "precision of float32",
        torch.get_float32_matmul_precision,
    ),
    "benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
        "cuDNN's benchmark mode",
        lambda: torch.backends.cudnn.benchmark,
    ),
    "signals": (
        lambda: signal.signal(signal.SIGTERM, lambda *_: None),
        "the handler of SIGTERM",
        lambda: signal.getsignal(signal.SIGTERM),
    ),
}


@pytest.mark.parametrize(("change", "message", "read"), SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("method", ["views", "loss"])
def test_settings_of_the_process_are_put_back_and_their_change_refused(method, change, message, read):
    before = read()

    def act(found, *_):
        change()
        return found

    with pytest.raises(PluginError, match=f"pretext task a: `{method}` should leave .*{message}"):
        go(learner(a=changed(TinyPretext, method, act)))
    assert read() == before


def test_settings_are_put_back_where_the_method_fails_too():
    def act(*_):
        torch.set_default_dtype(torch.float64)
        raise ValueError("no")

    with pytest.raises(PluginError, match="`loss` failed with ValueError: no"):
        go(learner(a=changed(TinyPretext, "loss", act)))
    assert torch.get_default_dtype() is torch.float32


def raising(error):
    def act(*_):
        raise error

    return act


def test_a_learner_by_hand_names_task_and_method_and_keeps_the_cause():
    with pytest.raises(PluginError) as caught:
        go(learner(a=changed(TinyPretext, "after_step", raising(KeyError("queue")))))
    assert str(caught.value) == "pretext task a: `after_step` failed with KeyError: 'queue'"
    assert isinstance(caught.value.__cause__, KeyError)


class Mine(DataError):
    """An author's own error, made in a way of its own."""

    def __init__(self, path, row):
        super().__init__(f"{path}: row {row} is torn")


def test_an_error_raised_on_purpose_keeps_its_type_and_gains_the_place():
    with pytest.raises(Mine) as caught:
        go(learner(a=changed(TinyPretext, "loss", raising(Mine("faces.csv", 3)))))
    assert str(caught.value) == "faces.csv: row 3 is torn\nraised by pretext task a: `loss`"
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("64 GB"), r"out of memory \(64 GB\); fix: a smaller `train.batch_size`"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore"),
            r"out of memory \(CUDA out of memory. Tried 2 GiB\)",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(28, "No space left on device"), "the disk is full"),
    ],
)
def test_full_memory_and_full_disks_are_the_machines_fault(error, message):
    with pytest.raises(EnvironmentProblem, match=f"pretext task a: `loss`: {message}"):
        go(learner(a=changed(TinyPretext, "loss", raising(error))))


def test_a_true_allocation_that_fails_is_the_machines_fault():
    with pytest.raises(EnvironmentProblem, match="out of memory"):
        go(learner(a=changed(TinyPretext, "loss", lambda *_: torch.zeros(2**50))))


def test_what_ends_python_is_a_fault_but_the_keyboard_is_not():
    with pytest.raises(PluginError, match="`loss` failed with SystemExit: 0"):
        go(learner(a=changed(TinyPretext, "loss", raising(SystemExit(0)))))
    for error in (GeneratorExit(), asyncio.CancelledError()):
        with pytest.raises(PluginError, match=f"`loss` failed with {type(error).__name__}$"):
            go(learner(a=changed(TinyPretext, "loss", raising(error))))
    with pytest.raises(KeyboardInterrupt):
        go(learner(a=changed(TinyPretext, "loss", raising(KeyboardInterrupt()))))


def test_the_inner_of_two_calls_is_named():
    with pytest.raises(PluginError) as caught, calling("pretext", "a", "loss"), calling("backbone", "", "forward"):
        raise ValueError("inside")
    assert caught.value.call == Call("backbone", "", "forward")
    assert str(caught.value) == "backbone: `forward` failed with ValueError: inside"


def quiet(**parts):
    made = learner(**parts)
    go(made)
    made.reach.look_at_gradients({"primary": made.primary, "pretext": made.pretext})
    return made.reach.told()


class Detached(TinyPretext):
    def loss(self, features, views, step):
        return super().loss(
            tuple(Features({"image": Feature(pooled=f.only.pooled.detach())}) for f in features), views, step
        )


class Idle(TinyPretext):
    def __init__(self):
        super().__init__()
        self.spare = torch.nn.Linear(2, 2)


class FromMaps(TinyPretext):
    def loss(self, features, views, step):
        pooled = tuple(Features({"image": Feature(pooled=f.only.maps[0].mean((2, 3)))}) for f in features)
        return super().loss(pooled, views, step)


def test_losses_that_reach_nothing_are_noticed():
    assert quiet() == []
    assert quiet(view="clean", portion=0.5) == []
    assert quiet(a=FromMaps()) == []
    assert quiet(a=Detached()) == [
        "pretext task a: nothing reaches the backbone, its loss does not depend on the features it is given"
    ]
    assert quiet(a=Idle()) == ["pretext task a: no gradient reaches spare.weight, spare.bias; they do not learn"]


def test_nobody_misses_the_gradients_of_a_frozen_backbone_or_of_a_probe():
    assert quiet(a=Detached(), freeze_backbone=True) == []
    assert quiet(probes=["kind"]) == []


def test_a_hostile_generator_changes_nothing_for_the_others():
    def draws(found, *_):
        torch.manual_seed(99)
        torch.rand(1000)
        return found

    def weights(task):
        torch.manual_seed(0)
        made = learner(backbone=TinyBackbone(dropout=0.5), a=task)
        result = made.step(tiny_batch(), NOW)
        result.total.backward()
        return [p.grad.clone() for p in made.backbone.parameters()], torch.rand(3)

    torch.manual_seed(0)
    tasks = [TinyPretext()]
    for method in ("views", "count", "loss"):
        torch.manual_seed(0)
        tasks.append(changed(TinyPretext, method, draws))
    wanted, after = weights(tasks[0])
    for task in tasks[1:]:
        found, then = weights(task)
        assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
        assert torch.equal(after, then)
