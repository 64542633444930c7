"""From a person, an expression and a pose to an image: deformation, light, background."""

import attrs
import numpy as np
from PIL import Image

from auxlearn_synthfaces.archive import Images
from auxlearn_synthfaces.generate.expressions import Expression, FaceUnits
from auxlearn_synthfaces.generate.geometry import FACE, PIVOT, project, rotation, vertex_normals
from auxlearn_synthfaces.generate.mesh import REGIONS, Floats, HeadMesh, Ints
from auxlearn_synthfaces.generate.paint import MASKS, hair_cover, linear, paint
from auxlearn_synthfaces.generate.people import Person
from auxlearn_synthfaces.generate.raster import rasterise

__all__ = ["Pose", "Setting", "deform", "draw_pose", "draw_setting", "render"]

_SUPERSAMPLE = 3  # samples along each side of a pixel
_BEHIND = {"teeth": 0.12, "tongue": 0.22}  # pushed back, so that they show through the mouth only


@attrs.frozen(kw_only=True)
class Pose:
    """Head pose in degrees, in the convention of 300W-LP (see ``geometry``)."""

    yaw: float
    pitch: float
    roll: float


@attrs.frozen(kw_only=True, eq=False)
class Setting:
    """Camera, light and background of one image; lengths in mesh units, colours linear."""

    distance: float
    span: float
    shift: Floats
    key: Floats
    key_colour: Floats
    ambient: float
    background: Floats
    contrast: float


def draw_pose(random: np.random.Generator) -> Pose:
    """Draw a head pose: normal with standard deviations 28, 14 and 10 degrees, clipped to 75, 40 and 30."""
    draws = random.normal(0, 1, 3) * [28, 14, 10]
    yaw, pitch, roll = (round(float(value), 2) for value in np.clip(draws, [-75, -40, -30], [75, 40, 30]))
    return Pose(yaw=yaw, pitch=pitch, roll=roll)


def draw_setting(random: np.random.Generator) -> Setting:
    """Draw camera, light and background."""
    azimuth, height = np.radians([random.uniform(-60, 60), random.uniform(0, 55)])
    key = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    warmth = random.uniform(-0.12, 0.12)
    cells = random.integers(2, 6)
    grey = random.uniform(0.1, 0.9)
    tint = linear(np.clip(grey + random.normal(0, 0.12, 3), 0.02, 0.98))
    background = tint * random.uniform(0.35, 1.6, (cells, cells, 1)) * random.uniform(0.75, 1.25, (cells, cells, 3))
    return Setting(
        distance=random.uniform(7, 14),
        span=random.uniform(1.75, 2.15),
        shift=random.normal(0, 0.045, 2).astype(np.float32),
        key=key.astype(np.float32),
        key_colour=(random.uniform(0.75, 1.1) * np.array([1 + warmth, 1, 1 - warmth])).astype(np.float32),
        ambient=random.uniform(0.25, 0.5),
        background=np.clip(background, 0, 1).astype(np.float32),
        contrast=random.uniform(0.88, 1.15),
    )


def deform(mesh: HeadMesh, units: FaceUnits, person: Person, expression: Expression) -> Floats:
    """Vertices [V, 3] of a person's head with an expression, the eyes turned and the hair grown."""
    points = person.points.copy()
    for name, weight in expression.weights.items():
        points += np.float32(weight) * units.moves[units.names.index(name)]
    left, up = np.radians(expression.gaze)
    about_x = np.array([[1, 0, 0], [0, np.cos(up), np.sin(up)], [0, -np.sin(up), np.cos(up)]])
    about_y = np.array([[np.cos(left), 0, np.sin(left)], [0, 1, 0], [-np.sin(left), 0, np.cos(left)]])
    turn = (about_y @ about_x).astype(np.float32)
    for eye in mesh.eyes:
        centre = points[eye].mean(0)
        points[eye] = (points[eye] - centre) @ turn.T + centre
    body = mesh.region == REGIONS.index("body")
    scalp = np.clip(hair_cover(mesh.rest, person.look) / 0.18, 0, 1) * person.look.hair_volume
    scalp[np.unique(mesh.triangles[~body])] = 0
    scalp *= 1 - mesh.masks["ears"]
    return points + scalp[:, None] * vertex_normals(points, mesh.triangles[body])


