"""The comparisons whose figures stand in docs/compare.md: `batchmix compare`, kept as JSON.

    python benchmarks/evidence.py digits
    python benchmarks/evidence.py digits-policies
    python benchmarks/evidence.py cifar --data path/to/cifar10 --noise 0 --noise 0.4
    python benchmarks/evidence.py spoken --data path/to/free-spoken-digit-dataset/recordings

cifar10: `train/CLASS/*` and `test/CLASS/*`. The recordings are called DIGIT_SPEAKER_INDEX.wav; one
speaker of them chooses the epoch, one is the test. A comparison that was interrupted goes on with
the same command. The report is copied to benchmarks/evidence/. All of CIFAR-10 on a GPU is
gpu_evidence.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
_ARMS = "none smooth:0.1 mixup:0.2 mixup:1 cutmix:1 switch:1,1"
_MASKS = "resizemix fmix:1 gridmix smoothmix columns:0.3 mosaic"
_SPEAKERS = {"yweweler": "val", "theo": "test"}  # the other four train


def _cifar(data: Path, work: Path) -> list[str]:
    """What two cores train in about an hour; 2,000 of the test rows, 500 of them held out."""
    data = _first(data, work / "cifar10", train=500, test=200)
    options = "--model resnet20 --augment light --limit-train 1500 --epochs 15 --batch-size 64"
    return [str(data), *options.split(), "--seeds", "3", "--policies", _ARMS]


def _first(data: Path, out: Path, **counts: int) -> Path:
    """A folder with the first files of each class of each part."""
    for part, count in counts.items():
        for folder in sorted((data / part).iterdir()):
            (out / part / folder.name).mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copyfile(file, out / part / folder.name / file.name)
    return out


def _spoken(data: Path, work: Path) -> list[str]:
    """Log-mel spectrograms, speakers held out; half the recordings of one choose the epoch."""
    table = work / "spoken.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "split"])
        for path in sorted(data.glob("*.wav")):
            digit, speaker, number = path.stem.split("_")
            part = _SPEAKERS.get(speaker, "train")
            if part != "val" or int(number) < 25:
                rows.writerow([path.name, digit, part])
    options = "--sound mel --model resnet20 --limit-train 500 --epochs 15 --batch-size 32 --seeds 3"
    arms = "none smooth:0.1 mixup:0.2 mixup:1 cutmix:1"
    return [str(data), "--targets", str(table), *options.split(), "--policies", arms]


def main() -> None:
    """Run one comparison and keep its report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=["digits", "digits-policies", "cifar", "spoken"])
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--noise", type=float, action="append", help="share of wrong labels")
    parser.add_argument("--work", type=Path, default=Path("batchmix-evidence"))
    args, options = parser.parse_known_args()  # further ones are those of compare
    digits = args.name.startswith("digits")
    if not digits and not (args.data and args.data.is_dir()):
        parser.error(f"{args.name}: give the folder of the data with --data")
    noise = args.noise or ([] if digits else [0.0])
    out = args.work / args.name
    out.mkdir(parents=True, exist_ok=True)
    if args.name == "spoken":
        words = _spoken(args.data, args.work)
    elif digits:
        words = ["digits"]
        if args.name == "digits-policies":
            arms = f"none smooth:0.1 mixup:1 cutmix:1 {_MASKS}"
            words += ["--seeds", "3", "--policies", arms]
    else:
        words = _cifar(args.data, args.work)
    words += [word for level in noise for word in ("--label-noise", str(level))] + options
    command = [sys.executable, "-m", "batchmix", "compare", *words, "--out", str(out)]
    done = subprocess.run(command, check=False).returncode
    if done:
        sys.exit(done)
    kept = HERE / "evidence" / f"{args.name}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(_short((out / "report.json").read_text(), args.data, args.work))
    print(kept)


def _short(report: str, data: Path | None, work: Path) -> str:
    """The report on one line, numbers with six digits, without this machine's folders."""
    for folder, name in ((data, data.name if data else ""), (work, "batchmix-evidence")):
        if folder and folder.is_absolute():
            report = report.replace(str(folder), name)
    found = json.loads(report, parse_float=lambda text: float(f"{float(text):.6g}"))
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    main()
