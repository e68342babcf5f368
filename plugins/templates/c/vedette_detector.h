/*
 * The detector contract vedette:detector@0.1.0 for freestanding C: no libc, no WASI.
 *
 * Include it in one .c file, complete `struct vd_state`, write the functions of `vd_detector`, and define
 *
 *     const vd_detector vedette_detector = { .name = ..., ... };
 *
 * `vedette detector build DIR` does the rest. What stands here beside that: the parts of the contract's canonical ABI
 * that a guest needs, a table of series, an allocator, exact state encoding, and the mathematics that a detector may
 * use. Units, flags and codes are explained in Vedette's wit/README.md.
 *
 * The rules: a detector is a pure function of its inputs, and everything that `observe` reads is in `save`. Never
 * compile with -ffast-math.
 */
#ifndef VEDETTE_DETECTOR_H
#define VEDETTE_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __wasm32__
#error "compile with clang --target=wasm32; `vedette detector build DIR` does"
#endif

/* ---- what an author uses ---- */

/* Text of `length` bytes of UTF-8, no zero at its end. */
typedef struct { const char *bytes; uint32_t length; } vd_text;
typedef struct { vd_text name, value; } vd_attribute;

/* vd_detector.input */
enum { VD_METRICS = 0, VD_LOG_TEMPLATES = 1 };
/* vd_series.kind */
enum { VD_GAUGE = 0, VD_RATE = 1, VD_COUNT = 2 };
/* Bits of vd_sample.flags: values were missed before this one; the counter was reset; judge but do not learn. */
enum { VD_GAP = 1, VD_RESET = 2, VD_HOLD = 4 };

/* One series, as it is told once. It lives as long as the call. */
typedef struct {
    uint32_t id;
    uint64_t key;
    vd_text metric, unit;
    uint8_t kind;
    struct { const vd_attribute *items; uint32_t count; } attributes;
    uint32_t interval_ms;
    double resolution;   /* Smallest difference that the source can express; 0 unknown. */
    double lower, upper; /* Natural bounds; NaN where there is none. */
    struct { const uint8_t *bytes; uint32_t count; } prior; /* Already given to `load`. */
} vd_series;

typedef struct {
    double value;   /* In the series' unit; a whole count for log templates. */
    uint32_t dt_ms; /* Since this series' previous value; 0 for its first. */
    uint8_t flags;
} vd_sample;

/* Why a series got its last score; NaN where a number has no meaning. Own codes begin at 10000. */
typedef struct {
    uint32_t id, code; /* The id is filled in for you. */
    double observed, expected, lower, upper;
    uint32_t onset_ms_ago, onset_uncertainty_ms;
} vd_explanation;

/* A parameter; bounds are inclusive and checked for you. */
typedef struct {
    const char *name;
    double standard, minimum, maximum;
    const char *documentation;
} vd_parameter_spec;

typedef struct vd_state vd_state;
typedef struct { uint8_t *bytes; uint32_t length, capacity; } vd_writer;
typedef struct { const uint8_t *bytes; uint32_t left; bool damaged; } vd_reader;

typedef struct {
    const char *name, *version;
    uint8_t input;
    uint32_t warm_up_values;     /* Values of a series that are learnt before its scores mean anything. */
    uint32_t snapshot_bytes_max; /* Most that `save` writes. */
    uint32_t look_ms;            /* A value sooner than this after the one before hardly tells anything; 0 if each counts. */
    const vd_parameter_spec *parameters;
    uint32_t parameter_count;
    uint32_t state_bytes;        /* sizeof(struct vd_state) */
    void (*configured)(void);    /* Optional: parameters have new values. */
    bool (*added)(vd_state *, const vd_series *); /* False: it will never have a word on this series, and hears no more of it. */
    double (*observe)(vd_state *, vd_sample); /* At least 0, growing with surprise; NaN while learning. */
    vd_explanation (*explain)(const vd_state *); /* Optional. */
    void (*save)(const vd_state *, vd_writer *);
    bool (*load)(vd_state *, vd_reader *); /* False: these bytes are no state of this version. */
} vd_detector;

