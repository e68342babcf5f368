// How far a value is from where its series usually is, in JavaScript: an example of the contract, not a detector to ship.
// README.md says what it costs.

const WARM_UP_VALUES = 30;
const MEMORY_S = 600;

let series = new Map();

function observeOne(id, dtMs, flags, value) {
  const state = series.get(id);
  if (!state || !Number.isFinite(value)) return NaN;
  const departure = value - state.mean;
  const spread = Math.max(Math.sqrt(state.variance), Math.abs(state.mean) * 1e-4, state.resolution);
  let score = NaN;
  if (state.learnt >= WARM_UP_VALUES) score = departure === 0 ? 0 : Math.min(Math.abs(departure) / spread, 1e6);
  if (!(flags & 4)) {
    const share = Math.max(Math.min(dtMs / 1000, MEMORY_S / 10) / MEMORY_S, 1 / (state.learnt + 1));
    state.mean += share * departure;
    state.variance = (1 - share) * (state.variance + share * departure * departure);
    state.learnt += 1;
  }
  return score;
}

export function describe() {
  return { name: 'spread-js', version: '0.1.0', input: 0, warmUpValues: WARM_UP_VALUES, stateBytesMax: 24, lookMs: 0, parameters: [] };
}

export function configure() {}

export function seriesAdded(added) {
  for (const { id, key, resolution, prior } of added) {
    series.set(id, { key, resolution, mean: 0, variance: 0, learnt: 0 });
    if (prior.length) load(series.get(id), prior);
  }
  return new Uint32Array();
}

export function seriesRemoved(ids) {
  for (const id of ids) series.delete(id);
}

export function observe(ids, dtMs, flags, values) {
  return Float32Array.from(ids, (id, at) => observeOne(id, dtMs[at], flags[at], values[at]));
}

export function observeLogs(ids) {
  return new Float32Array(ids.length).fill(NaN);
}

export function explain() {
  return [];
}

export function snapshot(ids) {
  return Array.from(ids).filter((id) => series.has(id)).map((id) => {
    const { key, mean, variance, learnt } = series.get(id);
    const bytes = new DataView(new ArrayBuffer(24));
    [mean, variance, learnt].forEach((number, at) => bytes.setFloat64(8 * at, number, true));
    return { key, state: new Uint8Array(bytes.buffer) };
  });
}

function load(state, bytes) {
  if (bytes.length !== 24) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 24);
  const [mean, variance, learnt] = [0, 8, 16].map((at) => view.getFloat64(at, true));
  if (![mean, variance, learnt].every(Number.isFinite) || variance < 0 || learnt < 0) return false;
  Object.assign(state, { mean, variance, learnt });
  return true;
}

export function restore(ids, states) {
  // All are tried; the first that is refused is the answer.
  const refused = Array.from(ids).filter((id, at) => !series.has(id) || !load(series.get(id), states[at].state));
  if (refused.length) {
    throw { field: 'states', code: series.has(refused[0]) ? 4 : 5, message: 'not a state of this detector' };
  }
}
