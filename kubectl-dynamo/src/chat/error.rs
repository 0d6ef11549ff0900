//! Why there is no answer. Dynamo refuses in three shapes: a body with `message` at the top, an empty 404, and an
//! error inside a stream that began with 200.

use crate::error::{Exit, Explain};

/// A turn that brought no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("{url} cannot be reached: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("{url} is no HTTP address")]
    NotAnAddress { url: String },
    #[error("{url} refuses who asks: HTTP {status}, {message}")]
    Access { url: String, status: u16, message: String },
    #[error("the request was refused: HTTP {status}, {message}")]
    Refused { status: u16, message: String },
    #[error("{url} serves no model now (HTTP 404 with nothing in it)")]
    NothingServes { url: String },
    #[error("{url} lists no model")]
    NoModel { url: String },
    #[error("{url} lists several models: {models}")]
    WhichModel { url: String, models: String },
    #[error("{url} does not list model {model}; it lists {models}")]
    UnknownModel { url: String, model: String, models: String },
    #[error("the answer broke off: {message}")]
    BrokeOff { message: String },
    #[error("the connection closed in the middle of the answer")]
    CutOff,
    #[error("{url} does not speak the OpenAI protocol: {what}")]
    Foreign { url: String, what: String },
}

impl Explain for ChatError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { .. } => "KD0802",
            Self::NotAnAddress { .. } => "KD0804",
            Self::Access { .. } => "KD0805",
            Self::Refused { .. } => "KD0806",
            Self::NothingServes { .. } | Self::NoModel { .. } => "KD0807",
            Self::WhichModel { .. } | Self::UnknownModel { .. } => "KD0808",
            Self::BrokeOff { .. } => "KD0809",
            Self::CutOff => "KD0810",
            Self::Foreign { .. } => "KD0811",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } => {
                "see what runs: kubectl dynamo list, or kubectl dynamo list --local".into()
            }
            Self::NotAnAddress { .. } => "for example --url http://127.0.0.1:8000/v1".into(),
            Self::Access { .. } => {
                "name the variable that holds the key: --api-key-env OPENAI_API_KEY".into()
            }
            Self::Refused { .. } => "the endpoint's own words say what it wants changed".into(),
            Self::NothingServes { .. } | Self::NoModel { .. } => {
                "see what it waits for: kubectl dynamo status, or kubectl dynamo status --local".into()
            }
            Self::WhichModel { .. } | Self::UnknownModel { .. } => "name one with --model".into(),
            Self::BrokeOff { .. } | Self::CutOff => {
                "ask again; if it stays so: kubectl dynamo status, or kubectl dynamo status --local".into()
            }
            Self::Foreign { .. } => "give the address that ends in /v1".into(),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotAnAddress { .. } | Self::WhichModel { .. } | Self::UnknownModel { .. } => Exit::Usage,
            Self::Access { .. } => Exit::Access,
            _ => Exit::Failed,
        }
    }
}
