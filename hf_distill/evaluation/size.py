"""How much room a model's weights take."""

from transformers import PreTrainedModel
from transformers.pytorch_utils import id_tensor_storage


def weights_megabytes(model: PreTrainedModel) -> float:
    """Size of the model's safetensors file(s) in MB of 1e6 bytes, without writing them.

    Tied weights are saved once and count once. The file's header, some kilobytes that name the tensors, is left out.
    """
    tensors = {id_tensor_storage(tensor): tensor for tensor in model.state_dict().values()}
    return sum(tensor.nbytes for tensor in tensors.values()) / 1e6
