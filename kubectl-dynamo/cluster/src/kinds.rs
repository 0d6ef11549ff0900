//! The Kubernetes kinds that the plugin reads and writes, with their API group, version, and plural.
//! Which of them a command may read or write is defined by the RBAC table, not here.

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, GroupVersionKind};
use serde::de::DeserializeOwned;

use kubectl_dynamo_core::readiness::ObservedKind;
use kubectl_dynamo_core::resources::{GraphApi, Resource};

/// A kind of object; for Dynamo's kinds with the API version to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Graph(GraphApi),
    /// DynamoComponentDeployment: created by the operator for each component if Grove is not used.
    ComponentDeployment(GraphApi),
    PersistentVolumeClaim,
    /// ComputeDomain: the nodes that share NVLink memory, of NVIDIA's driver for dynamic resource allocation.
    ComputeDomain,
    ConfigMap,
    Deployment,
    /// EndpointSlice: the addresses behind a Service.
    EndpointSlice,
    Event,
    Job,
    /// LeaderWorkerSet: created by the operator for a multi-node worker if Grove is not used.
    LeaderWorkerSet,
    LimitRange,
    MutatingWebhookConfiguration,
    Namespace,
    Node,
    Pod,
    /// PodCliqueSet: created by the operator for a graph if Grove is used.
    PodCliqueSet,
    /// PodMonitor of the Prometheus operator: the pods and ports that Prometheus scrapes.
    PodMonitor,
    /// ResourceClaimTemplate of dynamic resource allocation, in one of its API versions.
    ResourceClaimTemplate(&'static str),
    ResourceQuota,
    /// ControllerRevision: an earlier spec of a graph.
    ControllerRevision,
    /// SelfSubjectRulesReview: the permissions of the user, as listed by the API server.
    SelfSubjectRulesReview,
    /// DynamoGraphDeploymentScalingAdapter: owns the replica count of one component if enabled.
    ScalingAdapter(GraphApi),
    Secret,
    Service,
    ServiceAccount,
    StatefulSet,
    StorageClass,
    ValidatingWebhookConfiguration,
    PersistentVolume,
}

impl Kind {
    /// The kind of a rendered object; `None` for kinds that the plugin does not render.
    pub fn from_resource(resource: &Resource) -> Option<Self> {
        Some(match (resource.kind(), resource.api_version()) {
            ("DynamoGraphDeployment", "nvidia.com/v1beta1") => Self::Graph(GraphApi::V1Beta1),
            ("DynamoGraphDeployment", _) => Self::Graph(GraphApi::V1Alpha1),
            ("PersistentVolumeClaim", _) => Self::PersistentVolumeClaim,
            ("Job", _) => Self::Job,
            ("Secret", _) => Self::Secret,
            ("ConfigMap", _) => Self::ConfigMap,
            ("ComputeDomain", _) => Self::ComputeDomain,
            ("ResourceClaimTemplate", "resource.k8s.io/v1beta1") => Self::ResourceClaimTemplate("v1beta1"),
            ("ResourceClaimTemplate", "resource.k8s.io/v1beta2") => Self::ResourceClaimTemplate("v1beta2"),
            ("ResourceClaimTemplate", _) => Self::ResourceClaimTemplate("v1"),
            ("ControllerRevision", _) => Self::ControllerRevision,
            ("DynamoGraphDeploymentScalingAdapter", "nvidia.com/v1beta1") => {
                Self::ScalingAdapter(GraphApi::V1Beta1)
            }
            ("DynamoGraphDeploymentScalingAdapter", _) => Self::ScalingAdapter(GraphApi::V1Alpha1),
            _ => return None,
        })
    }

    /// The resource name for kubectl, such as `dynamographdeployments.nvidia.com`.
    pub fn resource_name(self) -> String {
        let resource = self.api_resource();
        if resource.group.is_empty() {
            resource.plural
        } else {
            format!("{}.{}", resource.plural, resource.group)
        }
    }

    /// Returns the kind as the state of a deployment knows it; `None` if no state depends on it.
    pub fn observed(self) -> Option<ObservedKind> {
        Some(match self {
            Self::Graph(_) => ObservedKind::Graph,
            Self::ComponentDeployment(_) => ObservedKind::ComponentDeployment,
            Self::Deployment => ObservedKind::Deployment,
            Self::Pod => ObservedKind::Pod,
            Self::Job => ObservedKind::Job,
            Self::Event => ObservedKind::Event,
            _ => return None,
        })
    }

    pub(super) fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Graph(api) => {
                ("nvidia.com", graph_version(api), "DynamoGraphDeployment", "dynamographdeployments")
            }
            Self::ComponentDeployment(api) => {
                ("nvidia.com", graph_version(api), "DynamoComponentDeployment", "dynamocomponentdeployments")
            }
            Self::PersistentVolumeClaim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::ComputeDomain => ("resource.nvidia.com", "v1beta1", "ComputeDomain", "computedomains"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Event => ("", "v1", "Event", "events"),
            Self::LeaderWorkerSet => {
                ("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
            }
            Self::LimitRange => ("", "v1", "LimitRange", "limitranges"),
            Self::MutatingWebhookConfiguration => (
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
            Self::PodMonitor => ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
            Self::ResourceClaimTemplate(version) => {
                ("resource.k8s.io", version, "ResourceClaimTemplate", "resourceclaimtemplates")
            }
            Self::ResourceQuota => ("", "v1", "ResourceQuota", "resourcequotas"),
            Self::SelfSubjectRulesReview => {
                ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
            }
            Self::ControllerRevision => ("apps", "v1", "ControllerRevision", "controllerrevisions"),
            Self::ScalingAdapter(api) => (
                "nvidia.com",
                graph_version(api),
                "DynamoGraphDeploymentScalingAdapter",
                "dynamographdeploymentscalingadapters",
            ),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::StorageClass => ("storage.k8s.io", "v1", "StorageClass", "storageclasses"),
            Self::ValidatingWebhookConfiguration => (
                "admissionregistration.k8s.io",
                "v1",
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
            ),
            Self::PersistentVolume => ("", "v1", "PersistentVolume", "persistentvolumes"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

/// A kind of Kubernetes itself, which has a type.
pub trait TypedKind: DeserializeOwned + Metadata<Ty = ObjectMeta> {
    /// The kind.
    const OBJECT_KIND: Kind;
}

macro_rules! typed_kinds {
    ($($kind:ident),+) => {
        $(impl TypedKind for $kind {
            const OBJECT_KIND: Kind = Kind::$kind;
        })+
    };
}

typed_kinds!(
    ControllerRevision,
    Deployment,
    Event,
    Job,
    PersistentVolumeClaim,
    Pod,
    Secret,
    ServiceAccount,
    StatefulSet
);

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
