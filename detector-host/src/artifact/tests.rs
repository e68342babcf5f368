use super::*;

struct Shelf {
    dir: tempfile::TempDir,
    key: SigningKey,
}

impl Shelf {
    fn new() -> Self {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), key }
    }

    /// Writes a pair whose manifest went through `alter` before it was signed.
    fn publish(&self, alter: impl FnOnce(&mut Manifest)) {
        let mut manifest = Manifest::new("probe", "1.0.0", b"wasm", b"native", Identity::host());
        alter(&mut manifest);
        write_pair(self.dir.path(), &manifest, b"wasm", b"native", &self.key).unwrap();
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.dir.path().join(format!("probe.{extension}"))
    }

    /// Codes of what is refused, or the name of what is loaded.
    fn verdicts(&self) -> Vec<String> {
        let loaded = load_dir(self.dir.path(), &[self.key.public()]).unwrap();
        let verdicts = loaded.into_iter().map(|one| match one {
            Ok(artifact) => artifact.manifest().name.clone(),
            Err(refused) => {
                assert!(refused.to_string().contains(refused.refusal.code()));
                refused.refusal.code().to_owned()
            }
        });
        verdicts.collect()
    }
}

#[test]
fn a_good_pair_is_loaded_with_its_exact_bytes() {
    let shelf = Shelf::new();
    shelf.publish(|_| ());
    let artifact = load(shelf.dir.path(), "probe", &[shelf.key.public()]).unwrap();
    assert_eq!(artifact.cwasm().as_ref(), b"native");
    assert_eq!(artifact.wasm_digest(), Digest::of(b"wasm"));
}

#[test]
fn who_reads_a_pair_while_it_is_written_anew_finds_whole_files() {
    let shelf = Shelf::new();
    shelf.publish(|_| ());
    let mut open = ["wasm", "cwasm", "json", "sig"].map(|extension| File::open(shelf.path(extension)).unwrap());
    let before = ["wasm", "cwasm", "json", "sig"].map(|extension| fs::read(shelf.path(extension)).unwrap());
    shelf.publish(|manifest| manifest.version = "1.0.1".to_owned());
    for (file, before) in open.iter_mut().zip(before) {
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, before);
    }
    write_pulley(shelf.dir.path(), &Manifest::new("probe", "1.0.1", b"", b"", Identity::host()), b"code").unwrap();
    assert_eq!((shelf.verdicts(), fs::read_dir(shelf.dir.path()).unwrap().count()), (vec!["probe".to_owned()], 5));
}

#[test]
fn a_missing_directory_holds_no_detectors() {
    assert!(load_dir(Path::new("/nonexistent/detectors"), &[]).unwrap().is_empty());
}

