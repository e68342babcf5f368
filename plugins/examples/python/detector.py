"""How far a value is from where its series usually is, in Python: an example of the contract, not a detector to ship.

README.md says what it costs.
"""

import math
import struct

import wit_world
from componentize_py_types import Err
from wit_world.imports import types

WARM_UP_VALUES = 30
MEMORY_S = 600.0
STATE = struct.Struct("<ddd")

series = {}


class Series:
    def __init__(self, told):
        self.key, self.resolution = told.key, told.resolution
        self.mean = self.variance = self.learnt = 0.0

    def observe(self, dt_ms, flags, value):
        if not math.isfinite(value):
            return math.nan
        departure = value - self.mean
        spread = max(math.sqrt(self.variance), abs(self.mean) * 1e-4, self.resolution)
        score = math.nan
        if self.learnt >= WARM_UP_VALUES:
            score = 0.0 if departure == 0.0 else min(abs(departure) / spread, 1e6)
        if not flags & 4:
            share = max(min(dt_ms / 1000.0, MEMORY_S / 10.0) / MEMORY_S, 1.0 / (self.learnt + 1.0))
            self.mean += share * departure
            self.variance = (1.0 - share) * (self.variance + share * departure * departure)
            self.learnt += 1.0
        return score

    def load(self, state):
        if len(state) != STATE.size:
            return False
        mean, variance, learnt = STATE.unpack(state)
        if not all(map(math.isfinite, (mean, variance, learnt))) or variance < 0.0 or learnt < 0.0:
            return False
        self.mean, self.variance, self.learnt = mean, variance, learnt
        return True


class WitWorld(wit_world.WitWorld):
    def describe(self):
        return types.Description("spread-py", "0.1.0", 0, WARM_UP_VALUES, STATE.size, 0, [])

    def configure(self, parameters):
        pass

    def series_added(self, added):
        for told in added:
            series[told.id] = Series(told)
            if told.prior:
                series[told.id].load(bytes(told.prior))
        return []

    def series_removed(self, ids):
        for id in ids:
            series.pop(id, None)

    def observe(self, ids, dt_ms, flags, values):
        columns = zip(ids, dt_ms, flags, values)
        return [series[id].observe(*value) if id in series else math.nan for id, *value in columns]

    def observe_logs(self, ids, dt_ms, flags, counts):
        return [math.nan for _ in ids]

    def explain(self, ids):
        return []

    def snapshot(self, ids):
        known = [series[id] for id in ids if id in series]
        return [types.SeriesState(one.key, STATE.pack(one.mean, one.variance, one.learnt)) for one in known]

    def restore(self, ids, states):
        # All are tried before one that is refused is the answer.
        taken = [id in series and series[id].load(bytes(told.state)) for id, told in zip(ids, states)]
        if not all(taken):
            raise Err(types.ConfigError("states", 4, "not a state of this detector"))
