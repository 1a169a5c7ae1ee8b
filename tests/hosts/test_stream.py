"""The contract of a stream, for the collate functions of hosts and what stands in for theirs."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate
from torchvision.transforms import v2

import batchmix as bm
from batchmix.adapters.huggingface import MixCollator
from batchmix.adapters.timm import FastCollateMixup, Mixup
from batchmix.adapters.torchvision import CutMix, MixTransform, MixUp
from hosts.stream import (
    COUNT,
    FIELDS,
    ROWS,
    Adapter,
    an_object_made_for_each_batch,
    collating,
    contract,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
FIRST = [(torch.from_numpy(image).permute(2, 0, 1).contiguous(), k) for image, k in ROWS]


class Hooked:
    """A transform as a collate function."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, rows):
        return self.transform(*default_collate(rows))


class Named:
    """The rows as Hugging Face's collators have them, in and out."""

    def __init__(self, collator):
        self.collator = collator

    def __call__(self, rows):
        batch = self.collator([{"pixel_values": image, "labels": k} for image, k in rows])
        return batch["pixel_values"], batch["labels"]


def of_timm(policy, seed, rank, **options):
    mixup = FastCollateMixup(
        cutmix_alpha=1.0, mode="elem", num_classes=COUNT, seed=seed, rank=rank, label_smoothing=0.0
    )
    return collating(mixup, mixup, FIRST, **options)


def drop_in(kind):
    def make(policy, seed, rank, **options):
        transform = kind(num_classes=COUNT, seed=seed, rank=rank)
        return collating(transform, Hooked(transform), FIRST, **options)

    return make


def of_a_mixer(policy, seed, rank, **options):
    transform = MixTransform(bm.Mixer(policy, FIELDS, seed=seed, rank=rank))
    return collating(transform, Hooked(transform), **options)


def of_collator(policy, seed, rank, **options):
    fields = {"pixel_values": FIELDS[0], "labels": FIELDS[1]}
    collator = MixCollator(bm.Mixer(policy, fields, seed=seed, rank=rank))
    return collating(collator, Named(collator), **options)


@contract(
    FastCollateMixup=Adapter(of_timm, in_workers=True, policies=False),
    MixUp=Adapter(drop_in(MixUp), in_workers=True, policies=False),
    CutMix=Adapter(drop_in(CutMix), in_workers=True, policies=False),
    MixTransform=Adapter(of_a_mixer, in_workers=True, counts=False),
    MixCollator=Adapter(of_collator, in_workers=True, counts=False),
)
def test_stream(check, adapter):
    check(adapter)


IMAGES, LABELS = torch.rand(8, 3, 64, 64), torch.arange(8)


@pytest.mark.parametrize(
    ("mix", "reseed"),
    [
        (lambda: MixUp(num_classes=8)(IMAGES, LABELS)[1], torch.manual_seed),
        (lambda: CutMix(num_classes=8)(IMAGES, LABELS)[1], torch.manual_seed),
        (lambda: MixTransform(bm.policies.MixUp(1.0), num_classes=8)(IMAGES, LABELS)[1],
         torch.manual_seed),
        (lambda: v2.RandomChoice([MixUp(num_classes=8)])(IMAGES, LABELS)[1], torch.manual_seed),
        (lambda: Mixup(num_classes=8)(IMAGES.clone(), LABELS)[1], np.random.seed),
        (lambda: FastCollateMixup(num_classes=8)([*zip(IMAGES, range(8))])[1], np.random.seed),
    ],
    ids=["MixUp", "CutMix", "MixTransform", "RandomChoice", "Mixup", "FastCollateMixup"],
)  # fmt: skip
def test_an_object_made_for_each_batch(mix, reseed):
    an_object_made_for_each_batch(mix, reseed)
