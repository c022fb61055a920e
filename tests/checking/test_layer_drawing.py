from hf_distill.checking.layer_drawing import draw_layers


def test_every_row_is_drawn_below_the_teacher_s_layers():
    drawing = draw_layers(4, (1, 3), {"hidden_state_loss": [(0, 0), (1, 2), (2, 4)], "relation_loss": [(2, 3)]})
    assert drawing == [
        "teacher's layer      0  1  2  3  4",
        "student starts from  .  1  .  2  .",
        "hidden_state_loss    0  .  1  .  2",
        "relation_loss        .  .  .  2  .",
    ]


def test_a_layer_may_teach_several_and_a_student_learn_from_several():
    assert draw_layers(3, (), {"a": [(2, 1), (1, 1), (2, 3)]}) == [
        "teacher's layer    0    1    2    3",
        "a                  .  1,2    .    2",
    ]


def test_deep_teachers_are_drawn_in_parts():
    drawing = draw_layers(40, (), {"hidden_state_loss": [(6, 40)]})
    assert max(map(len, drawing)) <= 98
    assert drawing[2::3] == ["", ""]
    drawn = [int(layer) for line in drawing[::3] for layer in line.removeprefix("teacher's layer").split()]
    fed = [cell for line in drawing[1::3] for cell in line.removeprefix("hidden_state_loss").split()]
    assert drawn == list(range(41))
    assert fed == ["."] * 40 + ["6"]
