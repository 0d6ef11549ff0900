//! The categories of message codes. This file must not list codes.

/// What a message is about: the first two digits of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageCategory {
    CommandLine,
    Access,
    Platform,
    Capacity,
    Model,
    Image,
    Engine,
    Routing,
    Network,
    Integration,
}

impl MessageCategory {
    /// All categories, in the order of their digits.
    pub const ALL: &'static [Self] = &[
        Self::CommandLine,
        Self::Access,
        Self::Platform,
        Self::Capacity,
        Self::Model,
        Self::Image,
        Self::Engine,
        Self::Routing,
        Self::Network,
        Self::Integration,
    ];

    /// The name of the category in documents.
    pub const fn title(self) -> &'static str {
        match self {
            Self::CommandLine => "command line and this machine",
            Self::Access => "access",
            Self::Platform => "platform and objects",
            Self::Capacity => "capacity and scheduling",
            Self::Model => "model, cache, and fetch",
            Self::Image => "image and container start",
            Self::Engine => "engine",
            Self::Routing => "registration and routing",
            Self::Network => "network",
            Self::Integration => "gateway, benchmark, and recommendation",
        }
    }
}
