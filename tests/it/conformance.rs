//! The conformance kit catches what it is there for: the example in C, broken in one way at a time.

use crate::guide::{programs, toolchains};
use std::path::Path;
use std::process::Command;

/// What is broken, the text that is replaced in which file, and the check that must notice.
struct Fault {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    caught_by: &'static str,
}

const DETECTOR: &str = "detector.c";
const HEADER: &str = "vedette_detector.h";

const FAULTS: &[Fault] = &[
    Fault {
        what: "a number is missing from the state",
        file: DETECTOR,
        from: "state->variance = vd_get_f64(in);",
        to: "(void)vd_get_f64(in);",
        caught_by: "snapshot-equivalence",
    },
    Fault {
        what: "a snapshot changes the state",
        file: DETECTOR,
        from: "vd_put_f64(out, state->mean);",
        to: "((vd_state *)state)->mean *= 1.01; vd_put_f64(out, state->mean);",
        caught_by: "snapshot-is-silent",
    },
    Fault {
        what: "it learns while learning is held",
        file: DETECTOR,
        from: "!(sample.flags & VD_HOLD) && ",
        to: "",
        caught_by: "hold-learning",
    },
    Fault {
        what: "one NaN spoils a series for good",
        file: DETECTOR,
        from: "if (!vd_is_finite(sample.value)) return VD_NAN;",
        to: "state->mean += sample.value - sample.value;",
        caught_by: "not-a-number",
    },
    Fault {
        what: "a gap is a surprise",
        file: DETECTOR,
        from: "state->last = sample.value;",
        to: "state->last = sample.value; if (sample.flags & VD_GAP) return 100.0;",
        caught_by: "gaps",
    },
    Fault {
        what: "a reset is a surprise",
        file: DETECTOR,
        from: "state->last = sample.value;",
        to: "state->last = sample.value; if (sample.flags & VD_RESET) return 100.0;",
        caught_by: "resets",
    },
    Fault {
        what: "a series that never changes is a surprise",
        file: DETECTOR,
        from: "departure == 0.0 ? 0.0",
        to: "departure == 0.0 ? 100.0",
        caught_by: "constants",
    },
    Fault {
        what: "it divides by the time since the last value",
        file: DETECTOR,
        from: "double departure = sample.value - state->mean;",
        to: "double departure = sample.value - state->mean; state->variance += 1.0 / sample.dt_ms - 1.0 / sample.dt_ms;",
        caught_by: "clock-steps",
    },
    Fault {
        what: "a series is judged by its neighbour",
        file: DETECTOR,
        from: "state->last = sample.value;",
        to: "static double before; sample.value += 0.01 * before; before = sample.value; state->last = sample.value;",
        caught_by: "column-order",
    },
    Fault {
        what: "it counts all series together",
        file: DETECTOR,
        from: "state->learnt >= WARM_UP_VALUES)",
        to: "(vd_find(5) ? state->learnt >= 40 : state->learnt >= WARM_UP_VALUES))",
        caught_by: "neighbours",
    },
    Fault {
        what: "states are larger than declared",
        file: DETECTOR,
        from: ".snapshot_bytes_max = 28",
        to: ".snapshot_bytes_max = 27",
        caught_by: "state-size",
    },
    Fault {
        what: "it trusts the bytes of a state",
        file: DETECTOR,
        from: "return vd_is_finite(state->mean)",
        to: "if (state->learnt > 1000000) __builtin_trap(); return vd_is_finite(state->mean)",
        caught_by: "damaged-states",
    },
    Fault {
        what: "a refused state keeps the others out",
        file: HEADER,
        from: "if (state && vd_take_over(",
        to: "if (state && !answer->is_error && vd_take_over(",
        caught_by: "refused-beside",
    },
    Fault {
        what: "it never has an opinion",
        file: DETECTOR,
        from: "double score = VD_NAN;",
        to: "return VD_NAN; double score = VD_NAN;",
        caught_by: "speaks",
    },
    Fault {
        what: "it is too slow",
        file: DETECTOR,
        from: "state->last = sample.value;",
        to: "state->last = sample.value; for (volatile int n = 0; n < 20000; n++) {}",
        caught_by: "time-budget",
    },
    Fault {
        what: "it keeps a kilobyte more for each call",
        file: DETECTOR,
        from: "state->last = sample.value;",
        to: "state->last = sample.value; vd_new_block(1000);",
        caught_by: "no-leak",
    },
    Fault {
        what: "its version is no number",
        file: DETECTOR,
        from: ".version = \"0.1.0\"",
        to: ".version = \"new\"",
        caught_by: "description",
    },
    Fault {
        what: "a series that comes again keeps its state",
        file: HEADER,
        from: "vd_state *state = vd_state_at(series[n].id);\n        __builtin_memset",
        to: "bool known = vd_slots[series[n].id].key == series[n].key;\n        vd_state *state = vd_state_at(series[n].id);\n        if (known) vd_slots[series[n].id].used = true;\n        if (known) continue;\n        __builtin_memset",
        caught_by: "removed-and-added",
    },
    Fault {
        what: "it declines each third series that it is told of",
        file: DETECTOR,
        from: "    return true;\n",
        to: "    static int told; return told++ % 3 != 1;\n",
        caught_by: "declined",
    },
    Fault {
        what: "a parameter's default is out of its bounds",
        file: DETECTOR,
        from: ".standard = 600.0",
        to: ".standard = 1.0",
        caught_by: "loads",
    },
];