#[test]
fn every_foreign_identity_is_refused_with_its_own_code() {
    type Alteration = (fn(&mut Manifest), &'static str);
    let alterations: [Alteration; 6] = [
        (|manifest| manifest.contract = "vedette:detector@9.9.9".into(), "VDT-D010"),
        (|manifest| manifest.target = "sparc-sun-solaris".into(), "VDT-D011"),
        (|manifest| manifest.cpu = "x86-64-v4".into(), "VDT-D012"),
        (|manifest| manifest.wasmtime = "48.0.0".into(), "VDT-D013"),
        (|manifest| manifest.tunables = Digest([0; 32]), "VDT-D014"),
        (|manifest| manifest.cwasm_sha256 = Digest([0; 32]), "VDT-D015"),
    ];
    for (alter, code) in alterations {
        let shelf = Shelf::new();
        shelf.publish(alter);
        assert_eq!(shelf.verdicts(), [code]);
    }
}

#[test]
fn a_refused_contract_is_told_with_both_versions_and_a_remedy() {
    let shelf = Shelf::new();
    shelf.publish(|manifest| manifest.contract = "vedette:detector@0.2.0".into());
    let refusal = load(shelf.dir.path(), "probe", &[shelf.key.public()]).unwrap_err();
    assert_eq!(
        Refused { name: "probe".into(), refusal }.to_string(),
        "detector probe: [VDT-D010] it speaks vedette:detector@0.2.0, this host vedette:detector@0.1.0 — \
         build the detector against the host's contract, or upgrade the host"
    );
}

#[test]
fn an_interpreting_host_takes_the_byte_code_and_refuses_a_foreign_identity() {
    type Alteration = (fn(&mut Manifest), Result<&'static [u8], &'static str>);
    let alterations: [Alteration; 7] = [
        (|manifest| *manifest = manifest.clone().with_pulley(b"byte code"), Ok(b"byte code")),
        (
            |manifest| {
                // Native code of another machine is not looked at.
                *manifest = manifest.clone().with_pulley(b"byte code");
                manifest.target = "sparc-sun-solaris".into();
            },
            Ok(b"byte code"),
        ),
        (
            |manifest| {
                *manifest = Manifest::new("probe", "1.0.0", b"wasm", b"native", Identity::loaded_by(Execution::Pulley))
            },
            Ok(b"native"),
        ),
        (|_| (), Err("VDT-D016")),
        (
            |manifest| {
                *manifest = manifest.clone().with_pulley(b"byte code");
                manifest.wasmtime = "48.0.0".into();
            },
            Err("VDT-D013"),
        ),
        (
            |manifest| {
                *manifest = manifest.clone().with_pulley(b"byte code");
                manifest.pulley.as_mut().unwrap().tunables = manifest.tunables;
            },
            Err("VDT-D014"),
        ),
        (|manifest| *manifest = manifest.clone().with_pulley(b"other code"), Err("VDT-D015")),
    ];
    for (alter, expected) in alterations {
        let shelf = Shelf::new();
        shelf.publish(alter);
        fs::write(shelf.path("pulley"), b"byte code").unwrap();
        let loaded = load_for(shelf.dir.path(), "probe", &[shelf.key.public()], Execution::Pulley);
        let loaded = loaded.map(|artifact| artifact.cwasm().to_vec()).map_err(|refusal| refusal.code());
        assert_eq!(loaded, expected.map(<[u8]>::to_vec));
    }
}

#[test]
fn every_altered_file_is_refused() {
    for (extension, content, code) in [
        ("wasm", &b"other"[..], "VDT-D015"),
        ("cwasm", b"other", "VDT-D015"),
        ("json", b"{}", "VDT-D007"),
        ("sig", b"ed25519:00 00", "VDT-D005"),
        ("json", &[b' '; MANIFEST_BYTES_MAX + 1], "VDT-D003"),
    ] {
        let shelf = Shelf::new();
        shelf.publish(|_| ());
        fs::write(shelf.path(extension), content).unwrap();
        assert_eq!(shelf.verdicts(), [code], "{extension}");
    }
}

#[test]
fn an_untrusted_author_a_renamed_pair_and_a_lone_file_are_refused() {
    let shelf = Shelf::new();
    shelf.publish(|_| ());
    let refused = load(shelf.dir.path(), "probe", &[]).unwrap_err();
    assert_eq!((refused.code(), &refused), ("VDT-D006", &Refusal::UntrustedAuthor(shelf.key.public())));
    for extension in ["wasm", "cwasm", "json", "sig"] {
        fs::rename(shelf.path(extension), shelf.dir.path().join(format!("other.{extension}"))).unwrap();
    }
    fs::write(shelf.path("cwasm"), b"native").unwrap();
    assert_eq!(shelf.verdicts(), ["VDT-D009", "VDT-D001"]);
}

#[test]
fn a_manifest_signed_for_another_purpose_is_refused() {
    let shelf = Shelf::new();
    shelf.publish(|_| ());
    let manifest = fs::read(shelf.path("json")).unwrap();
    let signed = shelf.key.sign(Domain::Policy, manifest);
    let hex: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(shelf.path("sig"), format!("{} {hex}", signed.key)).unwrap();
    assert_eq!(shelf.verdicts(), ["VDT-D007"]);
}

#[test]
fn a_crowded_directory_is_cut_and_says_so() {
    let shelf = Shelf::new();
    for number in 0..=ARTIFACTS_MAX {
        fs::write(shelf.dir.path().join(format!("one-{number:03}.sig")), b"").unwrap();
    }
    let verdicts = shelf.verdicts();
    assert_eq!(verdicts.len(), ARTIFACTS_MAX + 1);
    assert_eq!(verdicts.last().unwrap(), "VDT-D004");
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_not_written() {
    let shelf = Shelf::new();
    let pairs = shelf.dir.path().join("pairs");
    for name in ["../settings", "/settings", "a/b", ".hidden", ".", ""] {
        let manifest = Manifest::new(name, "1.0.0", b"wasm", b"native", Identity::host()).with_pulley(b"byte code");
        assert!(write_pulley(&pairs, &manifest, b"byte code").is_err(), "{name:?}");
        assert!(write_pair(&pairs, &manifest, b"wasm", b"native", &shelf.key).is_err(), "{name:?}");
    }
    assert_eq!(fs::read_dir(shelf.dir.path()).unwrap().count(), 0, "nothing was written");
}