/* Defined by the author. */
extern const vd_detector vedette_detector;

#define VD_NAN __builtin_nan("")
#define VD_NOTHING_TO_SAY { 0, 0, VD_NAN, VD_NAN, VD_NAN, VD_NAN, 0, 0 }

static inline bool vd_is_finite(double x) { return x - x == 0.0; }
static inline double vd_abs(double x) { return __builtin_fabs(x); }
static inline double vd_floor(double x) { return __builtin_floor(x); }
/* Correctly rounded: one instruction. */
static inline double vd_sqrt(double x) { return __builtin_sqrt(x); }
/* The number, or the bound where that is greater (smaller); the number beside a NaN. Every bit is defined. */
static inline double vd_at_least(double x, double bound) { return bound > x ? bound : x; }
static inline double vd_at_most(double x, double bound) { return bound < x ? bound : x; }

static inline uint64_t vd_bits(double x) { uint64_t bits; __builtin_memcpy(&bits, &x, 8); return bits; }
static inline double vd_from_bits(uint64_t bits) { double x; __builtin_memcpy(&x, &bits, 8); return x; }

/* 2 atanh(f) for |f| <= 0.1716: the series, to the last bit or two. */
static inline double vd_two_atanh(double f) {
    double square = f * f, sum = 0.0;
    for (int n = 23; n >= 1; n -= 2) sum = sum * square + 2.0 / n;
    return f * sum;
}

