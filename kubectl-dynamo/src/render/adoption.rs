//! Renders an adoption: the imported settings, what stays unchanged, and the current field managers.

use crate::workflow::adopt::Adoption;
use crate::workflow::resolve::ImportedIntent;
use kubectl_dynamo_core::change::spec_owners;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::resources::FIELD_MANAGER;

/// Renders the imported settings, the parts that are kept unchanged, and the current field managers.
pub(crate) fn screen(adoption: &Adoption) -> String {
    let Adoption { live, imported: ImportedIntent { intent, release }, preserved, .. } = adoption;
    let mut text = format!("imported settings of deployment \"{}\":\n", intent.name);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<9} {value}\n"));
    line("model", format!("{} as {}", intent.model, intent.served_model_name));
    line("engine", format!("{}, Dynamo {release}", intent.backend.as_str()));
    line("mode", format!("{}, {} router", intent.topology.mode(), intent.router.mode.as_str()));
    for (role, group) in intent.topology.groups() {
        let parallel = group.parallelism;
        let expert_suffix = if parallel.expert { ", expert parallel" } else { "" };
        let parallelism =
            format!("TP{} PP{} DP{}{expert_suffix}", parallel.tensor, parallel.pipeline, parallel.data);
        line(role.component_name(), format!("×{} {parallelism}", group.replicas));
    }
    line("frontend", format!("×{}", intent.frontend_replicas));
    line("image", intent.placement.image.clone().unwrap_or_default());
    line("cache", format!("pvc/{}", intent.cache.pvc()));
    if let Some(secret) = &intent.token_secret {
        line("token", format!("secret/{} key {}", secret.name, secret.key));
    }
    for part in preserved {
        line("kept", part.clone());
    }
    for owner in spec_owners(live, FIELD_MANAGER) {
        line(
            "manager",
            format!(
                "{owner}, which releases the spec; if it applies the manifest again, it takes the spec back"
            ),
        );
    }
    text
}
