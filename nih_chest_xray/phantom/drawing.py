"""Synthetic frontal chest radiographs ("phantoms") drawn by code from a seed.

A phantom shows nothing of any real patient. It is built the way a radiograph is: every structure
adds to, or takes from, the attenuation along the beam, and a film curve turns the sum into grey
levels. Shapes are in millimetres of a grown man, relative to the tracheal bifurcation: x towards
the patient's left, y towards the feet. Equal arguments give equal arrays, in any process.
"""

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist

import cv2
import numpy as np

SIZE = 1024  # pixels, side of the finished image
CANVAS = SIZE // 2  # pixels, side of the canvas for smooth parts
SHIFT = 4  # fractional bits of the coordinates passed to cv2
SIDES = (-1, 1)  # the patient's right and left, as the sign of x
CARINA = 0.36  # height of the tracheal bifurcation, as a share of the lungs' height
VERTEBRA = 23.0  # mm, from one disc to the next
RIBS = 10  # pairs that are drawn
TRIES = 20_000  # positions tried for nodules before giving up
Spacing = tuple[float, float]  # mm per pixel of the finished image, in x and y
Nodules = tuple["Nodule", ...]
# Attenuation; the film curve takes about 1.4 for mid-grey. AIR is the share that a lung takes away.
BODY, AIR, HEART, VESSEL_COLUMN, BONE, BLOOD = 2.3, 0.76, 0.30, 0.42, 0.46, 0.42
# Lung outline: across as a share of half the chest's width, down as a share of the lungs' height.
LUNG_OUTLINE = np.array((
    (0.17, 0.07), (0.30, 0.0), (0.50, 0.01), (0.71, 0.11), (0.87, 0.33), (0.95, 0.60),
    (0.99, 0.85), (0.985, 1.03), (0.965, 1.075), (0.88, 1.01), (0.68, 0.955), (0.44, 0.96),
    (0.18, 1.00), (0.14, 0.85), (0.13, 0.6), (0.16, 0.4), (0.15, 0.22),
))  # fmt: skip
# Heart outline: across as a share of the heart's width, down as a share of the lungs' height.
HEART_OUTLINE = np.array((
    (-0.15, 0.36), (-0.27, 0.58), (-0.33, 0.75), (-0.30, 0.92), (0.0, 1.08), (0.40, 1.06),
    (0.62, 0.98), (0.66, 0.90), (0.59, 0.76), (0.43, 0.58), (0.29, 0.45), (0.20, 0.37),
))  # fmt: skip
# Film noise in grey levels for each random byte: a table is much faster than normal deviates.
GRAIN = np.array([NormalDist(0, 1.0).inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
# Widths in canvas pixels and strengths of the lung vessels, from the hilum outwards.
BRANCHES = ((8, 0.55), (6, 0.55), (4, 0.6), (2, 0.6), (1, 0.55), (1, 0.3))
# Strokes of the side markers in pixels: 'R' and 'L'.
MARKS = ((0, 50, 0, 0, 24, 0, 32, 12, 24, 24, 0, 24, 32, 50), (0, 0, 0, 50, 30, 50))


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What stays the same in all radiographs of one patient: build, skeleton and heart."""

    seed: int
    scale: float  # 1 is a grown man; the lengths below are those of a grown man
    half_width: float  # mm, from the spine to the inner chest wall
    lung_height: float  # mm, from apex to diaphragm in full inspiration
    heart_ratio: float  # the heart's width over the chest's
    fat: float  # mm, between ribs and skin
    rib_slope: float  # 1 is usual
    spine_curve: float  # mm, sideways
    knob: float  # mm, radius of the aortic knob
    dome: float  # how far the diaphragm bulges, 1 is usual
    breast: float  # mm, radius, 0 if not seen
    arm: float  # mm that an arm leads outwards for each mm down


@dataclasses.dataclass(frozen=True)
class Nodule:
    """A round opacity in a lung."""

    x: float  # centre, pixels of the 1024 x 1024 image
    y: float
    diameter: float  # mm
    contrast: float  # attenuation at the centre
    lobes: float  # how far the outline departs from a circle, as a share of the radius
    phase: float  # radians, where the lobes point


@dataclasses.dataclass(frozen=True)
class _Scene:
    """The body as one view shows it, and where it lies on the film."""

    body: Anatomy
    matrix: np.ndarray  # pixels per mm, 2 x 2
    origin: np.ndarray  # pixels

    def px(self, points: Sequence | np.ndarray) -> np.ndarray:
        """Return points in mm as pixels of the finished image."""
        points = np.array(points, np.float64)
        points[:, 0] += self.body.spine_curve * np.sin(points[:, 1] / 90.0)
        return points @ self.matrix.T + self.origin

    def fixed(self, points: Sequence | np.ndarray) -> np.ndarray:
        """Return points in mm as the canvas's fixed-point coordinates that cv2 draws with."""
        points = (self.px(points) + 0.5) * (CANVAS / SIZE) - 0.5
        return np.rint(points * (1 << SHIFT)).astype(np.int32)

    def fill(self, soft: float, *outlines: Sequence | np.ndarray) -> np.ndarray:
        """Return filled outlines, 0 to 1, with their edges blurred by `soft` canvas pixels."""
        mask = np.zeros((CANVAS, CANVAS), np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [self.fixed(outline)], 255, cv2.LINE_AA, SHIFT)
        return _blur(mask, soft).astype(np.float32) / np.float32(255)

    def band(
        self, layer: np.ndarray, path: Sequence | np.ndarray, width: tuple[int, int], fill: int, edge: int
    ) -> None:
        """Draw a band along a path, its edges in another shade; widths are the first and last."""
        line = _smooth(path)
        along = np.gradient(line, axis=0)
        half = np.linspace(width[0], width[1], len(line)) / 2 / np.hypot(*along.T)
        offset = along[:, ::-1] * (-1, 1) * half[:, None]
        ring = self.fixed(np.vstack([line + offset, (line - offset)[::-1]]))
        cv2.fillPoly(layer, [ring], fill, cv2.LINE_AA, SHIFT)
        cv2.polylines(layer, np.split(ring, 2), False, edge, 1, cv2.LINE_AA, SHIFT)


def draw_anatomy(seed: int, sex: str, age: int) -> Anatomy:
    """Draw the anatomy of a patient."""
    rng = np.random.RandomState(seed)
    female, years = sex == "F", min(age, 90) / 90
    growth = float(np.interp(age, (0, 4, 12, 18), (0.5, 0.62, 0.85, 1.0)))
    return Anatomy(
        seed=seed, scale=growth * (0.93 if female else 1.0),
        half_width=rng.uniform(150, 166), lung_height=rng.uniform(225, 275),
        heart_ratio=rng.uniform(0.38, 0.46) + 0.06 * years, fat=16 + 26 * rng.beta(1.5, 3),
        rib_slope=rng.uniform(0.7, 1.3), spine_curve=rng.normal(0, 2.5),
        knob=rng.uniform(12, 16) + 6 * years, dome=rng.uniform(0.6, 1.4),
        breast=rng.uniform(58, 88) if female and age > 13 else 0.0, arm=rng.uniform(0.03, 0.42),
    )  # fmt: skip


def _scene(body: Anatomy, view: str, spacing: Spacing) -> _Scene:
    """Place the body on the film; the nodules need the same position, so no image seed is used."""
    rng = np.random.RandomState([body.seed, view == "AP", round(spacing[0] * 1e5)])
    if view == "AP":  # taken lying down: the heart is nearer the tube and the lungs are less full
        height, ratio = body.lung_height * rng.uniform(0.78, 0.94), body.heart_ratio * 1.15
        body = dataclasses.replace(body, lung_height=height, heart_ratio=ratio)
    tilt = math.radians(rng.normal(0, 1.2 if view == "PA" else 2.4))
    cos, sin = math.cos(tilt) * body.scale, math.sin(tilt) * body.scale
    matrix = np.array(((cos, -sin), (sin, cos))) / np.array(spacing)[:, None]
    middle = (0.53 - CARINA) * body.lung_height * body.scale / spacing[1]
    origin = (SIZE / 2 + rng.normal(0, 14), SIZE * rng.uniform(0.40, 0.47) - middle)
    return _Scene(body, matrix, np.array(origin))


def _smooth(points: Sequence | np.ndarray, closed: bool = False, steps: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through the points."""
    p = np.asarray(points, np.float64)
    p = np.vstack([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = (np.arange(steps) / steps)[:, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.vstack([curve.reshape(-1, 2), p[:0] if closed else p[-1:]])


def _ellipse(x: float, y: float, across: float, down: float) -> np.ndarray:
    """Return the outline of an ellipse with these radii."""
    angle = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    return np.column_stack([x + across * np.cos(angle), y + down * np.sin(angle)])


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian; wide ones are made on a small copy, for speed."""
    if sigma < 4:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_CUBIC)


def _cloud(rng: np.random.RandomState, cells: int) -> np.ndarray:
    """Return smooth random mottling, about -1 to 1, with `cells` cells across."""
    grid = np.frombuffer(rng.bytes(cells * cells), np.uint8).reshape(cells, cells)
    return cv2.resize(np.float32(grid / 127.5 - 1), (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)


def _lung(body: Anatomy, side: int) -> np.ndarray:
    """Return one lung's outline in mm; the right diaphragm stands a little higher."""
    outline = LUNG_OUTLINE * (side * body.half_width, 1)
    low = outline[:, 1] > 0.95
    outline[low, 1] = 1.02 + (outline[low, 1] - 1.02) * body.dome + 0.025 * side
    return _smooth((outline - (0, CARINA)) * (1, body.lung_height), closed=True)


def _heart(body: Anatomy) -> np.ndarray:
    """Return the heart's outline in mm."""
    scale = (2 * body.half_width * body.heart_ratio, body.lung_height)
    return _smooth((HEART_OUTLINE - (0, CARINA)) * scale, closed=True)


def _trunk(scene: _Scene) -> np.ndarray:
    """Return the attenuation of neck, trunk and arms, as if there were no air in them."""
    body, h = scene.body, scene.body.lung_height
    flank = body.half_width + body.fat
    half = [(62, -1.4 * h), (60, -0.68 * h), (76, -0.58 * h), (125, -0.51 * h), (176, -0.45 * h),
            (205, -0.33 * h), (212, -0.12 * h), (flank + 8, 0.14 * h), (flank, 0.4 * h),
            (flank + 8, 1.9 * h)]  # fmt: skip
    trunk = scene.fill(1.5, np.vstack([_smooth(half), _smooth(half)[::-1] * (-1, 1)]))
    level = scene.px([(0, share * h) for share in np.linspace(-0.45, 0.9, 8)])[:, 1] / 2
    depth = np.interp(np.arange(CANVAS), level, (0.66, 0.74, 0.83, 0.92, 0.97, 1.0, 1.18, 1.25))
    depth = trunk * (0.35 + 0.65 * _blur(trunk, 28.0)) * depth[:, None].astype(np.float32)
    for side in SIDES:
        path = _smooth([(150, -0.24 * h), (178, -0.1 * h), (184 + 420 * body.arm, 420)])
        across = (34 + 0.5 * body.fat, 0)
        arm = scene.fill(1.5, np.vstack([path - across, (path + across)[::-1]]) * (side, 1))
        depth = np.maximum(depth, arm * (0.3 + 0.7 * _blur(arm, 12.0)) * np.float32(0.66))
    return depth * np.float32(BODY)


def _organs(scene: _Scene, rng: np.random.RandomState) -> np.ndarray:
    """Return the attenuation of great vessels, breasts and, on some films, air in the stomach."""
    body, w, h = scene.body, scene.body.half_width, scene.body.lung_height
    column = [(-30, -h), (30, -h), (36, 0.1 * h), (50, 0.7 * h), (-44, 0.7 * h), (-38, 0.05 * h)]
    depth = scene.fill(11.0, column) * np.float32(VESSEL_COLUMN)
    for side in SIDES if body.breast else ():
        r, x, y = body.breast, side * 0.62 * w, 0.70 * h - 0.6 * body.breast
        fade = scene.fill(16.0, _ellipse(x, y + 0.45 * r, r, r))
        depth += fade * scene.fill(1.6, _ellipse(x, y, 1.05 * r, r)) * np.float32(0.55)
    if rng.rand() < 0.5:
        x, y = w * rng.uniform(0.42, 0.62), h * (1.13 - CARINA) + rng.uniform(4, 12)
        bubble = scene.fill(2.5, _ellipse(x, y, rng.uniform(18, 40), rng.uniform(11, 20)))
        depth -= bubble * (1 + 0.4 * _cloud(rng, 24)) * np.float32(rng.uniform(0.6, 1.3))
    return depth


def _ribs(scene: _Scene, rng: np.random.RandomState) -> np.ndarray:
    """Return the attenuation of the ribs: posterior parts, and fainter anterior ones."""
    back, front = np.zeros((2, CANVAS, CANVAS), np.uint8)
    body, h = scene.body, scene.body.lung_height
    for side in SIDES:
        for index in range(RIBS):
            y = h * (0.03 + index / 9.0 - CARINA) + rng.normal(0, 1.2)
            drop = body.rib_slope * (20 + 4 * index)
            reach = np.interp((y + drop) / h + CARINA, LUNG_OUTLINE[1:8, 1], LUNG_OUTLINE[1:8, 0])
            x = side * (reach + 0.015) * body.half_width
            path = [(side * 14, y), (0.34 * x, y - 6), (0.66 * x, y + 0.12 * drop),
                    (0.91 * x, y + 0.46 * drop), (x, y + drop), (0.96 * x, y + 1.5 * drop),
                    (0.80 * x, y + 2.0 * drop), (0.56 * x, y + 2.4 * drop)]  # fmt: skip
            scene.band(back, path[:5], (13, 7), 120, 250)
            scene.band(front, path[4:], (7, 16), 75, 150)
    return _blur((back.astype(np.float32) + front) * np.float32(BONE / 255), 0.9)


def _girdle(scene: _Scene) -> np.ndarray:
    """Return the attenuation of clavicles, shoulder blades and upper arm bones."""
    bones, blades = np.zeros((2, CANVAS, CANVAS), np.uint8)
    body, w, top = scene.body, scene.body.half_width, -CARINA * scene.body.lung_height
    for side in SIDES:
        blade = [(0.78 * w, top + 8), (0.80 * w, top + 60), (0.96 * w, top + 135),
                 (1.02 * w, top + 110), (1.06 * w, top + 58), (1.08 * w, top + 8)]  # fmt: skip
        outline = scene.fixed(_smooth(blade, closed=True) * (side, 1))
        cv2.fillPoly(blades, [outline], 55, cv2.LINE_AA, SHIFT)
        cv2.polylines(blades, [outline], True, 190, 1, cv2.LINE_AA, SHIFT)
        humerus = [(180, top + 24), (186, top + 80), (186 + 320 * body.arm, 320)]
        scene.band(bones, np.array(humerus) * (side, 1), (34, 22), 130, 250)
        head = _ellipse(side * 178, top + 26, 23, 25)
        cv2.fillPoly(bones, [scene.fixed(head)], 150, cv2.LINE_AA, SHIFT)
        clavicle = [(14, top + 46), (50, top + 38), (98, top + 14), (140, top + 2), (172, top + 6)]
        scene.band(bones, np.array(clavicle) * (side, 1), (16, 11), 140, 250)
    return _blur((bones.astype(np.float32) + blades) * np.float32(1.15 * BONE / 255), 1.0)


def _spine(scene: _Scene) -> np.ndarray:
    """Return the attenuation of the spine, less that of the air in the windpipe."""
    bones, pipes = np.zeros((2, CANVAS, CANVAS), np.uint8)
    block = np.array([(-17, -9), (17, -9), (19, 9), (-19, 9)])
    segments = [scene.fixed(block + np.array((0, y))) for y in np.arange(-12, 13) * VERTEBRA]
    cv2.fillPoly(bones, segments, 140, cv2.LINE_AA, SHIFT)
    scene.band(pipes, [(0, -400), (1, -60), (3, 2)], (15, 18), 255, 255)
    depth = _blur(bones.astype(np.float32), 1.8) * np.float32(BONE / 255)
    return depth - _blur(pipes.astype(np.float32), 2.2) * np.float32(0.40 / 255)


def _vessels(scene: _Scene, rng: np.random.RandomState) -> np.ndarray:
    """Return the attenuation of the lung vessels, which branch and fade from the hila outwards."""
    layer = np.zeros((CANVAS, CANVAS), np.uint8)
    for side in SIDES:
        angle = np.linspace(-1.4, 1.5, 10)
        place = np.column_stack([rng.uniform(32, 44, 10), 22 + 20 * angle])
        for depth, (thick, strength) in enumerate(BRANCHES):
            angle = angle + rng.normal(0, 0.17, len(angle))
            length = rng.uniform(15, 29, len(angle)) * 0.93**depth
            end = place + (length * (np.cos(angle), np.sin(angle))).T
            ends = scene.fixed(np.hstack([place, end]).reshape(-1, 2) * (side, 1))
            part = np.zeros_like(layer)
            cv2.polylines(part, list(ends.reshape(-1, 2, 2)), False, 255 * strength, thick, cv2.LINE_AA, SHIFT)
            layer = np.maximum(layer, part)
            fork = rng.uniform(0.2, 0.55, len(angle))
            angle = np.concatenate([angle - fork, angle + 0.7 * fork])
            place = np.concatenate([end, end])
    layer = _blur(layer, 0.8).astype(np.float32) + 0.5 * _blur(layer, 8.0).astype(np.float32)
    return layer * np.float32(BLOOD * rng.uniform(0.75, 1.2) / 255)


def _haze(scene: _Scene, rng: np.random.RandomState) -> np.ndarray:
    """Return the attenuation of a diffuse finding: a patchy infiltrate, or fluid at a base."""
    side, w, h = rng.choice(SIDES), scene.body.half_width, scene.body.lung_height
    if rng.rand() < 0.5:
        y = h * rng.uniform(0.30, 0.50)
        fluid = [(0, y + 18), (0.5 * w, y + 14), (0.9 * w, y - 18), (1.1 * w, y - 45), (0.9 * w, h)]
        return scene.fill(7.0, np.array(fluid) * (side, 1)) * np.float32(1.05)
    x, y = side * w * rng.uniform(0.45, 0.65), h * rng.uniform(0.05, 0.4)
    patch = scene.fill(22.0, _ellipse(x, y, 0.42 * w, rng.uniform(35, 60)))
    return patch * (0.55 + 0.2 * _cloud(rng, 26) + 0.14 * _cloud(rng, 70))


def draw_nodules(anatomy: Anatomy, view: str, spacing: Spacing, seed: int, count: int) -> Nodules:
    """Draw nodules that lie inside the lungs, clear of heart, spine and one another."""
    rng = np.random.RandomState(seed)
    scene = _scene(anatomy, view, spacing)
    lungs = [scene.px(_lung(scene.body, side)).astype(np.float32) for side in SIDES]
    heart = scene.px(_heart(scene.body)).astype(np.float32)
    nodules: list[Nodule] = []
    for _ in range(TRIES):
        if len(nodules) == count:
            break
        diameter = 5 + 25 * rng.beta(2.2, 2.8)
        radius = diameter / 2 / min(spacing)
        lung = lungs[rng.randint(2)]
        x, y = (float(v) for v in rng.uniform(lung.min(axis=0), lung.max(axis=0)))
        gaps = [math.hypot(x - n.x, y - n.y) - n.diameter / 2 / min(spacing) for n in nodules]
        inside = cv2.pointPolygonTest(lung, (x, y), True) > 1.2 * radius
        outside = cv2.pointPolygonTest(heart, (x, y), True) < -0.8 * radius
        if inside and outside and min(gaps, default=SIZE) > 1.5 * radius:
            contrast = rng.uniform(0.70, 1.15) + 0.5 * max(0.0, 1 - diameter / 15)
            lobes, phase = rng.uniform(0, 0.12), rng.uniform(0, 2 * math.pi)
            nodules.append(Nodule(x, y, diameter, contrast, lobes, phase))
    return tuple(nodules)


def _radius(nodule: Nodule, angle: np.ndarray) -> np.ndarray:
    """Return the distance in mm from a nodule's centre to its outline."""
    wave = 0.7 * np.cos(2 * angle + nodule.phase) + 0.3 * np.cos(3 * angle - 2 * nodule.phase)
    return nodule.diameter / 2 * (1 + nodule.lobes * wave)


def nodule_box(nodule: Nodule, spacing: Spacing) -> tuple[float, float, float, float]:
    """Return x, y, width and height in pixels, from the first pixel's corner, not its centre."""
    angle = np.linspace(0, 2 * math.pi, 181)
    across = nodule.x + 0.5 + _radius(nodule, angle) * np.cos(angle) / spacing[0]
    down = nodule.y + 0.5 + _radius(nodule, angle) * np.sin(angle) / spacing[1]
    return float(across.min()), float(down.min()), float(np.ptp(across)), float(np.ptp(down))


def _add_nodule(depth: np.ndarray, nodule: Nodule, spacing: Spacing) -> None:
    """Add a nodule's attenuation: nearly that of a ball, so it is soft at the edge."""
    pixels = (np.arange(CANVAS) + 0.5) * (SIZE / CANVAS) - 0.5
    dx, dy = (pixels - nodule.x) * spacing[0], (pixels - nodule.y) * spacing[1]
    columns = np.flatnonzero(np.abs(dx) < 0.6 * nodule.diameter)
    rows = np.flatnonzero(np.abs(dy) < 0.6 * nodule.diameter)[:, None]
    share = np.hypot(dx[columns], dy[rows]) / _radius(nodule, np.arctan2(dy[rows], dx[columns]))
    depth[rows, columns] += nodule.contrast * np.clip(1 - share**2, 0, 1) ** 0.8


def _film(depth: np.ndarray, view: str, rng: np.random.RandomState) -> np.ndarray:
    """Turn attenuation into grey levels: film curve, this exposure's contrast, film noise."""
    wide, shift = (1.2, (10, -14)) if view == "AP" else (1.0, (0, 0))
    middle, width = rng.normal(1.38, 0.11), rng.uniform(0.42, 0.56) * wide
    black, white = rng.uniform((0, 228), (22, 250)) + shift
    depth = (depth - np.float32(middle)) / np.float32(width)
    image = np.float32(black) + np.float32(white - black) / (1 + np.exp(-depth))
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    grain = np.frombuffer(rng.bytes(SIZE * SIZE), np.uint8).reshape(SIZE, SIZE)
    return cv2.add(image, cv2.LUT(grain, GRAIN), dtype=cv2.CV_8U)


def _label(image: np.ndarray, view: str, rng: np.random.RandomState) -> None:
    """Draw objects other than the patient on some films: leads, side marker, collimator's edge."""
    leads = np.zeros_like(image)
    for _ in range(rng.randint(1, 4) if view == "AP" and rng.rand() < 0.6 else 0):
        lead = _smooth(rng.uniform(-0.1, 1.1, (3, 2)) * SIZE, steps=24).astype(np.int32)
        cv2.polylines(leads, [lead], False, 26, 2, cv2.LINE_AA)
    cv2.add(image, leads, dst=image)
    if rng.rand() < 0.7:
        left = rng.randint(2)
        corner = (SIZE - 95 if left else 45, rng.randint(40, 130))
        strokes = np.reshape(MARKS[left], (-1, 2)) * rng.uniform(0.7, 1.1) + corner
        cv2.polylines(image, [strokes.astype(np.int32)], False, 248, 8, cv2.LINE_AA)
    for _ in range(rng.randint(1, 3) if rng.rand() < 0.3 else 0):
        np.rot90(image, rng.randint(4))[: rng.randint(6, 36)] = rng.choice((4, 244))


def draw_radiograph(
    anatomy: Anatomy, view: str, spacing: Spacing, nodules: Nodules, seed: int, haze: bool = False
) -> np.ndarray:
    """Draw a radiograph of 1024 x 1024 grey levels; the view is 'PA' or 'AP'."""
    rng = np.random.RandomState(seed)
    scene = _scene(anatomy, view, spacing)
    body = scene.body
    knob = _ellipse(0.14 * body.half_width, -0.09 * body.lung_height, body.knob, 1.3 * body.knob)
    heart = scene.fill(2.0, _heart(body), knob)
    lungs = scene.fill(1.0, *(_lung(body, side) for side in SIDES)) * (1 - np.float32(0.75) * heart)
    inside = 0.05 * _cloud(rng, 9) + 0.03 * _cloud(rng, 60) + 0.03 * _cloud(rng, 180)
    inside += _vessels(scene, rng) + (_haze(scene, rng) if haze else 0)
    depth = _trunk(scene) * (1 - np.float32(AIR) * lungs * (0.45 + 0.55 * _blur(lungs, 20.0)))
    depth += inside * lungs + np.float32(HEART) * heart + _organs(scene, rng)
    depth += _ribs(scene, rng) + _girdle(scene) + _spine(scene)
    for nodule in nodules:
        _add_nodule(depth, nodule, spacing)
    image = _film(depth, view, rng)
    _label(image, view, rng)
    return image
