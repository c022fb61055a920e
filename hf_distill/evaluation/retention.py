"""What a student keeps of its teacher's scores."""

Metrics = dict[str, dict[str, float | None]]


def retention(student: Metrics, teacher: Metrics) -> Metrics:
    """Student score / teacher score for each split and metric, 1.0 being as good as the teacher.

    ``None`` where a ratio says nothing: the teacher's score is not above 0, or one of the two is undefined.
    """
    return {
        split: {metric: _ratio(student[split].get(metric), score) for metric, score in scores.items()}
        for split, scores in teacher.items()
    }


def _ratio(student_score: float | None, teacher_score: float | None) -> float | None:
    if student_score is None or teacher_score is None or teacher_score <= 0:
        return None
    return student_score / teacher_score
