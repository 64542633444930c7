"""Every check finds a fault that was planted for it, and says what it found."""

import random
import re
import signal

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn.data import InputShape
from auxlearn.learning import Augmentation, Balanced, Balancer, Feature, Features, Motion, Preprocess, TaskResult, View
from auxlearn.registry import DataFacts, Found, Provider, option
from auxlearn.testing import Trial, checks_of
from auxlearn.testing.conformance import on_trial, run_check
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, TinySource

KINDS = ("pretext_task", "primary_task", "backbone", "augmentation", "balancer", "data_source")
FAULTS = []


def fault(kind, check, message, base=None, trial=None, **provider):
    """Register a class with a fault in it, which `check` should find and describe by `message`."""

    def add(cls):
        made = provider.pop("build", lambda params, context: make(cls, kind, context))
        defaults = {"moves_pixels": True} if kind == "pretext_task" else {}
        offer = Provider(name="faulty", summary="Faulty.", build=made, **{**defaults, **provider})
        found = Found(kind=kind, provider=offer, distribution="", version="", entry_point="", file="")
        name = f"{check}-{cls.__name__}"
        FAULTS.append(pytest.param(found, check, message, trial or Trial(), id=name))
        return cls

    return add


def make(cls, kind, context):
    if kind == "primary_task":
        return cls(context.feature.pooled, 3)
    return cls(context.feature.pooled) if kind == "pretext_task" else cls()


def result_of(task, features, views, step):
    return TinyPretext.loss(task, features, views, step)


def turned(batch, flips, **more):
    image = torch.where(flips[:, None, None, None], batch.image.flip(2), batch.image)
    return (View(inputs={"image": image}, answers={"turned": flips.long()}, **more),)


# Conduct


@fault("pretext_task", "same-draws-same-result", "depends on the global generators: views/0/")
class GlobalDraws(TinyPretext):
    def views(self, batch, draws):
        return turned(batch, torch.rand(len(batch)) > 0.5)


@fault("pretext_task", "same-draws-same-result", "asked again.*result/loss")
class CountsInLoss(TinyPretext):
    calls = 0

    def loss(self, features, views, step):
        self.calls += 1
        result = result_of(self, features, views, step)
        return attrs.evolve(result, loss=result.loss * self.calls)


@fault("pretext_task", "one-process-equals-two", "views|0/0/")
class OneGenerator(TinyPretext):
    def views(self, batch, draws):
        generator = torch.Generator().manual_seed(draws.step)
        return turned(batch, torch.rand(len(batch), generator=generator) > 0.5)


@fault("pretext_task", "input-untouched", "changed in place: inputs/image")
class InPlace(TinyPretext):
    def views(self, batch, draws):
        batch.image.mul_(0.5)
        return TinyPretext.views(self, batch, draws)


@fault("pretext_task", "random-state-untouched", "global generator of numpy, random")
class OtherGenerators(TinyPretext):
    def views(self, batch, draws):
        np.random.rand()
        random.random()
        return TinyPretext.views(self, batch, draws)


@fault("pretext_task", "global-settings-untouched", r"get_default_dtype\(\) from torch.float32 to torch.float64")
class DefaultDtype(TinyPretext):
    def __init__(self, width):
        super().__init__(width)
        torch.set_default_dtype(torch.float64)


@fault("primary_task", "global-settings-untouched", r"get_num_threads\(\) from")
class Threads(TinyPrimary):
    def loss(self, features, batch, step):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().loss(features, batch, step)


@fault("backbone", "global-settings-untouched", "SIGTERM")
class Signals(TinyBackbone):
    def forward(self, inputs):
        signal.signal(signal.SIGTERM, lambda *_: None)
        return super().forward(inputs)


@fault("backbone", "global-settings-untouched", "deterministic_algorithms_enabled")
class Deterministic(TinyBackbone):
    def forward(self, inputs):
        torch.use_deterministic_algorithms(True)
        return super().forward(inputs)


@fault("pretext_task", "evaluation-changes-nothing", "changed in evaluation: seen")
class CountsInEvaluation(TinyPretext):
    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, features, views, step):
        self.seen += 1
        return result_of(self, features, views, step)


@fault("pretext_task", "global-settings-untouched", "raised SystemExit")
class Exits(TinyPretext):
    def loss(self, features, views, step):
        raise SystemExit(1)


# Numbers


