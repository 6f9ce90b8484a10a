"""The order of two logs merged by time, one head at a time."""

Event = tuple[str, int]


def merged(impressions: list[int], clicks: list[int]) -> list[Event]:
    """The rows as ("impression", index) and ("click", index), and where each log ends.

    impressions, clicks: the times of the rows, in the order of their log.
    """
    left = {"impression": list(enumerate(impressions)), "click": list(enumerate(clicks))}
    order: list[Event] = []
    open_logs = ["impression", "click"]
    while open_logs:
        for log in list(open_logs):
            if not left[log]:
                order.append((f"{log}s end", 0))
                open_logs.remove(log)
        heads = [(left[log][0][1], log == "click", log) for log in open_logs]
        if heads:
            log = min(heads)[2]
            order.append((log, left[log].pop(0)[0]))
    return order
