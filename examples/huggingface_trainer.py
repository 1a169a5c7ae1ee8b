"""A small vision transformer on digits with the Trainer: training is mixed, evaluation is not.

python examples/huggingface_trainer.py     needs batchmix, transformers, accelerate, scikit-learn
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from batchmix.adapters.huggingface import MixCollator, MixTraining, soft_cross_entropy
from batchmix.policies import CutMix, MixUp, Switch


def accuracy(given):
    """Labels of an evaluation are ids, as in the data."""
    return {"accuracy": (given.predictions.argmax(1) == given.label_ids).mean()}


def main():
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    rows = [{"pixel_values": x, "labels": int(y)} for x, y in zip(images, labels)]
    config = ViTConfig(
        image_size=8, patch_size=4, num_channels=1, num_labels=10,
        hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=128,
    )  # fmt: skip
    mix = MixCollator(Switch([MixUp(0.2), CutMix(1.0)], [0.8, 0.2]), classes=10, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=8, per_device_train_batch_size=64, learning_rate=5e-3,
            report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        trainer = Trainer(
            ViTForImageClassification(config),
            arguments,
            train_dataset=rows[:1400],
            eval_dataset=rows[1400:],
            compute_metrics=accuracy,
            compute_loss_func=soft_cross_entropy,
            callbacks=[MixTraining(mix)],
        )
        trainer.train()
        print(f"test accuracy: {trainer.evaluate()['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main()
