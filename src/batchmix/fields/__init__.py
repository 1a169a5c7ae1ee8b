"""Fields say what a part of the batch is, and so what a plan does to it."""

from batchmix.fields._field import Field, Keep
from batchmix.fields.detection import BoundingBoxes, Instances, Keypoints
from batchmix.fields.grids import Features, Grid, Ids, Image, Mask, Video
from batchmix.fields.labels import Labels, Targets
from batchmix.fields.padding import PaddingMask
from batchmix.fields.segmentation import SoftMask
from batchmix.fields.sound import Audio

__all__ = [
    "Audio",
    "BoundingBoxes",
    "Features",
    "Field",
    "Grid",
    "Ids",
    "Image",
    "Instances",
    "Keep",
    "Keypoints",
    "Labels",
    "Mask",
    "PaddingMask",
    "SoftMask",
    "Targets",
    "Video",
]
