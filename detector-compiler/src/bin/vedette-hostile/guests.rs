//! Guests that attack the host through what a WebAssembly component can do, and an honest one beside them.

use anyhow::Result;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const TEMPLATE: &str = include_str!("guest.wat");
const CONTRACT: &str = include_str!("../../../../wit/detector/0.1.0/detector.wit");
/// The contract and one thing more.
const SMUGGLERS_CONTRACT: &str = "
package vedette:hostile;
world detector {
    include vedette:detector/detector@0.1.0;
    import open-file: func(path: string) -> u32;
}";

/// Stands where native code is patched: see `native`.
pub(crate) const MARK: i64 = 0x5645_4445_5454_4521;

/// One guest: what it is called, what it does, and the code that makes it do so.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Marks of the template and their replacements.
    code: &'static [(&'static str, &'static str)],
    smuggles: bool,
}

impl Guest {
    const fn new(name: &'static str, about: &'static str, code: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, about, code, smuggles: false }
    }

    /// The guest as a component.
    pub(crate) fn component(&self) -> Result<Vec<u8>> {
        let mut text = TEMPLATE.replace("{{NAME}}\"", &format!("{}\"", self.name));
        text = text.replace("{{NAME_LEN}}", &self.name.len().to_string());
        for (mark, code) in self.code {
            let mark = format!(";;{{{{{mark}}}}}");
            anyhow::ensure!(text.contains(&mark), "no {mark} in the template");
            text = text.replace(&mark, code);
        }
        let mut module = wat::parse_str(&text)?;
        let mut resolve = Resolve::default();
        let mut package = resolve.push_str("detector.wit", CONTRACT)?;
        if self.smuggles {
            package = resolve.push_str("hostile.wit", SMUGGLERS_CONTRACT)?;
        }
        let world = resolve.select_world(&[package], Some("detector"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.validate(true).encode()
    }
}

/// An honest detector: attacks on others must not touch it.
pub(crate) const HONEST: Guest = Guest::new("honest", "scores as it should", &[]);

/// Logs far too much, with characters that would mess up a terminal; otherwise honest, and nobody is harmed.
pub(crate) const CHATTY: Guest = Guest::new(
    "chatty",
    "logs 100 lines at every tick and scores as it should",
    &[
        (
            "IMPORTS",
            "(import \"$root\" \"log\" (func $log (param i32 i32 i32)))\n(data (i32.const 200) \"alpha\\1b[31m beta\")",
        ),
        (
            "OBSERVE",
            "(loop $again
               (call $log (i32.const 1) (i32.const 200) (i32.const 15))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))
             (local.set $i (i32.const 0))",
        ),
    ],
);

/// Does nothing: what is left is the host's own cost.
pub(crate) const IDLE: Guest = Guest::new(
    "idle",
    "scores every value 0 without a look",
    &[(
        "OBSERVE",
        "(local.set $out
           (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $n) (i32.const 2))))
         (memory.fill (local.get $out) (i32.const 0) (i32.shl (local.get $n) (i32.const 2)))
         (return (call $list (local.get $out) (local.get $n)))",
    )],
);

/// Declines whatever it is told of: it is never asked.
pub(crate) const DECLINES: Guest = Guest::new(
    "declines",
    "declines every series",
    &[(
        "ADDED",
        "(local.set $slot
           (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $n) (i32.const 2))))
         (drop (call $list (local.get $slot) (local.get $n)))
         (loop $decline
           (if (i32.eqz (local.get $n)) (then (return (i32.const 1024))))
           (i32.store (local.get $slot) (i32.load (local.get $series)))
           (local.set $slot (i32.add (local.get $slot) (i32.const 4)))
           (local.set $series (i32.add (local.get $series) (i32.const 80)))
           (local.set $n (i32.sub (local.get $n) (i32.const 1)))
           (br $decline))",
    )],
);

/// Takes nobody's states: what an upgrade with another form of states looks like.
pub(crate) const OTHER_STATES: Guest = Guest::new(
    "other-states",
    "scores as it should and refuses every state",
    &[("RESTORE", "(call $refuse) (return (i32.const 1024))")],
);

/// Guests that are a nuisance, or nothing, but no attack.
pub(crate) const NUISANCES: &[Guest] = &[CHATTY, IDLE, DECLINES, OTHER_STATES];

const MARK_IN_OBSERVE: &[(&str, &str)] = &[("OBSERVE", "(i64.store (i32.const 1072) (i64.const 0x5645444554544521))")];

/// Where crafted native artifacts are made from: honest, but for a mark in `observe`.
pub(crate) const FORBIDDEN_CALL: Guest =
    Guest::new("forbidden-syscall", "opens a socket from crafted native code", MARK_IN_OBSERVE);
pub(crate) const QUIET_EXIT: Guest =
    Guest::new("quiet-exit", "ends the worker from crafted native code", MARK_IN_OBSERVE);