/* Natural logarithm, relative error below 1e-15; -infinity of 0, NaN of negative numbers. */
static inline double vd_ln(double x) {
    if (!(x > 0.0)) return x == 0.0 ? -__builtin_inf() : VD_NAN;
    if (!vd_is_finite(x)) return x;
    int exponent = 0;
    if (x < 0x1p-1022) { x *= 0x1p54; exponent = -54; }
    uint64_t bits = vd_bits(x);
    exponent += (int)(bits >> 52) - 1023;
    double mantissa = vd_from_bits((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
    if (mantissa > 1.4142135623730951) { mantissa *= 0.5; exponent += 1; }
    /* ln 2 in two parts, the first with room for a whole factor. */
    return exponent * 0x1.62e42feep-1 + (exponent * 0x1.a39ef35793c76p-33 + vd_two_atanh((mantissa - 1.0) / (mantissa + 1.0)));
}

/* ln(1 + x), exact for small x too. */
static inline double vd_ln_1p(double x) {
    return vd_abs(x) < 0.25 ? vd_two_atanh(x / (2.0 + x)) : vd_ln(1.0 + x);
}

/* e to the x, relative error below 1e-15. */
static inline double vd_exp(double x) {
    if (!(x < 709.78)) return x == x ? __builtin_inf() : x;
    if (x < -745.2) return 0.0;
    double power = vd_floor(x * 1.4426950408889634 + 0.5);
    double rest = (x - power * 0x1.62e42feep-1) - power * 0x1.a39ef35793c76p-33;
    double sum = 1.0;
    for (int n = 14; n >= 1; n -= 1) sum = 1.0 + sum * rest / n;
    int exponent = (int)power;
    if (exponent < -1021) { sum *= 0x1p-54; exponent += 54; }
    if (exponent > 1023) { sum *= 2.0; exponent -= 1; }
    return sum * vd_from_bits((uint64_t)(exponent + 1023) << 52);
}

/* A robust z as a score: itself up to 5, then half as steep up to 13, a quarter as steep up to 29, and so on: a logarithm
 * to base 2 interpolated between powers of two, read off the bits of the number. The same bits as the Rust SDK's. */
static inline double vd_compress(double z) {
    if (z < 5.0 || z != z) return z;
    uint64_t bits = vd_bits(1.0 + (z - 1.0) / 4.0);
    double mantissa = (double)(bits & 0x000fffffffffffffull) * 0x1p-52;
    return 1.0 + 4.0 * ((double)(bits >> 52) - 1023.0 + mantissa);
}

/* Little-endian, every NaN the one canonical NaN: the same bytes from every build. */
static inline void vd_put_u8(vd_writer *out, uint8_t x) {
    if (out->length >= out->capacity) __builtin_trap(); /* More than snapshot_bytes_max. */
    out->bytes[out->length++] = x;
}
static inline void vd_put_u32(vd_writer *out, uint32_t x) { for (int n = 0; n < 4; n++) vd_put_u8(out, (uint8_t)(x >> 8 * n)); }
static inline void vd_put_u64(vd_writer *out, uint64_t x) { for (int n = 0; n < 8; n++) vd_put_u8(out, (uint8_t)(x >> 8 * n)); }
static inline void vd_put_f64(vd_writer *out, double x) { vd_put_u64(out, x == x ? vd_bits(x) : 0x7ff8000000000000ull); }

/* In the order in which it was written. Beyond the end it gives 0, and the state is refused for you. */
static inline uint8_t vd_get_u8(vd_reader *in) {
    if (in->left == 0) { in->damaged = true; return 0; }
    in->left -= 1;
    return *in->bytes++;
}
static inline uint32_t vd_get_u32(vd_reader *in) { uint32_t x = 0; for (int n = 0; n < 4; n++) x |= (uint32_t)vd_get_u8(in) << 8 * n; return x; }
static inline uint64_t vd_get_u64(vd_reader *in) { uint64_t x = 0; for (int n = 0; n < 8; n++) x |= (uint64_t)vd_get_u8(in) << 8 * n; return x; }
static inline double vd_get_f64(vd_reader *in) { return vd_from_bits(vd_get_u64(in)); }

/* A line for the host's log, few and short: 0 error, 1 warn, 2 info, 3 debug. */
__attribute__((import_module("$root"), import_name("log"))) void vd_log(uint32_t level, const char *text, uint32_t length);

/* ---- memory: blocks of powers of two, freed ones listed by size ---- */

#define VD_SIZES 28
typedef struct vd_block { struct vd_block *next; uint32_t size; uint32_t unused[2]; } vd_block; /* 16 bytes, then the content. */
extern uint8_t __heap_base;
static uint8_t *vd_top;
static vd_block *vd_free_blocks[VD_SIZES];
/* What was allocated for one call: its arguments and its answer. */
static vd_block *vd_of_this_call;

static vd_block *vd_new_block(uint32_t bytes) {
    uint32_t size = 5;
    while (size < VD_SIZES && (1u << size) - sizeof(vd_block) < bytes) size += 1;
    if (size == VD_SIZES) __builtin_trap();
    vd_block *block = vd_free_blocks[size];
    if (block) {
        vd_free_blocks[size] = block->next;
        return block;
    }
    if (!vd_top) vd_top = (uint8_t *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    uintptr_t end = (uintptr_t)vd_top + (1u << size), have = __builtin_wasm_memory_size(0) << 16;
    /* The host's limit: it restores the instance, or puts it aside. */
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1) __builtin_trap();
    block = (vd_block *)vd_top;
    vd_top = (uint8_t *)end;
    block->size = size;
    return block;
}

static void vd_free_block(vd_block *block) {
    block->next = vd_free_blocks[block->size];
    vd_free_blocks[block->size] = block;
}

static void *vd_for_this_call(uint32_t bytes) {
    vd_block *block = vd_new_block(bytes);
    block->next = vd_of_this_call;
    vd_of_this_call = block;
    return block + 1;
}

static void vd_end_of_call(void) {
    while (vd_of_this_call) {
        vd_block *block = vd_of_this_call;
        vd_of_this_call = block->next;
        vd_free_block(block);
    }
}

/* ---- the table of series ---- */

#define VD_COLUMNS_MAX (1u << 17)
#define VD_PARAMETERS_MAX 64
typedef struct { uint64_t key; bool used; } vd_slot;
static vd_slot *vd_slots;
static uint8_t *vd_states;
static uint32_t vd_slot_count;
static double vd_parameters[VD_PARAMETERS_MAX];
static bool vd_configured;

/* The value in effect of a parameter, by its place in the declaration. */
static inline double vd_parameter(uint32_t index) {
    return vd_configured ? vd_parameters[index] : vedette_detector.parameters[index].standard;
}

static inline uint32_t vd_stride(void) { return (vedette_detector.state_bytes + 7u) & ~7u; }
static inline vd_state *vd_state_at(uint32_t id) { return (vd_state *)(vd_states + (size_t)id * vd_stride()); }
static inline vd_state *vd_find(uint32_t id) { return id < vd_slot_count && vd_slots[id].used ? vd_state_at(id) : 0; }

static void *vd_grown(void *old, uint32_t old_bytes, uint32_t bytes) {
    uint8_t *grown = (uint8_t *)(vd_new_block(bytes) + 1);
    if (old) {
        __builtin_memcpy(grown, old, old_bytes);
        vd_free_block((vd_block *)old - 1);
    }
    __builtin_memset(grown + old_bytes, 0, bytes - old_bytes);
    return grown;
}

static bool vd_reserve(uint32_t id) {
    if (id >= VD_COLUMNS_MAX) return false;
    if (id < vd_slot_count) return true;
    uint32_t count = vd_slot_count ? vd_slot_count : 16;
    while (count <= id) count *= 2;
    vd_slots = vd_grown(vd_slots, vd_slot_count * sizeof(vd_slot), count * sizeof(vd_slot));
    vd_states = vd_grown(vd_states, vd_slot_count * vd_stride(), count * vd_stride());
    vd_slot_count = count;
    return true;
}

/* Loads into a copy, so that a refused state leaves nothing behind. */
static bool vd_take_over(vd_state *state, const uint8_t *bytes, uint32_t count) {
    vd_state *copy = vd_for_this_call(vedette_detector.state_bytes);
    __builtin_memcpy(copy, state, vedette_detector.state_bytes);
    vd_reader in = { bytes, count, false };
    if (!vedette_detector.load(copy, &in) || in.damaged || in.left) return false;
    __builtin_memcpy(state, copy, vedette_detector.state_bytes);
    return true;
}

/* ---- the contract's exports in the canonical ABI: lists are address and length, records lie like C's ---- */

#define VD_EXPORT(name) __attribute__((export_name(name), used))
typedef struct { const void *items; uint32_t count; } vd_list;
typedef struct { vd_list name; double standard, minimum, maximum; vd_list documentation; } vd_wire_spec;
typedef struct { vd_list name; double value; } vd_wire_parameter;
typedef struct { vd_list name, version; uint8_t input; uint32_t warm_up_values, state_bytes_max, look_ms; vd_list parameters; } vd_wire_description;
typedef struct { uint8_t is_error; vd_list field; uint32_t code; vd_list message; } vd_wire_result;
typedef struct { uint64_t key; vd_list state; } vd_wire_state;
_Static_assert(sizeof(vd_series) == 80 && offsetof(vd_series, resolution) == 48, "as the contract's record");
_Static_assert(sizeof(vd_wire_spec) == 40 && sizeof(vd_wire_description) == 40, "as the contract's record");
_Static_assert(sizeof(vd_wire_result) == 24 && sizeof(vd_wire_state) == 16 && sizeof(vd_explanation) == 48, "as the contract's record");
static vd_list vd_answer;
static vd_wire_result vd_result;

static uint32_t vd_length(const char *text) { uint32_t n = 0; while (text[n]) n += 1; return n; }
static vd_list vd_string(const char *text) { return (vd_list){ text, vd_length(text) }; }
static bool vd_same(vd_list a, const char *b) {
    uint32_t n = 0;
    while (n < a.count && b[n] && ((const char *)a.items)[n] == b[n]) n += 1;
    return n == a.count && !b[n];
}
static vd_wire_result *vd_refuse(vd_list field, uint32_t code, const char *message) {
    vd_result = (vd_wire_result){ 1, field, code, vd_string(message) };
    return &vd_result;
}
static vd_wire_result *vd_accept(void) { vd_result.is_error = 0; return &vd_result; }

VD_EXPORT("cabi_realloc") void *vd_export_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align; /* Blocks are aligned to 16, no type of the contract to more than 8. */
    uint8_t *grown = vd_for_this_call(size);
    if (old) __builtin_memcpy(grown, old, old_size < size ? old_size : size);
    return grown;
}

VD_EXPORT("describe") vd_wire_description *vd_export_describe(void) {
    static vd_wire_description told;
    const vd_detector *detector = &vedette_detector;
    vd_wire_spec *specs = vd_for_this_call(detector->parameter_count * sizeof(vd_wire_spec));
    for (uint32_t n = 0; n < detector->parameter_count; n++) {
        const vd_parameter_spec *spec = &detector->parameters[n];
        specs[n] = (vd_wire_spec){ vd_string(spec->name), spec->standard, spec->minimum, spec->maximum, vd_string(spec->documentation) };
    }
    told = (vd_wire_description){
        vd_string(detector->name), vd_string(detector->version), detector->input, detector->warm_up_values,
        detector->snapshot_bytes_max, detector->look_ms, { specs, detector->parameter_count },
    };
    return &told;
}

VD_EXPORT("configure") vd_wire_result *vd_export_configure(const vd_wire_parameter *given, uint32_t count) {
    const vd_detector *detector = &vedette_detector;
    if (detector->parameter_count > VD_PARAMETERS_MAX) __builtin_trap();
    for (uint32_t n = 0; n < detector->parameter_count; n++) vd_parameters[n] = detector->parameters[n].standard;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t at = 0;
        while (at < detector->parameter_count && !vd_same(given[n].name, detector->parameters[at].name)) at += 1;
        if (at == detector->parameter_count) return vd_refuse(given[n].name, 1, "no parameter has this name");
        for (uint32_t before = 0; before < n; before++)
            if (vd_same(given[before].name, detector->parameters[at].name)) return vd_refuse(given[n].name, 3, "given twice");
        const vd_parameter_spec *spec = &detector->parameters[at];
        if (!(given[n].value >= spec->minimum && given[n].value <= spec->maximum))
            return vd_refuse(given[n].name, 2, "out of its declared bounds");
        vd_parameters[at] = given[n].value;
    }
    vd_configured = true;
    if (detector->configured) detector->configured();
    return vd_accept();
}

