//! LiteLLM in front of deployments: the entries of its configuration that route, how they compare with those that a
//! proxy has loaded, and what a request through it proves. It must not send requests.

mod address;
mod comparison;
mod entry;
mod line_diff;
mod marked_text;
mod matching;
mod proxy;
mod route;

pub use address::GatewayAddress;
pub use comparison::{ComparedEntry, ComparedScope, EntryStatus, compare_entries};
pub use entry::{
    AliasError, EntryOwner, GatewayConfig, GatewayEntry, ModelLimits, RouteParameters, RoutedDeployment,
    RoutedModel,
};
pub use line_diff::{DiffLine, diff_lines};
pub use marked_text::{EditedText, TextEditError, edit_marked_text};
pub use matching::{EntryMatch, match_entry};
pub use proxy::{
    GatewayAccessError, KeyState, ProxyEntry, compromised_version_hint, is_compromised, parse_proxy_entries,
    proxy_version,
};
pub use route::{
    RequestKind, RouteAnswer, RouteChoice, RoutedRequest, choose_route, gateway_finding, judge_request,
};
