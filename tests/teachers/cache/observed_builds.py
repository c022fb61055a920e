"""What a build left, what it asked of the teacher, and teachers with little room."""

import torch
from safetensors.torch import load_file
from torch import nn


def logits_of(teacher, row):
    """One row at a time, as it is."""
    inputs = {name: torch.tensor([value]) for name, value in row.items() if name != "labels"}
    with torch.no_grad():
        return teacher(**inputs).logits[0]


def stored_by_key(folder):
    """Read the files by hand: what is stored under each key."""
    found = {}
    for path in sorted(folder.glob("shard-*")):
        tensors = load_file(path)
        for place, key in enumerate(tensors["keys"]):
            values = tensors["logits"][place]
            if "offsets" in tensors:
                values = tensors["logits"][tensors["offsets"][place] : tensors["offsets"][place + 1]]
            assert key.numpy().tobytes() not in found
            found[key.numpy().tobytes()] = values
    return found


def count_rows(model):
    """A list that grows by the number of rows of each forward."""
    counted = []
    model.register_forward_pre_hook(
        lambda module, args, inputs: counted.append(len(inputs["input_ids"])), with_kwargs=True
    )
    return counted


class OutOfMemory(nn.Module):
    """Has room for so many rows, or for more in its first batches."""

    def __init__(self, model, room, room_in_first=()):
        super().__init__()
        self.model, self.room, self.room_in_first = model, room, list(room_in_first)
        self.config, self.loss_type = model.config, model.loss_type

    def forward(self, input_ids, attention_mask=None):
        if len(input_ids) > (self.room_in_first.pop(0) if self.room_in_first else self.room):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.model(input_ids=input_ids, attention_mask=attention_mask)