VD_EXPORT("series-added") vd_list *vd_export_series_added(const vd_series *series, uint32_t count) {
    uint32_t *declined = vd_for_this_call(count * sizeof(uint32_t)), declined_count = 0;
    for (uint32_t n = 0; n < count; n++) {
        if (!vd_reserve(series[n].id)) continue;
        vd_state *state = vd_state_at(series[n].id);
        __builtin_memset(state, 0, vedette_detector.state_bytes);
        vd_slots[series[n].id] = (vd_slot){ series[n].key, vedette_detector.added(state, &series[n]) };
        if (!vd_slots[series[n].id].used) declined[declined_count++] = series[n].id;
        else if (series[n].prior.count) vd_take_over(state, series[n].prior.bytes, series[n].prior.count);
    }
    vd_answer = (vd_list){ declined, declined_count };
    return &vd_answer;
}

VD_EXPORT("series-removed") void vd_export_series_removed(const uint32_t *ids, uint32_t count) {
    for (uint32_t n = 0; n < count; n++) if (ids[n] < vd_slot_count) vd_slots[ids[n]].used = false;
    vd_end_of_call();
}

/* Narrowed, at least 0 and finite, every NaN the canonical one. */
static inline float vd_score(double score) {
    const uint32_t canonical = 0x7fc00000u;
    float narrow = (float)vd_at_most(vd_at_least(score, 0.0), 3.4028234663852886e38);
    if (score != score) __builtin_memcpy(&narrow, &canonical, 4);
    return narrow;
}