fn vedette(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let program = programs().join("vedette");
    let output = Command::new(program).args(arguments).current_dir(folder).output().expect("vedette starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn the_kit_catches_each_fault_and_says_what_to_do() {
    let missing = toolchains();
    assert!(missing.is_empty(), "C cannot be built here, `cargo xtask test` installs:\n{}", missing.join("\n"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (made, said) = vedette(folder.path(), &["detector", "new", "broken", "--language", "c"]);
    assert!(made, "{said}");
    let project = folder.path().join("broken");
    std::fs::write(folder.path().join("junk.wasm"), "no component").expect("written");
    let (passed, said) = vedette(folder.path(), &["detector", "check", "junk.wasm"]);
    assert!(!passed && said.contains("BROKEN") && said.contains("remedy: "), "{said}");
    let mut missed = Vec::new();
    for fault in FAULTS {
        let path = project.join(fault.file);
        let whole = std::fs::read_to_string(&path).expect("the template has this file");
        assert!(whole.contains(fault.from), "{}: {:?} is not in {}", fault.what, fault.from, fault.file);
        let text = whole.replace(fault.from, fault.to);
        std::fs::write(&path, text).expect("written");
        let (built, said) = vedette(folder.path(), &["detector", "build", "broken", "--out", "broken.wasm"]);
        assert!(built, "{}: {said}", fault.what);
        let mut arguments = vec!["detector", "check", "broken.wasm"];
        if fault.caught_by != "loads" {
            arguments.extend(["--only", fault.caught_by]);
        }
        let (passed, said) = vedette(folder.path(), &arguments);
        let caught = said.lines().any(|line| line.starts_with(fault.caught_by) && line.contains("BROKEN"));
        if passed || !caught || !said.contains("remedy: ") {
            missed.push(format!("{} should be caught by {}:\n{said}", fault.what, fault.caught_by));
        }
        std::fs::write(&path, whole).expect("written");
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_detector_that_declines_everything_runs_and_has_no_word() {
    let missing = toolchains();
    assert!(missing.is_empty(), "C cannot be built here, `cargo xtask test` installs:\n{}", missing.join("\n"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |arguments: &[&str]| vedette(folder.path(), arguments);
    let (made, said) = run(&["detector", "new", "silent", "--language", "c"]);
    assert!(made, "{said}");
    let path = folder.path().join("silent").join(DETECTOR);
    let whole = std::fs::read_to_string(&path).expect("the template has this file");
    std::fs::write(&path, whole.replace("    return true;\n", "    return false;\n")).expect("written");
    let (built, said) = run(&["detector", "build", "silent", "--out", "silent.wasm"]);
    assert!(built, "{said}");
    let rows: String = (0..100).map(|row| format!("{row},{}\n", row % 7)).collect();
    std::fs::write(folder.path().join("in.csv"), format!("timestamp,load\n{rows}")).expect("written");
    let (ran, said) = run(&["detector", "run", "silent.wasm", "--input", "in.csv", "--out", "out.csv"]);
    assert!(ran, "{said}");
    let scores = std::fs::read_to_string(folder.path().join("out.csv")).expect("scores");
    assert!(scores.lines().count() > 100 && scores.lines().skip(1).all(|line| line.ends_with("NaN")), "{scores}");
    let (passed, said) = run(&["detector", "check", "silent.wasm", "--only", "speaks"]);
    assert!(!passed && said.contains("BROKEN"), "{said}");
}
