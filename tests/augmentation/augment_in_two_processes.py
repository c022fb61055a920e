"""Run by two processes: each makes or reads the same augmented rows, and says what it has and whether it made them."""

import json
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object
from augmentation.tiny_language import SENTENCES, tiny_masked_model, tiny_tokenizer

from hf_distill.augmentation import Augmenter, MaskedWords, TokenVectors, WordProposals, generation, make_or_read
from hf_distill.errors import InputError

# The others must hear of the main process while it works.
generation._SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.0
made = []


def make():
    made.append(PartialState().process_index)
    tokenizer, model = tiny_tokenizer(), tiny_masked_model()
    vectors = TokenVectors(tokenizer, model.get_input_embeddings().weight)
    words = WordProposals(tokenizer, vectors, 4, 32, MaskedWords(model, tokenizer))
    return Augmenter([(text,) for text in SENTENCES], 5, 0.4, words)


def fail():
    raise InputError("no such model")


def fault():
    try:
        make_or_read(fail, Path(sys.argv[1]), has_pairs=False)
    except InputError as error:
        return str(error)


state = PartialState(cpu=True)
rows = make_or_read(make, Path(sys.argv[1]), has_pairs=False, rows_at_once=2)
found = {"rows": gather_object([vars(rows)]), "made": gather_object(made), "faults": gather_object([fault()])}
if state.is_main_process:
    sys.stdout.write(json.dumps(found) + "\n")
state.destroy_process_group()