static inline float vd_judge(uint32_t id, uint32_t dt_ms, uint8_t flags, double value) {
    vd_state *state = vd_find(id);
    return vd_score(state ? vedette_detector.observe(state, (vd_sample){ value, dt_ms, flags }) : VD_NAN);
}

VD_EXPORT("observe") vd_list *vd_export_observe(
    const uint32_t *ids, uint32_t count, const uint32_t *dt_ms, uint32_t count_2, const uint8_t *flags, uint32_t count_3,
    const double *values, uint32_t count_4) {
    if (count_2 != count || count_3 != count || count_4 != count) __builtin_trap();
    bool ours = vedette_detector.input == VD_METRICS;
    float *scores = vd_for_this_call(count * sizeof(float));
    for (uint32_t n = 0; n < count; n++) scores[n] = ours ? vd_judge(ids[n], dt_ms[n], flags[n], values[n]) : vd_score(VD_NAN);
    vd_answer = (vd_list){ scores, count };
    return &vd_answer;
}

VD_EXPORT("observe-logs") vd_list *vd_export_observe_logs(
    const uint32_t *ids, uint32_t count, const uint32_t *dt_ms, uint32_t count_2, const uint8_t *flags, uint32_t count_3,
    const uint32_t *counts, uint32_t count_4) {
    if (count_2 != count || count_3 != count || count_4 != count) __builtin_trap();
    bool ours = vedette_detector.input == VD_LOG_TEMPLATES;
    float *scores = vd_for_this_call(count * sizeof(float));
    for (uint32_t n = 0; n < count; n++) scores[n] = ours ? vd_judge(ids[n], dt_ms[n], flags[n], counts[n]) : vd_score(VD_NAN);
    vd_answer = (vd_list){ scores, count };
    return &vd_answer;
}

