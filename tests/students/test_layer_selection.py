import numpy as np
import pytest

from hf_distill.errors import InputError
from hf_distill.students import select_layers


@pytest.mark.parametrize(
    ("total", "num_layers", "layer_selection", "expected"),
    [
        (12, 6, "alternate", [0, 2, 4, 6, 8, 10]),
        (6, 3, "alternate", [0, 2, 4]),
        (5, 3, "alternate", [0, 2, 4]),
        (12, 4, "alternate", [0, 3, 6, 9]),
        (12, 5, "alternate", [0, 2, 4, 7, 9]),
        (12, 9, "alternate", [0, 1, 2, 4, 5, 6, 8, 9, 10]),
        (12, 6, "spaced", [0, 2, 4, 7, 9, 11]),
        (6, 3, "spaced", [0, 3, 5]),
        (12, 2, "spaced", [0, 11]),
        (12, 1, "spaced", [0]),
        (12, 3, "first", [0, 1, 2]),
        (12, 3, "last", [9, 10, 11]),
    ],
)
def test_known_selections(total, num_layers, layer_selection, expected):
    assert select_layers(total, num_layers, layer_selection=layer_selection) == expected


@pytest.mark.parametrize("layer_selection", ["alternate", "spaced", "first", "last"])
def test_every_count_gives_that_many_ascending_layers(layer_selection):
    for total in range(1, 30):
        for num_layers in range(1, total + 1):
            layers = select_layers(total, num_layers, layer_selection=layer_selection)
            assert len(layers) == num_layers
            assert layers == sorted(set(layers))
            assert 0 <= layers[0] and layers[-1] < total
            if layer_selection == "spaced" and num_layers > 1:
                assert (layers[0], layers[-1]) == (0, total - 1)
                exact = np.linspace(0, total - 1, num_layers)
                assert np.abs(np.array(layers) - exact).max() <= 0.5 + 1e-9
        assert select_layers(total, total, layer_selection=layer_selection) == list(range(total))


def test_half_is_the_default():
    for total in range(1, 30):
        assert select_layers(total) == list(range(0, total, 2))
        assert len(select_layers(total, layer_selection="last")) == (total + 1) // 2


def test_explicit_layers_are_taken_as_they_are():
    assert select_layers(12, layers=[0, 2, 4, 7, 9, 11]) == [0, 2, 4, 7, 9, 11]
    assert select_layers(12, layers=range(1, 4)) == [1, 2, 3]
    assert select_layers(12, layers=(np.int64(3), 5)) == [3, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 13}, "num_layers=13 is more than the 12 layers"),
        ({"num_layers": 0}, "num_layers=0 leaves nothing"),
        ({"num_layers": -1}, "num_layers=-1 leaves nothing"),
        ({"num_layers": 2.5}, "2.5, which is not a whole number"),
        ({"num_layers": "3"}, "'3', which is not a whole number"),
        ({"num_layers": True}, "True, which is not a whole number"),
        ({"layers": []}, "layers is empty"),
        ({"layers": [0, 12]}, "layer 12, but the 12 layers there are have the indices 0 to 11"),
        ({"layers": [-1, 2]}, "layer -1, but"),
        ({"layers": [0, 2, 2]}, "names layer 2 twice"),
        ({"layers": [2, 0]}, r"does not ascend.*give \[0, 2\]"),
        ({"layers": "0,2"}, "is not a list of layer indices"),
        ({"layers": [0, None]}, "None, which is not a whole number"),
        ({"num_layers": 2, "layers": [0, 1]}, "were both given"),
        ({"layer_selection": "every-second"}, "choose one of alternate, spaced, first, last"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        select_layers(12, **arguments)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)
