"""What a process that runs one trial does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from batchmix._errors import MixError
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training

ENGINE = "batchmix.cli.lab.trials.trial"
Work = Callable[..., Outcome]  # run_trial, or a stand-in for it


def child(
    pipe: Connection,
    log: Path | None,
    threads: int,
    device: str | None,
    trial: Trial,
    keep: Path | None,
    work: Work | None,
    data: Data,
    training: Training,
    limit_train: int | None,
) -> None:
    """Run one trial and say what came of it."""
    os.setpgid(0, 0)  # with its loader workers, away from the terminal's Ctrl-C
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(log or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        run = work or import_module(ENGINE).run_trial
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        outcome = run(
            trial,
            data,
            training,
            limit_train=limit_train,
            on_epoch=lambda epoch, figures: pipe.send(("epoch", (epoch, figures))),
            keep=keep,
        )
    except MixError as error:
        pipe.send(("failed", " ".join(str(error).split())))
    except Exception as error:
        print(f"{trial}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        where = f" (traceback in {log})" if log else ""
        pipe.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}{where}"))
    else:
        pipe.send(("outcome", outcome))


def _end_with(pipe: Connection) -> None:
    """End this process and its workers when the other end of the pipe is gone."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os.killpg(0, signal.SIGKILL)