VD_EXPORT("explain") vd_list *vd_export_explain(const uint32_t *ids, uint32_t count) {
    vd_explanation *told = vd_for_this_call(count * sizeof(vd_explanation));
    uint32_t known = 0;
    for (uint32_t n = 0; n < count; n++) {
        vd_state *state = vd_find(ids[n]);
        if (!state || !vedette_detector.explain) continue;
        told[known] = vedette_detector.explain(state);
        told[known++].id = ids[n];
    }
    vd_answer = (vd_list){ told, known };
    return &vd_answer;
}

VD_EXPORT("snapshot") vd_list *vd_export_snapshot(const uint32_t *ids, uint32_t count) {
    vd_wire_state *states = vd_for_this_call(count * sizeof(vd_wire_state));
    uint32_t known = 0;
    for (uint32_t n = 0; n < count; n++) {
        vd_state *state = vd_find(ids[n]);
        if (!state) continue;
        vd_writer out = { vd_for_this_call(vedette_detector.snapshot_bytes_max), 0, vedette_detector.snapshot_bytes_max };
        vedette_detector.save(state, &out);
        states[known++] = (vd_wire_state){ vd_slots[ids[n]].key, { out.bytes, out.length } };
    }
    vd_answer = (vd_list){ states, known };
    return &vd_answer;
}

VD_EXPORT("restore") vd_wire_result *vd_export_restore(const uint32_t *ids, uint32_t count, const vd_wire_state *states, uint32_t count_2) {
    vd_wire_result *answer = vd_accept(); /* The first refusal, if there is one; the other states are taken over. */
    for (uint32_t n = 0; n < count && n < count_2; n++) {
        vd_state *state = vd_find(ids[n]);
        if (state && vd_take_over(state, states[n].state.items, states[n].state.count)) continue;
        if (answer->is_error) continue;
        if (state) answer = vd_refuse(vd_string("states"), 4, "not a state of this detector and version");
        else answer = vd_refuse(vd_string("ids"), 5, "a column that was not added");
    }
    return answer;
}

/* Called by the host when it has copied an answer. */
#define VD_AFTER(name) VD_EXPORT("cabi_post_" name)
VD_AFTER("describe") void vd_after_describe(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("series-added") void vd_after_series_added(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("configure") void vd_after_configure(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("observe") void vd_after_observe(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("observe-logs") void vd_after_observe_logs(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("explain") void vd_after_explain(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("snapshot") void vd_after_snapshot(void *answer) { (void)answer; vd_end_of_call(); }
VD_AFTER("restore") void vd_after_restore(void *answer) { (void)answer; vd_end_of_call(); }

#endif
