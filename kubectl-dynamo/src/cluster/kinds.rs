//! The kinds this program reads and writes.

use kube::api::{ApiResource, GroupVersionKind};

use crate::resources::{GraphApi, Resource};

/// A kind of object, with the version it is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Graph(GraphApi),
    /// What the operator makes of each component where it works without Grove.
    ComponentDeployment(GraphApi),
    Claim,
    ConfigMap,
    Deployment,
    /// Which addresses are behind a Service.
    EndpointSlice,
    Event,
    Job,
    /// What the operator makes of a worker of several nodes without Grove.
    LeaderWorkerSet,
    LimitRange,
    MutatingWebhook,
    Namespace,
    Node,
    Pod,
    /// What the operator makes of a whole graph where it works with Grove.
    PodCliqueSet,
    Quota,
    /// An earlier state of a graph.
    Revision,
    /// What a person may do, as the API server itself lists it.
    Rights,
    /// What scales one component of a graph where its scaling adapter is on.
    ScalingAdapter(GraphApi),
    Secret,
    Service,
    StatefulSet,
    StorageClass,
    ValidatingWebhook,
    Volume,
}

impl Kind {
    /// The kind of a rendered object; `None` for kinds that are never rendered.
    pub fn of(resource: &Resource) -> Option<Self> {
        Some(match (resource.kind(), resource.api_version()) {
            ("DynamoGraphDeployment", "nvidia.com/v1beta1") => Self::Graph(GraphApi::V1Beta1),
            ("DynamoGraphDeployment", _) => Self::Graph(GraphApi::V1Alpha1),
            ("PersistentVolumeClaim", _) => Self::Claim,
            ("Job", _) => Self::Job,
            ("Secret", _) => Self::Secret,
            ("ControllerRevision", _) => Self::Revision,
            ("DynamoGraphDeploymentScalingAdapter", "nvidia.com/v1beta1") => {
                Self::ScalingAdapter(GraphApi::V1Beta1)
            }
            ("DynamoGraphDeploymentScalingAdapter", _) => Self::ScalingAdapter(GraphApi::V1Alpha1),
            _ => return None,
        })
    }

    /// Its plural as kubectl takes it, such as `dynamographdeployments.nvidia.com`.
    pub fn resource_name(self) -> String {
        let resource = self.api_resource();
        if resource.group.is_empty() {
            resource.plural
        } else {
            format!("{}.{}", resource.plural, resource.group)
        }
    }

    pub(super) fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Graph(api) => {
                ("nvidia.com", graph_version(api), "DynamoGraphDeployment", "dynamographdeployments")
            }
            Self::ComponentDeployment(api) => {
                ("nvidia.com", graph_version(api), "DynamoComponentDeployment", "dynamocomponentdeployments")
            }
            Self::Claim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Event => ("", "v1", "Event", "events"),
            Self::LeaderWorkerSet => {
                ("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
            }
            Self::LimitRange => ("", "v1", "LimitRange", "limitranges"),
            Self::MutatingWebhook => (
                "admissionregistration.k8s.io",
                "v1",
                "MutatingWebhookConfiguration",
                "mutatingwebhookconfigurations",
            ),
            Self::PodCliqueSet => ("grove.io", "v1alpha1", "PodCliqueSet", "podcliquesets"),
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Node => ("", "v1", "Node", "nodes"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Quota => ("", "v1", "ResourceQuota", "resourcequotas"),
            Self::Rights => {
                ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
            }
            Self::Revision => ("apps", "v1", "ControllerRevision", "controllerrevisions"),
            Self::ScalingAdapter(api) => (
                "nvidia.com",
                graph_version(api),
                "DynamoGraphDeploymentScalingAdapter",
                "dynamographdeploymentscalingadapters",
            ),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::StorageClass => ("storage.k8s.io", "v1", "StorageClass", "storageclasses"),
            Self::ValidatingWebhook => (
                "admissionregistration.k8s.io",
                "v1",
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
            ),
            Self::Volume => ("", "v1", "PersistentVolume", "persistentvolumes"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.api_resource().kind)
    }
}

fn graph_version(api: GraphApi) -> &'static str {
    match api {
        GraphApi::V1Alpha1 => "v1alpha1",
        GraphApi::V1Beta1 => "v1beta1",
    }
}
