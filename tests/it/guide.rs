//! The author's guide, as a stranger would follow it: every `sh` block of `plugins/README.md`, verbatim, in an empty
//! folder, with nothing but the built programs and the toolchains that the guide names. The last step, the detectors in a
//! running agent, with an agent of the test's own in place of the demo's.

pub(crate) mod in_an_agent;

use crate::workspace::{read, root};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use vedette_protocol::signature::SigningKey;

/// The blocks of the guide, in order; those of another kind need a running agent or are not commands.
fn blocks(guide: &str) -> Vec<String> {
    blocks_of(guide, "sh")
}

fn blocks_of(guide: &str, kind: &str) -> Vec<String> {
    let begin = format!("```{kind}");
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in guide.lines() {
        match &mut open {
            Some(block) if line == "```" => blocks.push(std::mem::take(block)),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == begin => open = Some(String::new()),
            None => {}
        }
        if line == "```" {
            open = None;
        }
    }
    blocks
}

/// Where the built programs are: `VEDETTE_BIN_DIR`, else beside this test.
pub(crate) fn programs() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.to_path_buf());
    let folder = std::env::var_os("VEDETTE_BIN_DIR").map(PathBuf::from).or_else(beside).expect("a test is a file");
    for name in ["vedette", "vedette-compiler", "vedette-agent"] {
        assert!(
            folder.join(name).exists(),
            "{} is missing: `cargo build -p vedette-cli -p vedette-detector-compiler` and `cargo build -p vedette-agent` make it, or VEDETTE_BIN_DIR names another folder",
            folder.join(name).display()
        );
    }
    root().join(folder)
}

/// What the guide says that a reader needs, found missing before it is.
pub(crate) fn toolchains() -> Vec<String> {
    let starts = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let mut missing = Vec::new();
    if !starts("clang", &["--version"]) {
        missing.push("clang: `apt-get install clang`".to_owned());
    }
    if !starts("wasm-ld", &["--version"]) {
        missing.push("LLVM's linker: `apt-get install lld`".to_owned());
    }
    let rustup = starts("rustup", &["target", "add", "wasm32-unknown-unknown"]);
    let debian = starts("/usr/bin/rustc", &["--version"]) && starts("/usr/bin/cargo", &["--version"]);
    if !rustup && !debian {
        missing.push("Rust for WebAssembly: `apt-get install rustc-web cargo-web rust-web-src`".to_owned());
    }
    missing
}

fn run(block: &str, folder: &Path, path: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", block]).current_dir(folder).env("PATH", path);
    // The folder is a stranger's: nothing of this run's cargo is for it.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CARGO_") && name != "CARGO_HOME" {
            shell.env_remove(name);
        }
    }
    let output = shell.env_remove("RUSTFLAGS").env_remove("VEDETTE_BIN_DIR").output().expect("sh starts");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the guide's commands failed:\n{block}\n{said}\n{complained}");
    said.into_owned()
}

#[test]
fn the_guide_leads_from_an_empty_folder_to_a_signed_detector_in_rust_and_c() {
    let missing = toolchains();
    assert!(
        missing.is_empty(),
        "the guide cannot be followed here, `cargo xtask test` installs:\n{}",
        missing.join("\n")
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programs = programs();
    // Only the programs that the guide names.
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("an empty folder");
    for name in ["vedette", "vedette-compiler", "vedette-agent"] {
        symlink(programs.join(name), bin.join(name)).expect("a link");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let work = folder.path().join("work");
    std::fs::create_dir(&work).expect("an empty folder");

    let blocks = blocks(&read("plugins/README.md"));
    assert!(blocks.len() >= 5, "the guide has {} blocks of commands", blocks.len());
    let said: String = blocks.iter().map(|block| run(block, &work, &path)).collect();

    assert_eq!(said.matches("checks hold").count(), 2, "{said}");
    assert_eq!(said.matches("every run gave the same bits").count(), 2, "{said}");
    let digests: BTreeSet<_> = said.lines().filter(|line| line.starts_with("confined process")).collect();
    let digests: BTreeSet<_> = digests.iter().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(digests.len(), 1, "both languages give the same scores: {digests:?}");
    for (pair, extension) in [("spike", "cwasm"), ("spike", "sig"), ("spike-c", "wasm"), ("spike-c", "json")] {
        assert!(work.join("pairs").join(format!("{pair}.{extension}")).exists(), "{pair}.{extension}");
    }
    assert!(std::fs::read_to_string(work.join("cpu.svg")).is_ok_and(|picture| picture.contains("</svg>")));
    let scores = std::fs::read_to_string(work.join("scores.csv")).expect("run wrote scores");
    let highest = |from: usize, to: usize| {
        let rows = scores.lines().skip(1).take(to).skip(from);
        rows.filter_map(|row| row.rsplit(',').next()?.parse::<f64>().ok()).fold(0.0, f64::max)
    };
    assert!(highest(700, 720) > 3.0 * highest(100, 700), "the disturbance stands out");
    the_agent_checks_their_parameters(&programs.join("vedette-agent"), &work);
    in_an_agent::the_agent_runs_them(&programs.join("vedette-agent"), &work, &path);
}

/// Before it runs them: the detectors themselves are asked, in workers.
fn the_agent_checks_their_parameters(agent: &Path, work: &Path) {
    let key = std::fs::read(work.join("author.key")).expect("the guide makes a key");
    let author = SigningKey::from_pkcs8(&key).expect("a key").public();
    let config = work.join("agent.toml");
    let check = |parameter: &str| {
        let text = format!(
            "[collector]\naddress = \"127.0.0.1:1\"\n[trust]\nauthor-keys = [\"{author}\"]\n[detectors]\n\
             directory = {:?}\n[detectors.parameters]\nspike.memory-s = 300.0\n{parameter}\n",
            work.join("pairs")
        );
        std::fs::write(&config, text).expect("configuration");
        let output = Command::new(agent).args(["check", "--config"]).arg(&config).output().expect("the agent starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check("").0, Some(0), "{}", check("").1);
    for (parameter, told) in [
        ("spike-c.memry-s = 300.0", "agent.toml:9:19: [VDT-C009] `detectors.parameters.spike-c.memry-s`"),
        ("spike-c.memory-s = -1.0", "allowed are"),
        ("spyke.memory-s = 300.0", "there is no such detector; there are: `spike`, `spike-c`"),
    ] {
        let (code, said) = check(parameter);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(told), "{told} is not in {said}");
    }
}

#[test]
fn only_sh_blocks_are_commands() {
    let text = "```sh\na\nb\n```\n```bash\nc\n```\n```toml\nd\n```\n```sh\ne\n```\n";
    assert_eq!(blocks(text), ["a\nb\n", "e\n"]);
    assert_eq!(blocks_of(text, "bash"), ["c\n"]);
}
