//! Text in the form of OpenMetrics 1.0: families one after the other, each with HELP, TYPE and, if it has one, UNIT.

use std::fmt::{Display, Write as _};

/// Begin of every name.
const PREFIX: &str = "vedette_agent_";

/// Kinds of families; a family is one of them with a name.
pub(super) const GAUGE: Kind = Kind { name: "gauge", suffix: "" };
pub(super) const COUNTER: Kind = Kind { name: "counter", suffix: "_total" };
pub(super) const INFO: Kind = Kind { name: "info", suffix: "_info" };

#[derive(Clone, Copy)]
pub(super) struct Kind {
    name: &'static str,
    /// Of its samples.
    suffix: &'static str,
}

pub(super) struct Family {
    kind: Kind,
    /// Without prefix and suffix.
    name: &'static str,
    unit: &'static str,
    help: &'static str,
}

impl Kind {
    /// A family of bare numbers.
    pub(super) const fn named(self, name: &'static str, help: &'static str) -> Family {
        Family { kind: self, name, unit: "", help }
    }

    /// A family of seconds; the name ends in `_seconds`.
    pub(super) const fn seconds(self, name: &'static str, help: &'static str) -> Family {
        Family { kind: self, name, unit: "seconds", help }
    }

    /// A family of bytes; the name ends in `_bytes`.
    pub(super) const fn bytes(self, name: &'static str, help: &'static str) -> Family {
        Family { kind: self, name, unit: "bytes", help }
    }
}

/// The text so far.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// A family of one sample without labels.
    pub(super) fn one(&mut self, family: &Family, value: impl Display) {
        self.labelled(family, [([], value)]);
    }

    /// A family of samples with the same labels each; nothing at all if there is no sample.
    pub(super) fn labelled<'a, const N: usize, V: Display>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(family);
        }
        for (labels, value) in samples {
            let _ = write!(self.text, "{PREFIX}{}{}", family.name, family.kind.suffix);
            for (at, (name, value)) in labels.into_iter().enumerate() {
                let open = if at == 0 { '{' } else { ',' };
                let _ = write!(self.text, "{open}{name}=\"{}\"", escaped(value));
            }
            let _ = writeln!(self.text, "{} {value}", if N > 0 { "}" } else { "" });
        }
    }

    fn head(&mut self, Family { kind, name, unit, help }: &Family) {
        debug_assert!(name.ends_with(unit), "a name ends with its unit: {name}");
        let _ = write!(self.text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {}\n", kind.name);
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {PREFIX}{name} {unit}");
        }
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
