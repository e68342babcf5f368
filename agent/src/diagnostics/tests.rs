use super::redact::is_secret;
use super::*;
use std::os::unix::fs::PermissionsExt as _;

/// Secrets in many clothes; none of them may come out.
const SECRETS: [&str; 14] = [
    "hunter2-in-a-password",
    "s3cr3t-of-collector",
    "tok_9f8e7d6c5b4a39281706",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
    "bob.smith@example.com",
    "p4ss-of-the-database",
    "second line of a pass phrase",
    "c00kie-of-a-session",
    "\"quoted\\secret\"",
    "unknown-but-private-value",
];

fn places(folder: &Path) -> Places {
    let data = folder.join("data");
    let config = format!(
        "# the old password was {}\n[agent]\ndata-dir = {data:?}\nsocket = {socket:?}\n[collector]\naddress = \"127.0.0.1:9\"\n\
         password = {:?}\ntoken = {:?}\nserver-name = {:?}\n[extra]\nnote = {:?}\nnested = {{ api-key = {:?}, list = [{:?}] }}\n\
         passphrase = \"\"\"first line\n{}\"\"\"\n[[logs]]\npath = \"/var/log/kept.log\"\n",
        SECRETS[0],
        SECRETS[1],
        SECRETS[2],
        format!("{}@x", SECRETS[9]),
        SECRETS[13],
        SECRETS[3],
        SECRETS[12],
        SECRETS[10],
        socket = folder.join("none.sock"),
    );
    std::fs::write(folder.join("agent.toml"), config).expect("configuration");
    let log = format!(
        "INFO started with password={} ok\nWARN GET /x?token={}&user=1\nERROR Authorization: Bearer {}\n\
         key {} and {}\njwt {}\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\nmail from {} failed\n\
         postgres://app:{}@db/x\nCookie: sid={}; theme=dark\nthe file has {} in it\nINFO all is well\n",
        SECRETS[0],
        SECRETS[2],
        SECRETS[3],
        SECRETS[4],
        SECRETS[5],
        SECRETS[6],
        SECRETS[7],
        SECRETS[8],
        SECRETS[9],
        SECRETS[11],
        SECRETS[1],
    );
    std::fs::write(folder.join("agent.log"), log).expect("log");
    Places { config: folder.join("agent.toml"), log: Some(folder.join("agent.log")) }
}

async fn bundle(places: &Places) -> Bundle {
    collect(places, &Root::system()).await
}

/// Every file of an archive by name.
fn unpacked(path: &Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(path).expect("it was written")));
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("text");
            (name, content)
        })
        .collect()
}

#[tokio::test]
async fn no_byte_of_a_planted_secret_is_in_the_bundle() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (bundle, out) = (bundle(&places(folder.path())).await, folder.path().join("out.tar.gz"));
    write(&bundle, "diagnostics", &out).expect("written");
    let files = unpacked(&out);
    for (name, content) in &files {
        for secret in SECRETS {
            let in_json = serde_json::to_string(secret).expect("a text");
            assert!(!content.contains(secret), "{name} has {secret}: {content}");
            assert!(!content.contains(in_json.trim_matches('"')), "{name} has {in_json}");
        }
    }
    let all: String = files.iter().map(|(_, content)| content.as_str()).collect();
    assert!(all.contains("/var/log/kept.log") && all.contains("127.0.0.1:9"), "paths and addresses stay: {all}");
    assert!(all.contains("INFO all is well") && all.contains("extra.note = \"<redacted>\""), "{all}");
}

#[tokio::test]
async fn without_an_agent_the_bundle_says_what_it_lacks_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut places = places(folder.path());
    places.log = Some(folder.path().join("no.log"));
    let (bundle, out) = (bundle(&places).await, folder.path().join("out.tar.gz"));
    let missing: Vec<_> = bundle.missing.iter().map(|(name, _)| *name).collect();
    for name in ["status.json", "cost.json", "metrics.txt", "log.txt"] {
        assert!(missing.contains(&name), "{missing:?}");
    }
    write(&bundle, "diagnostics", &out).expect("written");
    assert_eq!(std::fs::metadata(&out).expect("file").permissions().mode() & 0o777, 0o600);
    assert_eq!(write(&bundle, "diagnostics", &out).expect_err("it is there").kind(), io::ErrorKind::AlreadyExists);
    let files = unpacked(&out);
    let (name, contents) = &files[0];
    assert_eq!(name, "diagnostics/CONTENTS.txt");
    assert!(
        contents.contains("host.json") && contents.contains("status.json        not there: no agent answers"),
        "{contents}"
    );
    let text = |wanted: &str| files.iter().find(|(name, _)| name.ends_with(wanted)).map(|(_, text)| text.as_str());
    assert!(text("/diagnose.json").is_some_and(|text| text.contains("VDT-C002")), "unknown keys are named: {files:?}");
    assert!(text("/version.txt").is_some_and(|text| text.contains(env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn good_configuration_leads_to_its_bound_and_its_folders() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = format!(
        "[agent]\ndata-dir = {:?}\nsocket = {:?}\n[collector]\naddress = \"h:1\"\n",
        folder.path().join("data"),
        folder.path().join("none.sock")
    );
    std::fs::write(folder.path().join("agent.toml"), config).expect("configuration");
    let bundle = bundle(&Places { config: folder.path().join("agent.toml"), log: None }).await;
    let names: Vec<_> = bundle.parts.iter().map(|part| part.name).collect();
    assert!(names.contains(&"memory.json") && names.contains(&"config.toml"), "{names:?}");
    assert!(bundle.missing.iter().any(|(name, _)| *name == "spool.json"), "{:?}", bundle.missing);
}

#[test]
fn names_of_secrets_are_known_and_those_of_files_are_none() {
    for name in ["VEDETTE_API_TOKEN", "password", "collector.api-key", "AWS_SECRET_ACCESS_KEY"] {
        assert!(is_secret(name), "{name}");
    }
    for name in
        ["VEDETTE_ENROLL_TOKEN_FILE", "VEDETTE_CONFIG", "agent.data-dir", "trust.author-keys", "limits.series-max"]
    {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn what_stands_in_a_secret_variable_is_taken_out_wherever_it_is_quoted() {
    let variables = [("VEDETTE_API_TOKEN".to_owned(), "plain words".to_owned())];
    let redactor = Redactor::new(&Settings::default(), &variables);
    assert_eq!(redactor.text("it said plain words twice\n"), "it said <redacted> twice\n");
    assert_eq!(redactor.json(&json!({ "a": ["plain words"] })), json!({ "a": ["<redacted>"] }));
}

#[test]
fn end_of_a_long_log_begins_with_a_whole_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let line = "x".repeat(999) + "\n";
    std::fs::write(&path, line.repeat(400)).expect("log");
    let end = end_of(&path).expect("read");
    assert!(
        end.len().is_multiple_of(1_000) && end.len() as u64 <= LOG_BYTES_MAX && end.len() > 200_000,
        "{}",
        end.len()
    );
}
