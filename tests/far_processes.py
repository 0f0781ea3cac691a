"""A scheduler of other processes for tests, in a module that these can import."""

from __future__ import annotations

import pickle
from collections import deque


class Processes:
    """Blocks are worked on in processes that share nothing with this one but files."""

    local = False
    workers = 2

    def __init__(self, pool):
        self._pool = pool
        self.sent = []

    def map(self, work, items):
        waiting = deque()
        for item in items:
            packed = pickle.dumps((work, item))
            self.sent.append((type(work).__name__, len(packed)))
            waiting.append(self._pool.submit(work_twice, packed))
            if len(waiting) > self.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def work_twice(packed):
    """Work twice, as where a worker dies before it can give back what it has done."""
    work, item = pickle.loads(packed)
    work(item)
    work, item = pickle.loads(packed)
    return work(item)
