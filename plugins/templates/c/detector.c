/*
 * @NAME@: how far a value is from where its series usually is, in units of how much it usually varies: an
 * exponentially weighted mean and variance (West 1979), and the distance of each value from the mean in standard
 * deviations.
 *
 * Change it into your own detector; `vedette detector check` says what must stay true.
 */
#include "vedette_detector.h"

/* Values that are learnt before the first score. */
#define WARM_UP_VALUES 30
/* Differences below this share of the level are nothing: no source is more exact. */
#define LEAST_SPREAD_RATIO 1e-4
/* A distance beyond this says no more. */
#define DISTANCE_MAX 1e6
/* Values beyond this are not learnt: their squares would leave the range of numbers. */
#define VALUE_MAX 1e150
/* How wide a band `explain` calls usual, in standard deviations. */
#define BAND 3.0

/* Parameters, in the order in which they are declared; vd_parameter(MEMORY_S) is the value in effect. */
enum { MEMORY_S, PARAMETERS };

static const vd_parameter_spec parameters[PARAMETERS] = {
    [MEMORY_S] = {
        .name = "memory-s",
        .standard = 600.0,
        .minimum = 10.0,
        .maximum = 86400.0,
        .documentation = "Seconds after which a value counts a third of a new one.",
    },
};

/* What is remembered of one series. */
struct vd_state {
    double resolution; /* Told by the series, not learnt: not part of a snapshot. */
    double mean;
    double variance;
    double last; /* The value judged last, for `explain`. */
    uint32_t learnt;
};

static double spread(const vd_state *state) {
    double deviation = vd_at_least(vd_sqrt(state->variance), state->resolution);
    return vd_at_least(deviation, vd_abs(state->mean) * LEAST_SPREAD_RATIO);
}

/* Starts a series that nothing is known of; the state is all zeros. False would decline it for good. */
static bool added(vd_state *state, const vd_series *series) {
    state->resolution = series->resolution;
    state->last = VD_NAN;
    return true;
}

/* Judges one value against what was learnt before it, then learns from it. */
static double observe(vd_state *state, vd_sample sample) {
    /* The host gives finite values; a detector that met another one must not be spoilt for good. */
    if (!vd_is_finite(sample.value)) return VD_NAN;
    state->last = sample.value;
    double departure = sample.value - state->mean;
    double score = VD_NAN;
    if (state->learnt >= WARM_UP_VALUES) {
        double distance = departure == 0.0 ? 0.0 : vd_at_most(vd_abs(departure) / spread(state), DISTANCE_MAX);
        score = vd_compress(distance);
    }
    if (!(sample.flags & VD_HOLD) && vd_abs(sample.value) < VALUE_MAX) {
        /* Intervals change, so time decides and not the number of values; a gap teaches a tenth of the memory at most. */
        double memory_s = vd_parameter(MEMORY_S);
        double share = vd_at_most(sample.dt_ms / 1000.0, memory_s * 0.1) / memory_s;
        share = vd_at_least(share, 1.0 / (state->learnt + 1.0));
        state->mean += share * departure;
        state->variance = (1.0 - share) * (state->variance + share * departure * departure);
        if (state->learnt < UINT32_MAX) state->learnt += 1;
    }
    return score;
}

static vd_explanation explain(const vd_state *state) {
    vd_explanation told = VD_NOTHING_TO_SAY;
    if (state->learnt < WARM_UP_VALUES) return told;
    told.code = 1;
    told.observed = state->last;
    told.expected = state->mean;
    told.lower = state->mean - BAND * spread(state);
    told.upper = state->mean + BAND * spread(state);
    return told;
}

/* Writes the state, exactly. */
static void save(const vd_state *state, vd_writer *out) {
    vd_put_f64(out, state->mean);
    vd_put_f64(out, state->variance);
    vd_put_f64(out, state->last);
    vd_put_u32(out, state->learnt);
}

/* Takes over what `save` wrote. A state may be old, foreign or cut: believe nothing that `save` cannot have written. */
static bool load(vd_state *state, vd_reader *in) {
    state->mean = vd_get_f64(in);
    state->variance = vd_get_f64(in);
    state->last = vd_get_f64(in);
    state->learnt = vd_get_u32(in);
    return vd_is_finite(state->mean) && vd_is_finite(state->variance) && state->variance >= 0.0;
}

const vd_detector vedette_detector = {
    .name = "@NAME@",
    .version = "0.1.0",
    .input = VD_METRICS,
    .warm_up_values = WARM_UP_VALUES,
    .snapshot_bytes_max = 28,
    .parameters = parameters,
    .parameter_count = PARAMETERS,
    .state_bytes = sizeof(struct vd_state),
    .added = added,
    .observe = observe,
    .explain = explain,
    .save = save,
    .load = load,
};
