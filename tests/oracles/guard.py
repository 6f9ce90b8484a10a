"""The guard against clocks that run ahead, one row at a time over the whole log."""


def believed(ts: list[int], max_jump: int, agree_rows: int) -> list[bool]:
    """Whether each row is accepted."""
    accepted: list[int] = []
    answer = []
    for i, now in enumerate(ts):
        if accepted and now - max(accepted) <= max_jump:
            good = True
        else:
            witnesses = ts[i + 1 : i + 1 + agree_rows]
            against = [w for w in witnesses if now - w > max_jump]
            good = 2 * len(against) <= len(witnesses)
        if good:
            accepted.append(now)
        answer.append(good)
    return answer