/// Attacks that need no crafted native code.
pub(crate) const HOSTILE: &[Guest] = &[
    Guest::new("loops-for-ever", "never returns from observe", &[("OBSERVE", "(loop $ever (br $ever))")]),
    Guest::new("loops-in-describe", "never says what it is", &[("DESCRIBE", "(loop $ever (br $ever))")]),
    Guest::new("traps", "traps in observe", &[("OBSERVE", "(unreachable)")]),
    Guest::new(
        "recurses",
        "exhausts the stack",
        &[
            ("OBSERVE", "(return (call $deeper (local.get $n)))"),
            (
                "IMPORTS",
                "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))",
            ),
        ],
    ),
    Guest::new(
        "asks-for-4-gib",
        "grows its memory to the end of its address space",
        &[("OBSERVE", "(if (i32.eq (memory.grow (i32.const 65532)) (i32.const -1)) (then (unreachable)))")],
    ),
    Guest::new(
        "shrugs-and-traps",
        "asks for far too much memory, does without, and traps at its second tick",
        &[(
            "OBSERVE",
            "(if (i32.load8_u (i32.const 1072)) (then (unreachable)))
             (i32.store8 (i32.const 1072) (i32.const 1))
             (drop (memory.grow (i32.const 65532)))",
        )],
    ),
    Guest::new(
        "returns-10-million-values",
        "returns a list longer than its memory",
        &[("OBSERVE", "(return (call $list (i32.const 81920) (i32.const 10000000)))")],
    ),
    Guest::new(
        "returns-too-few-scores",
        "returns one score less than there are values",
        &[("OBSERVE", "(return (call $list (i32.const 81920) (i32.sub (local.get $n) (i32.const 1))))")],
    ),
    Guest::new("returns-negative-scores", "returns scores below 0", &[("OBSERVE", NEGATIVE_SCORES)]),
    Guest::new("returns-infinite-scores", "returns an infinite score", &[("OBSERVE", INFINITE_SCORE)]),
    Guest::new(
        "lies-in-describe",
        "promises states of 4 GiB and a thousand parameters that it does not have",
        &[("DESCRIBE", LYING_DESCRIPTION)],
    ),
    Guest::new(
        "lies-in-realloc",
        "has its input written beyond the end of its memory",
        &[("REALLOC", "(if (i32.gt_u (local.get $len) (i32.const 32)) (then (return (i32.const -4096))))")],
    ),
    Guest::new(
        "floods-the-log",
        "logs for ever",
        &[
            ("IMPORTS", "(import \"$root\" \"log\" (func $log (param i32 i32 i32)))"),
            ("OBSERVE", "(loop $ever (call $log (i32.const 0) (i32.const 16) (i32.const 5)) (br $ever))"),
        ],
    ),
    Guest::new(
        "declines-strangers",
        "declines series that it was never told of",
        &[(
            "ADDED",
            "(i32.store (i32.const 1088) (i32.const -2)) (return (call $list (i32.const 1088) (i32.const 1)))",
        )],
    ),
    Guest::new("declines-for-ever", "declines more series than there are", &[("ADDED", DECLINED_TWICE)]),
    Guest::new("grows-in-snapshot", "returns a larger state than it promised", &[("SNAPSHOT", GROWN_STATE)]),
    Guest::new("traps-in-restore", "traps when it is given its own states", &[("RESTORE", "(unreachable)")]),
    Guest::new(
        "aliased-lists",
        "gives all columns one address, returns a column as scores, and one block of memory as thousands of states",
        &[
            ("REALLOC", "(return (i32.const 81920))"),
            ("OBSERVE", "(return (call $list (local.get $values) (local.get $n)))"),
            ("SNAPSHOT", ALIASED_STATES),
        ],
    ),
    Guest {
        smuggles: true,
        ..Guest::new(
            "forbidden-import",
            "imports a function that no detector may have",
            &[
                ("IMPORTS", "(import \"$root\" \"open-file\" (func $open (param i32 i32) (result i32)))"),
                ("OBSERVE", "(drop (call $open (i32.const 16) (i32.const 4)))"),
            ],
        )
    },
];

/// Every byte 0xbf: about -1.5 as `f32`.
const NEGATIVE_SCORES: &str = "
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $n) (i32.const 2))))
    (memory.fill (local.get $out) (i32.const 0xbf) (i32.shl (local.get $n) (i32.const 2)))
    (return (call $list (local.get $out) (local.get $n)))";

const INFINITE_SCORE: &str = "
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $n) (i32.const 2))))
    (f32.store (local.get $out) (f32.const inf))
    (return (call $list (local.get $out) (local.get $n)))";

/// Name and version are in order; the rest is not.
const LYING_DESCRIPTION: &str = "
    (i32.store (i32.const 1024) (i32.const 16)) (i32.store (i32.const 1028) (i32.const 4))
    (i32.store (i32.const 1032) (i32.const 96)) (i32.store (i32.const 1036) (i32.const 5))
    (i32.store8 (i32.const 1040) (i32.const 0))
    (i32.store (i32.const 1044) (i32.const 1))
    (i32.store (i32.const 1048) (i32.const -1))
    (i32.store (i32.const 1052) (i32.const -1))
    (i32.store (i32.const 1056) (i32.const 98304)) (i32.store (i32.const 1060) (i32.const 1000))
    (return (i32.const 1024))";

/// A series that it was told of, 40,000 times.
const DECLINED_TWICE: &str = "
    (memory.fill (i32.const 81920) (i32.const 0) (i32.const 160000))
    (return (call $list (i32.const 81920) (i32.const 40000)))";

/// One state of 4 KiB where 8 bytes were promised.
const GROWN_STATE: &str = "
    (i64.store (i32.const 98304) (i64.load (call $key (call $slot (local.get $ids) (i32.const 0)))))
    (i32.store offset=8 (i32.const 98304) (i32.const 0))
    (i32.store offset=12 (i32.const 98304) (i32.const 4096))
    (return (call $list (i32.const 98304) (i32.const 1)))";

/// 10,000 states of 64 KiB that are all the same bytes: 160 KB of memory that would become 640 MB in the host.
const ALIASED_STATES: &str = "
    (local.set $at (i32.const 98304))
    (loop $fill
      (i64.store (local.get $at) (i64.load (call $key (call $slot (local.get $ids) (i32.const 0)))))
      (i32.store offset=8 (local.get $at) (i32.const 0))
      (i32.store offset=12 (local.get $at) (i32.const 65536))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $fill (i32.lt_u (local.get $at) (i32.const 258304))))
    (return (call $list (i32.const 98304) (i32.const 10000)))";