def _visible_triangles(mesh: HeadMesh, person: Person) -> Ints:
    """Indices of the triangles that a person has: of the long hair, only what hangs behind the face."""
    corners = mesh.rest[mesh.triangles]
    length = person.look.hair_length
    strand = (corners[..., 2].max(1) < 0.95) & (corners[..., 1].max(1) > (np.inf if length is None else length))
    return np.flatnonzero((mesh.region != REGIONS.index("hair")) | strand)


def _creases(points: Floats, triangles: Ints, normals: Floats) -> Floats:
    """Shade in [0, 1] of each vertex from the surface around it: dark in folds, which stands in for occlusion."""
    ahead = np.roll(triangles, -1, axis=1)
    source, other = triangles.ravel(), ahead.ravel()
    edge = points[other] - points[source]
    rise = (edge * normals[source]).sum(1) / np.maximum(np.linalg.norm(edge, axis=1), 1e-9)
    count = np.maximum(np.bincount(source, minlength=len(points)), 1)
    concave = np.bincount(source, rise, minlength=len(points)) / count
    return np.clip(1 - 1.6 * np.maximum(concave, 0), 0.35, 1).astype(np.float32)


def _illuminate(normal: Floats, shade: Floats, colour: Floats, gloss: Floats, setting: Setting) -> Floats:
    """Lambert's law for a key light and a hemisphere of ambient light, and Blinn's highlight; all linear."""
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    diffuse = np.clip(normal @ setting.key, 0, 1)
    wrapped = 0.8 * diffuse + 0.2 * np.clip(0.5 + 0.5 * (normal @ setting.key), 0, 1)
    sky = setting.ambient * (0.75 + 0.25 * normal[:, 1])
    half = setting.key + np.array([0, 0, 1], np.float32)
    highlight = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 25 * gloss
    light = wrapped[:, None] * setting.key_colour + sky[:, None]
    result: Floats = (colour * light + highlight[:, None] * setting.key_colour) * shade[:, None]
    return result


def _backdrop(setting: Setting, resolution: int) -> Floats:
    """The background, a smooth pattern [resolution * resolution, 3]."""
    channels = [
        Image.fromarray(setting.background[..., channel]).resize((resolution, resolution), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1).reshape(-1, 3)


def render(
    mesh: HeadMesh, units: FaceUnits, person: Person, expression: Expression, *, pose: Pose, setting: Setting, size: int
) -> Images:
    """Render one image, uint8 RGB [size, size, 3]."""
    own = _visible_triangles(mesh, person)
    triangles = mesh.triangles[own]
    region = mesh.region[own]
    turn = rotation(pose.yaw, pose.pitch, pose.roll)
    points = (deform(mesh, units, person, expression) - PIVOT) @ turn.T
    normals = vertex_normals(points, triangles)
    shade = _creases(points, triangles, normals)
    centre = turn @ (FACE - PIVOT) + np.append(setting.shift, 0).astype(np.float32)
    projected = project(points, setting.distance, setting.span, centre)
    for name, depth in _BEHIND.items():
        projected[np.unique(triangles[region == REGIONS.index(name)]), 2] += depth
    resolution = size * _SUPERSAMPLE
    two_sided = np.isin(region, [REGIONS.index("lash"), REGIONS.index("hair")])
    seen = rasterise(projected, triangles, two_sided, resolution)
    masks = np.stack([mesh.masks[name] for name in MASKS], axis=1)
    values = seen.interpolate(np.concatenate([normals, shade[:, None], mesh.rest, masks], axis=1), triangles)
    normal, surface_shade, rest, membership = np.split(values, [3, 4, 7], axis=1)
    material = paint(mesh, own[seen.triangle], rest, membership, person.look)
    image = _backdrop(setting, resolution).copy()
    back = two_sided[seen.triangle] & (normal[:, 2] < 0)
    normal = np.where(back[:, None], -normal, normal)
    image[seen.sample] = _illuminate(normal, surface_shade[:, 0], material.colour, material.gloss, setting)
    pixels = image.reshape(size, _SUPERSAMPLE, size, _SUPERSAMPLE, 3).mean(axis=(1, 3))
    encoded = np.clip(pixels, 0, 1) ** (1 / 2.2)
    result: Images = np.rint(np.clip(0.5 + (encoded - 0.5) * setting.contrast, 0, 1) * 255).astype(np.uint8)
    return result
