//! Why a detector on disk is not loaded. Every reason has a code with a page in docs/errors.

use std::fmt;
use vedette_protocol::signature::PublicKey;

/// A detector that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Name of its files.
    pub name: String,
    /// Why.
    pub refusal: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, refusal } = self;
        write!(f, "detector {name}: {}", refusal.told())
    }
}

/// Reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of the four files is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    /// A file is over its limit.
    #[error("{0} is over the limit of {1} bytes")]
    TooLarge(String, usize),
    /// More detectors than a directory may hold.
    #[error("more than {max} detectors in the directory", max = super::ARTIFACTS_MAX)]
    TooMany,
    /// The signature file is not a key and a signature.
    #[error("the signature file is not a key and a signature")]
    MalformedSignature,
    /// Signed, but by a key that is not trusted here.
    #[error("signed by {0}, which is no trusted author")]
    UntrustedAuthor(PublicKey),
    /// The signature does not fit the manifest.
    #[error("the manifest was altered after it was signed")]
    Tampered,
    /// The signed bytes are no manifest.
    #[error("the manifest is malformed: {0}")]
    MalformedManifest(String),
    /// The manifest is another detector's.
    #[error("the manifest is that of {0:?}, the files are named {1:?}")]
    WrongName(String, String),
    /// It speaks another contract.
    #[error("it speaks {0}, this host {1}")]
    WrongContract(String, String),
    /// It was compiled for another target.
    #[error("compiled for {0}, this host is {1}")]
    WrongTarget(String, String),
    /// It was compiled for another CPU baseline.
    #[error("compiled for CPU baseline {0}, this host loads {1}")]
    WrongCpu(String, String),
    /// It was compiled by another version of wasmtime.
    #[error("compiled by wasmtime {0}, this host runs {1}")]
    WrongWasmtime(String, String),
    /// It was compiled with other settings.
    #[error("compiled with other engine settings than this host's")]
    WrongTunables,
    /// A file's digest is not that of the manifest; names the extension.
    #[error("the .{0} is not the one that was signed")]
    WrongDigest(&'static str),
    /// It is to be interpreted here, and holds nothing but native code.
    #[error("it holds no byte code, and this agent interprets its detectors")]
    NoByteCode,
}

impl Refusal {
    /// Every code, each with a page in docs/errors.
    pub const CODES: &[&str] = &[
        "VDT-D001", "VDT-D002", "VDT-D003", "VDT-D004", "VDT-D005", "VDT-D006", "VDT-D007", "VDT-D008", "VDT-D009",
        "VDT-D010", "VDT-D011", "VDT-D012", "VDT-D013", "VDT-D014", "VDT-D015", "VDT-D016",
    ];

    /// The reason's code.
    pub fn code(&self) -> &'static str {
        Self::CODES[self.row().0]
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        self.row().1
    }

    /// Code, reason and remedy in a line.
    pub fn told(&self) -> String {
        format!("[{}] {self} — {}", self.code(), self.remedy())
    }

    fn row(&self) -> (usize, &'static str) {
        const RECOMPILE: &str = "compile it again with the vedette-compiler of this release, and sign the new pair";
        match self {
            Self::Missing(_) => (0, "copy all four files: .wasm, .cwasm, .json and .sig"),
            Self::Unreadable(..) => (1, "make the file readable for the agent's user"),
            Self::TooLarge(..) => (2, "build the detector smaller: release profile, no debug information"),
            Self::TooMany => (3, "remove detectors that are not needed"),
            Self::MalformedSignature => (4, "sign the pair again with `vedette detector sign`"),
            Self::UntrustedAuthor(_) => (5, "if you trust this author, add the key to trust.author-keys"),
            Self::Tampered => (6, "do not use it; fetch the pair again from its author"),
            Self::MalformedManifest(_) => (7, "sign the pair again with `vedette detector sign` of this release"),
            Self::WrongName(..) => (8, "give the four files the manifest's name"),
            Self::WrongContract(..) => (9, "build the detector against the host's contract, or upgrade the host"),
            Self::WrongTarget(..) => (10, RECOMPILE),
            Self::WrongCpu(..) => (11, RECOMPILE),
            Self::WrongWasmtime(..) => (12, RECOMPILE),
            Self::WrongTunables => (13, RECOMPILE),
            Self::WrongDigest(_) => (14, "do not use it; fetch the pair again from its author"),
            Self::NoByteCode => {
                (15, "compile it for pulley64 too and sign it anew, or set detectors.execution to native")
            }
        }
    }
}
