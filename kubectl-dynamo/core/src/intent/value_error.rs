//! Why one value of a request is invalid. It describes only the value: the setting and the example are added by the
//! error that contains it.

use super::image::ImageReferenceError;

/// Why a value of a request cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("it must not be empty")]
    Empty,
    /// The value does not have the form of its type.
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("expected a string (put {given} in quotes)")]
    UnquotedString { given: String },
    #[error("\"{given}\" is not {expected}")]
    WrongType { given: String, expected: &'static str },
    #[error("\"{given}\" is neither true nor false")]
    NotBoolean { given: String },
    #[error("\"{given}\" is not one of {}", allowed.join(", "))]
    NotAllowed { given: String, allowed: Vec<&'static str> },
    #[error("\"{given}\" is not supported yet; the supported engines are {}", supported.join(" and "))]
    UnsupportedEngine { given: String, supported: Vec<&'static str> },
    /// The text of a list or a map is not JSON. Contains the parser's message.
    #[error("invalid JSON: {0}")]
    Json(String),
    #[error("\"{given}\" is not one of ephemeral, ephemeral=CLASS, hostPath=PATH, or pvc=NAME")]
    UnknownVolume { given: String },
    #[error("hostPath must be an absolute path on the node, for example hostPath=/mnt/nvme")]
    RelativeHostPath,
    /// `--kv-offload` does not name the CPU tier.
    #[error("\"{given}\": the CPU tier is required (cpu=QUANTITY)")]
    MissingCpuTier { given: String },
    #[error("\"{given}\": a tier must be cpu=QUANTITY or disk=QUANTITY")]
    UnknownTier { given: String },
    #[error("{0}")]
    Image(ImageReferenceError),
}