class Narrow(TinyPretext):
    """A head that sees what `read` makes of the feature."""

    def read(self, pooled):
        return pooled

    def loss(self, features, views, step):
        logits = self.head(self.read(features[0].only.pooled))
        loss = F.cross_entropy(logits, views[0].answers["turned"], reduction="sum")
        return TaskResult(loss=loss)


@fault("pretext_task", "batch-of-one", "more than 1 value per channel")
class NeedsTwo(Narrow):
    def __init__(self, width):
        super().__init__(width)
        self.norm = nn.BatchNorm1d(width)

    def read(self, pooled):
        return self.norm(pooled)


@fault("pretext_task", "batch-of-two", "not finite: result/loss")
class NeedsThree(Narrow):
    def read(self, pooled):
        return pooled / (len(pooled) - 2)


@fault("pretext_task", "odd-image-sizes", "33 x 33 px: raised RuntimeError")
class Halves(TinyPretext):
    def views(self, batch, draws):
        batch.image.view(len(batch), 3, 2, batch.image.shape[2] // 2, -1)
        return TinyPretext.views(self, batch, draws)


@fault("pretext_task", "oblong-images", "32 x 48 px: raised RuntimeError")
class Squares(TinyPretext):
    def views(self, batch, draws):
        return turned(attrs.evolve(batch, inputs={"image": batch.image + batch.image.mT}), torch.rand(len(batch)) > 2)


@fault("pretext_task", "float64", "raised RuntimeError: mat1 and mat2 must have the same dtype")
class Single(Narrow):
    def read(self, pooled):
        return pooled.float()


@fault("pretext_task", "float64", r"expected torch.float64: loss is torch.float32")
class SingleLoss(Narrow):
    def loss(self, features, views, step):
        return attrs.evolve(super().loss(features, views, step), loss=super().loss(features, views, step).loss.float())


@fault("augmentation", "float64", "raised RuntimeError: expected")
class Mixing(Augmentation):
    def __init__(self):
        super().__init__()
        self.preprocess = Preprocess(size=32)
        self.register_buffer("colours", torch.eye(3))

    def forward(self, inputs, draws):
        images = self.preprocess(inputs)["image"]
        mixed = torch.einsum("ij,njhw->nihw", self.colours, images)
        return {"image": mixed}, Motion.still(len(mixed))


@fault("pretext_task", "bf16-autocast", "expected torch.float32: loss is torch.bfloat16")
class Rounded(Narrow):
    def loss(self, features, views, step):
        return TaskResult(loss=self.head(features[0].only.pooled).square().sum())


@fault("pretext_task", "any-shapes-work", "5 rows of .* px: not finite: result/loss")
class FiveRows(Narrow):
    def read(self, pooled):
        return pooled / (len(pooled) - 5)


@attrs.frozen(kw_only=True)
class Grid:
    grid: int = option(2, ge=2, le=9, help="Tiles along each side.")


@fault(
    "pretext_task",
    "any-settings-work",
    r'settings \{"grid": 4\}: raised ZeroDivisionError',
    params=Grid,
    build=lambda params, context: (1 // (params.grid < 4)) and TinyPretext(context.feature.pooled),
)
class LargeGrid(TinyPretext):
    pass


@attrs.frozen(kw_only=True)
class OutOfBounds:
    grid: int = option(1, ge=2, help="Tiles along each side.")


@fault("pretext_task", "params-survive-json", "do not fit the schema: /grid: found 1", params=OutOfBounds)
class BadDefault(TinyPretext):
    pass


@attrs.frozen(kw_only=True)
class Growing:
    grid: int = attrs.field(default=2, converter=lambda value: value + 1, metadata=attrs.fields(Grid).grid.metadata)


@fault("pretext_task", "params-survive-json", r"Growing\(grid=\d\) became Growing\(grid=\d\)", params=Growing)
class Converts(TinyPretext):
    pass


@fault("pretext_task", "builds-the-right-class", "`build` returned TinyPrimary, expected PretextTask")
class WrongKind(TinyPretext):
    def __new__(cls, width):
        return TinyPrimary(width)


# Gradients


@fault("pretext_task", "gradient-reaches-the-backbone", "no parameter of the backbone gets a gradient")
class Detached(Narrow):
    def read(self, pooled):
        return pooled.detach()


@fault("pretext_task", "gradient-reaches-every-parameter", "no gradient reaches spare.weight, spare.bias")
class Spare(TinyPretext):
    def __init__(self, width):
        super().__init__(width)
        self.spare = nn.Linear(2, 2)


@fault("pretext_task", "gradients-finite", "the gradient is not finite")
class RootAtZero(Narrow):
    def read(self, pooled):
        return pooled + (pooled * 0).square().sum(1, keepdim=True).sqrt()


@fault("pretext_task", "finite-where-features-are-zero", r"not finite for features of zero \(the loss\)")
class OneOverNorm(Narrow):
    def read(self, pooled):
        return pooled / pooled.norm(dim=1, keepdim=True)


# Losses


@fault("pretext_task", "loss-is-a-scalar", r"`loss.loss` has shape \(8,\) and torch.float32, expected a float scalar")
class Vector(TinyPretext):
    def loss(self, features, views, step):
        return TaskResult(loss=self.head(features[0].only.pooled).sum(1))


@fault("primary_task", "loss-is-a-scalar", "`loss` returned Tensor, expected TaskResult")
class Bare(TinyPrimary):
    def loss(self, features, batch, step):
        return super().loss(features, batch, step).loss


@fault("pretext_task", "loss-is-a-scalar", "`loss.loss` is float, expected a tensor")
class Number(TinyPretext):
    def loss(self, features, views, step):
        return TaskResult(loss=1.0)


@fault("pretext_task", "loss-is-a-scalar", "has no graph")
class NoGraph(TinyPretext):
    def loss(self, features, views, step):
        return TaskResult(loss=result_of(self, features, views, step).loss.detach())


@fault("pretext_task", "result-is-detached", "holds on to the graph: metrics/loss")
class Holding(TinyPretext):
    def loss(self, features, views, step):
        result = result_of(self, features, views, step)
        return attrs.evolve(result, metrics={"loss": result.loss})


@fault("pretext_task", "result-is-detached", r"metric scores is shape \(8,\), expected a scalar tensor")
class Scores(TinyPretext):
    def loss(self, features, views, step):
        scores = features[0].only.pooled.detach().mean(1)
        return attrs.evolve(result_of(self, features, views, step), metrics={"scores": scores})


@fault("pretext_task", "loss-is-a-sum", "with the same rows twice the loss is 1.00 times as large, expected 2")
class Mean(TinyPretext):
    def loss(self, features, views, step):
        result = result_of(self, features, views, step)
        return attrs.evolve(result, loss=result.loss / len(views[0].answers["turned"]))


@fault("pretext_task", "count-agrees-with-rows", "counts 1 for 8 rows and 1 for 32")
class CountsOne(TinyPretext):
    def count(self, views):
        return 1


@fault("pretext_task", "count-agrees-with-rows", r"`count` is a tensor of shape \(8,\)")
class CountsEach(TinyPretext):
    def count(self, views):
        return torch.ones(len(views[0].answers["turned"]))


# What is kept


class Queue(TinyPretext):
    """Adds the mean of past features, kept in a queue."""

    persistent = True

    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("queue", torch.zeros(4, width), persistent=self.persistent)

    def loss(self, features, views, step):
        result = result_of(self, features, views, step)
        near = (features[0].only.pooled @ self.queue.T.to(features[0].only.pooled.dtype)).sum()
        return attrs.evolve(result, loss=result.loss + near, carry={"pooled": features[0].only.pooled.detach()})

    def after_step(self, carry, step):
        self.queue.copy_(torch.cat([carry["pooled"].mean(0, keepdim=True), self.queue[:-1]]))


@fault("pretext_task", "state-round-trip", "it differs in result/loss; not in the state dict: queue")
class Forgets(Queue):
    persistent = False


@fault("pretext_task", "state-round-trip", "it differs in result/loss; not in the state dict: past/0")
class History(Queue):
    def __init__(self, width):
        super().__init__(width)
        self.past = [torch.zeros(width)]

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        return attrs.evolve(result, loss=result.loss + self.past[0].sum())

    def after_step(self, carry, step):
        super().after_step(carry, step)
        self.past = [carry["pooled"].mean(0)]


class Hoards(Queue):
    def __init__(self, width):
        super().__init__(width)
        self.past = []

    def after_step(self, carry, step):
        self.past.append(carry["pooled"])


fault("pretext_task", "memory-bounded", r"holds \d+ numbers after 4 steps, \d+ after 12: past/4")(Hoards)


@fault("pretext_task", "work-bounded", r"\d+ operations in step 1, \d+ in step 12")
class GoesThroughAll(Hoards):
    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        return attrs.evolve(result, loss=result.loss + sum(one.mean().abs().sqrt() for one in self.past))


@fault("pretext_task", "no-loop-over-rows", r"\d+ operations for 8 rows, \d+ for 24")
class RowByRow(TinyPretext):
    def loss(self, features, views, step):
        terms = [self.head(row).logsumexp(0) for row in features[0].only.pooled]
        return TaskResult(loss=torch.stack(terms).sum())


# The device


@fault(
    "pretext_task", "no-host-read", r"reads a value back \(aten._local_scalar_dense.default\): test_faults.py:\d+ in"
)
class Reads(TinyPretext):
    def loss(self, features, views, step):
        result = result_of(self, features, views, step)
        return attrs.evolve(result, loss=result.loss * 2) if result.loss > 9 else result


@fault("pretext_task", "no-host-read", "has a shape that depends on values")
class BooleanIndex(TinyPretext):
    def loss(self, features, views, step):
        chosen = features[0].only.pooled[views[0].answers["turned"] > 0]
        return TaskResult(loss=self.head(chosen).sum())


@fault("pretext_task", "no-host-read", "found at least two devices, .*test_faults.py")
class WrongDevice(TinyPretext):
    def loss(self, features, views, step):
        result = result_of(self, features, views, step)
        return attrs.evolve(result, loss=result.loss + (features[0].only.pooled * torch.ones(8)).sum())


@fault("backbone", "no-graph-break", "the graph breaks", trial=Trial(compiles=True))
class Breaks(TinyBackbone):
    def forward(self, inputs):
        if inputs["image"].mean() > 2:
            return super().forward({"image": inputs["image"] / 2})
        return super().forward(inputs)


# Views


@fault("pretext_task", "views-keep-rows", r"view 0: `inputs` has image of \(4, 3, 32, 32\), expected 8 rows first")
class HalfOfTheRows(TinyPretext):
    def views(self, batch, draws):
        return TinyPretext.views(self, batch.take(slice(0, len(batch) // 2)), draws)


@fault("pretext_task", "views-keep-rows", r"`views` returned \(\), expected a tuple with at least one View")
class NoViews(TinyPretext):
    def views(self, batch, draws):
        return ()


@fault("pretext_task", "views-keep-rows", r"view 0: `answers` has turned of \(1,\), expected 8 rows first")
class OneAnswer(TinyPretext):
    def views(self, batch, draws):
        (view,) = TinyPretext.views(self, batch, draws)
        return (attrs.evolve(view, answers={"turned": view.answers["turned"][:1]}),)


@fault("pretext_task", "shared-view-keeps-its-shape", "a shared view is exactly one, it makes 2", view="shared")
class TwoViews(TinyPretext):
    def __init__(self, width):
        super().__init__(width, views=2)


@fault("pretext_task", "shared-view-keeps-its-shape", r"shows .*16, 16.*, expected .*32, 32", view="shared")
class Shrinks(TinyPretext):
    def views(self, batch, draws):
        return TinyPretext.views(self, attrs.evolve(batch, inputs={"image": batch.image[..., ::2, ::2]}), draws)


@fault("pretext_task", "views-have-images-in-range", "view 0: image is between .* and 2")
class TooBright(TinyPretext):
    def views(self, batch, draws):
        return TinyPretext.views(self, attrs.evolve(batch, inputs={"image": batch.image * 2}), draws)


@fault("pretext_task", "motion-is-right", r"view 0: the point at \(.*\) should move to")
class SaysStill(TinyPretext):
    def views(self, batch, draws):
        flips = draws.integers(len(batch), high=2).bool()
        return turned(batch, flips, motion=Motion.still(len(batch)))


@fault("pretext_task", "motion-is-right", r"should move to .*, the brightest pixel is at")
class OffByOne(TinyPretext):
    def views(self, batch, draws):
        flips = draws.integers(len(batch), high=2).bool()
        return turned(batch, flips, motion=self._motion(flips, batch.image.shape[2] + 1))


@fault("pretext_task", "motion-is-declared", "view 0 keeps no geometry", moves_pixels=False)
class Undeclared(TinyPretext):
    pass


@fault("pretext_task", "motion-is-declared", "view 0 moves", moves_pixels=False)
class UndeclaredMotion(TinyPretext):
    def __init__(self, width):
        super().__init__(width, motion=True)


@fault("pretext_task", "absent-rows-do-not-count", "counts 8 terms where half of the rows lack image")
class CountsAbsent(TinyPretext):
    pass


@fault("pretext_task", "pictures-can-be-shown", r"no images \[N, 3, H, W\] in \[0, 1\]: dark")
class OddPictures(TinyPretext):
    def picture(self, views, result):
        return {"dark": views[0].inputs["image"] - 1}


# Supervision


@fault("primary_task", "targets-are-known", r"`targets` is \('mood',\), expected a tuple of some of kind, marks, size")
class Unknown(TinyPrimary):
    def __init__(self, width, classes):
        super().__init__(width, classes, target="mood")


@fault("primary_task", "unlabelled-rows-do-not-count", "the loss depends on the labels of rows that have none")
class NoMask(TinyPrimary):
    def loss(self, features, batch, step):
        return TaskResult(loss=F.cross_entropy(self.head(features.only.pooled), batch.targets["kind"], reduction="sum"))


@fault("primary_task", "unlabelled-rows-do-not-count", "counts 8 terms where half of the rows have no label")
class CountsAll(TinyPrimary):
    def count(self, batch):
        return len(batch)


@fault("primary_task", "batch-without-labels", "the loss is nan over 0 terms, expected 0 over 0")
class MeanOfNone(TinyPrimary):
    def loss(self, features, batch, step):
        result = super().loss(features, batch, step)
        return attrs.evolve(result, loss=result.loss / batch.has("kind").sum())


@fault("primary_task", "predictions-row-by-row", "the first rows change with the others: probabilities")
class Relative(TinyPrimary):
    def predict(self, features):
        return {"probabilities": self.head(features.only.pooled - features.only.pooled.mean(0)).softmax(1)}


@fault("primary_task", "scores-are-sound", "unlabelled rows, or an earlier collection, change accuracy")
class ScoresAll(TinyPrimary):
    def update(self, metrics, features, batch):
        metrics.update(self.predict(features)["probabilities"], batch.targets["kind"])


@fault("primary_task", "linear-head-is-its-own", "`linear` returned Linear, expected an `nn.Linear` of the task")
class NewHead(TinyPrimary):
    def linear(self):
        return nn.Linear(8, 3)


@fault("primary_task", "description-is-json", "`describe` returned what is no JSON")
class Tensors(TinyPrimary):
    def describe(self):
        return {"weights": torch.ones(2)}


@fault("primary_task", "geometry-is-declared", "the task says needs_geometry=True, the provider False")
class Geometric(TinyPrimary):
    needs_geometry = True


# Backbones


@fault("backbone", "features-as-declared", r"image: `pooled` is \(8, 8\), declared \(8, 9\)")
class WrongWidth(TinyBackbone):
    def __init__(self):
        super().__init__()
        self.shapes = {"image": attrs.evolve(self.shapes["image"], pooled=9)}


@fault("backbone", "rows-do-not-mix", "the first rows change with the others: image/pooled")
class Centred(TinyBackbone):
    def forward(self, inputs):
        found = super().forward(inputs)["image"]
        return Features({"image": Feature(pooled=found.pooled - found.pooled.mean(0), maps=found.maps)})


@fault("backbone", "layers-name-every-parameter", "first.bias 0 times")
class Layers(TinyBackbone):
    def layers(self):
        return [[name for name, _ in self.named_parameters() if name != "first.bias"]]


@fault("backbone", "normalisation-is-described", r"`mean` is \(0.5,\), expected 3 floats")
class OneMean(TinyBackbone):
    mean, std = (0.5,), (0.5,)


@fault("backbone", "finite-on-plain-images", "not finite for black images")
class Standardises(TinyBackbone):
    def forward(self, inputs):
        image = inputs["image"]
        return super().forward({"image": image / image.std((1, 2, 3), keepdim=True)})


@fault("backbone", "can-be-copied", "`copy.deepcopy` raised TypeError")
class Uncopied(TinyBackbone):
    def __init__(self):
        super().__init__()
        self.open = (one for one in range(3))


# Augmentations


class Plain(Augmentation):
    def __init__(self):
        super().__init__()
        self.preprocess = Preprocess(size=32)

    def forward(self, inputs, draws):
        images = self.preprocess(inputs)
        return images, self.preprocess.motion(inputs["image"])


@fault("augmentation", "images-in-range", "in training, image is between 0 and 255")
class NotScaled(Plain):
    def forward(self, inputs, draws):
        images, motion = super().forward(inputs, draws)
        return {**images, "image": images["image"] * 255}, motion


VECTORS = {"image": InputShape(shape=(3, 32, 32)), "sound": InputShape(shape=(5,), dtype="float32", kind="feature")}


@fault("augmentation", "other-inputs-stay", "changed sound", trial=Trial(inputs=VECTORS))
class ImagesOnly(Plain):
    def forward(self, inputs, draws):
        images, motion = super().forward(inputs, draws)
        return {"image": images["image"]}, motion


@fault("augmentation", "motion-of-images-is-right", "in training, the point at")
class FlipsAndSaysStill(Plain):
    def forward(self, inputs, draws):
        images, motion = super().forward(inputs, draws)
        return {**images, "image": images["image"].flip(3)}, motion


@fault("augmentation", "evaluation-row-by-row", "the first rows of image change with the others")
class Levels(Plain):
    def evaluate(self, inputs):
        images = self.preprocess(inputs)["image"]
        return {"image": images / images.mean() / 9}


@fault("augmentation", "evaluation-row-by-row", "`preprocess` makes something else of image than `evaluate`")
class Darker(Plain):
    def evaluate(self, inputs):
        return {"image": self.preprocess(inputs)["image"] * 0.5}


# Balancers


class Sum(Balancer):
    def combine(self, losses, gram, step):
        total = torch.stack([loss * step.weights[key] for key, loss in losses.items()]).sum()
        return Balanced(total=total, weights={key: step.weights[key] for key in losses})


@fault("balancer", "total-is-a-scalar", "the total does not depend on b@b/0")
class LeavesOut(Sum):
    def combine(self, losses, gram, step):
        return super().combine(dict(list(losses.items())[:2]), gram, step)


@fault("balancer", "weights-are-told", "a@clean has weight 2 in the total, reported is 1")
class Doubles(Sum):
    def combine(self, losses, gram, step):
        found = super().combine(losses, gram, step)
        return attrs.evolve(found, total=found.total * 2)


class Steering(Sum):
    needs = "gradients"

    def steer(self, weights):
        return weights

    def combine(self, losses, gram, step):
        found = super().combine(losses, gram, step)
        return attrs.evolve(found, shared=self.steer(dict(found.weights)))


@fault(
    "balancer", "shared-is-told", "of the gradients of a@b/0, b@b/0, expected a@b/0, a@clean, b@b/0", needs="gradients"
)
class ForgetsFirst(Steering):
    def steer(self, weights):
        return dict(list(weights.items())[1:])


@fault("balancer", "shared-is-told", r"not finite \(weights of gradients\): a@clean", needs="gradients")
class DividesByZero(Steering):
    def steer(self, weights):
        return {key: torch.tensor(weight) / (key.view != "clean") for key, weight in weights.items()}


@fault("balancer", "shared-is-told", 'for which it needs "gradients", not "nothing"')
class SteersBlindly(Steering):
    needs = "nothing"


@fault("balancer", "balances-one-loss", "not finite: total")
class OfOthers(Sum):
    def combine(self, losses, gram, step):
        found = super().combine(losses, gram, step)
        return attrs.evolve(found, total=found.total / (len(losses) - 1))


@fault("balancer", "finite-on-zero-losses", r"not finite \(gradients\): a@clean")
class Logarithm(Sum):
    def combine(self, losses, gram, step):
        found = super().combine(losses, gram, step)
        return attrs.evolve(found, total=torch.stack([loss.sqrt() for loss in losses.values()]).sum())


@fault("balancer", "needs-are-declared", "the class says needs='losses', the provider 'nothing'")
class NeedsLosses(Sum):
    needs = "losses"


# Data


class Rows:
    """The rows of a source, with changes."""

    def __init__(self, source, split):
        self.rows, self.source, self.split = TinySource.dataset(source, split), source, split

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.source.item(self.rows[index], index)


class Source(TinySource):
    def __init__(self):
        super().__init__(rows=6, side=8)

    def dataset(self, split):
        return Rows(self, split)

    def item(self, item, index):
        return item


@fault("data_source", "splits-have-rows", "no rows in train, val, test")
class Empty(Source):
    def __init__(self):
        super().__init__()
        self.rows = 0


@fault("data_source", "items-as-declared", r"train/0: `image` has dtype torch.float32")
class FloatImages(Source):
    def item(self, item, index):
        return {**item, "image": item["image"].float()}


@fault("data_source", "items-as-declared", r"train/0: `kind` is 2; allowed: 0 to 1 \(dark, bright\)")
class ManyClasses(Source):
    def item(self, item, index):
        return {**item, "kind": 2}


@fault("data_source", "items-repeat", "train/0 differs when it is read again: ")
class Sequence(Source):
    seen = 0

    def item(self, item, index):
        Sequence.seen += 1
        return {**item, "image": item["image"] + self.seen}


@fault("data_source", "scored-rows-are-fixed", "train/0 differs when it is scored again: image")
class DrawsAlways(Source):
    def item(self, item, index):
        return {**item, "image": item["image"] + torch.randint(100, (), dtype=torch.uint8)}


@fault("data_source", "same-for-any-workers", "differs between no workers and two: 0/inputs/image")
class Worker(Source):
    def item(self, item, index):
        helped = torch.utils.data.get_worker_info() is not None
        return {**item, "image": item["image"] + 1 if helped else item["image"]}


@fault("data_source", "labels-agree-with-items", r"train/0: the item has kind 0, `labels` says 1")
class OtherLabels(Source):
    def labels(self, split, target):
        return [1 - self.label(index) for index in range(self.rows)]


class AtOnce(Rows):
    def __getitems__(self, indices):
        images = torch.stack([self[index]["image"] for index in reversed(indices)])
        return {"image": images, "kind": torch.tensor([self[index]["kind"] for index in indices])}


@fault("data_source", "reading-at-once-agrees", "train/0: image differs when many rows are read at once")
class Reversed(Source):
    def dataset(self, split):
        return AtOnce(self, split)


@fault("data_source", "names-are-unique", "names of several rows: row")
class OneName(Source):
    def name(self, split, index):
        return "row"


@fault("data_source", "groups-stay-together", "group somebody.*stands in train")
class Leaks(Source):
    def groups(self, split):
        return ["somebody"] * self.rows


@fault(
    "data_source",
    "description-agrees",
    r"describes kind as \('dark',\), the source has \('dark', 'bright'\)",
    describe=lambda params: DataFacts(targets={"kind": ("dark",)}),
)
class Misdescribed(Source):
    pass


@fault("data_source", "fingerprint-repeats", "is '")
class Changing(Source):
    def fingerprint(self):
        return str(id(self))


@fault("data_source", "datasets-travel-to-workers", "train: ")
class Unpickled(Source):
    def __init__(self):
        super().__init__()
        self.change = lambda item: item


@fault("data_source", "resizing-keeps-rows", "resized to 16 px, the form says")
class SameSize(Source):
    def resized(self, size):
        return Source()


@pytest.mark.parametrize(("found", "check", "message", "trial"), FAULTS)
def test_the_fault_is_found(found, check, message, trial):
    asked = next(one for one in checks_of(found.kind) if one.id == check)
    with on_trial(found, trial=trial) as subject:
        result = run_check(asked, subject)
    assert result.status == "failed"
    assert re.search(message, result.message), result.message
    assert result.reason
    assert result.fix or (result.traceback and re.search(r" \(testing/test_faults.py, line \d+\)$", result.message))


def test_every_check_has_a_planted_fault():
    planted = {param.values[1] for param in FAULTS} | {"import-without-torch"}
    assert {check.id for kind in KINDS for check in checks_of(kind)} == planted


def test_a_module_that_imports_torch_is_found(tmp_path, monkeypatch):
    (tmp_path / "heavy_plugin.py").write_text("import torch\n\ndef build(params, context): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import heavy_plugin

    provider = Provider(name="heavy", summary="Heavy.", build=heavy_plugin.build)
    found = Found(kind="preset", provider=provider, distribution="", version="", entry_point="", file="")
    with on_trial(found) as subject:
        result = run_check(next(one for one in checks_of("preset") if one.id == "import-without-torch"), subject)
    assert (result.status, result.message) == ("failed", "`import heavy_plugin` loads torch")
