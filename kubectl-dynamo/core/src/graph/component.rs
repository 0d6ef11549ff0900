//! One component of a graph: its replicas, pods, main container, and volumes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::ObjectView;

/// The resource name of NVIDIA GPUs.
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// The container of a component that the operator starts Dynamo in.
const MAIN_CONTAINER: &str = "main";

/// How an API version stores components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// v1beta1: a list of components, each with a pod template.
    Listed,
    /// v1alpha1: services by name, with fields of their own.
    Keyed,
}

/// One component: its name and its entry in the graph's spec.
#[derive(Debug, Clone, Copy)]
pub struct ComponentView<'a> {
    pub name: &'a str,
    spec: ObjectView<'a>,
    layout: Layout,
}

impl<'a> ComponentView<'a> {
    pub(super) fn listed(spec: ObjectView<'a>) -> Self {
        Self { name: spec.text("/name").unwrap_or_default(), spec, layout: Layout::Listed }
    }

    pub(super) fn keyed(name: &'a str, service: &'a Value) -> Self {
        Self { name, spec: ObjectView::new(service), layout: Layout::Keyed }
    }

    /// Returns the component's entry in the graph's spec.
    pub fn document(&self) -> &'a Value {
        self.spec.document()
    }

    /// Returns the requested number of replicas (default: 1).
    pub fn replicas(&self) -> u64 {
        self.spec.number("/replicas").unwrap_or(1)
    }

    /// Returns `frontend`, `worker`, `prefill`, `decode`, or another component type of the operator.
    pub fn role(&self) -> &'a str {
        let fields = ["/subComponentType", "/type", "/componentType"];
        fields.into_iter().find_map(|field| self.spec.text(field)).unwrap_or_default()
    }

    /// Returns whether the component loads the model.
    pub fn is_worker(&self) -> bool {
        matches!(self.role(), "worker" | "prefill" | "decode")
    }

    /// Returns whether a scaling adapter owns the replicas. In v1beta1, an empty object enables it. In
    /// v1alpha1, its `enabled` field does.
    pub fn has_scaling_adapter(&self) -> bool {
        let Some(adapter) = self.spec.map("/scalingAdapter") else { return false };
        let is_v1alpha1 = self.spec.text("/componentType").is_some();
        !is_v1alpha1 || adapter.get("enabled") == Some(&Value::Bool(true))
    }

    /// Returns the fields that determine the pod template. The annotations of a v1alpha1 service are not
    /// among them, because the operator sets them on the Deployment only.
    pub fn pod_template_fields(&self) -> Value {
        let mut fields_of_pods = self.spec.document().clone();
        if let Some(fields) = fields_of_pods.as_object_mut() {
            for field in ["replicas", "scalingAdapter", "autoscaling", "minAvailable", "annotations"] {
                fields.remove(field);
            }
        }
        fields_of_pods
    }

    /// Returns an annotation of a v1alpha1 service.
    pub fn service_annotation(&self, key: &str) -> Option<&'a Value> {
        self.spec.map("/annotations")?.get(key).filter(|value| !value.is_null())
    }

    /// Returns the number of nodes that one replica spans (default: 1).
    pub fn nodes(&self) -> u64 {
        self.spec.number("/multinode/nodeCount").unwrap_or(1)
    }

    /// Returns whether the component can span nodes. The operator then creates pods with longer names.
    pub fn is_multinode(&self) -> bool {
        self.spec.map("/multinode").is_some()
    }

    /// Returns the number of GPUs of one replica on all its nodes.
    pub fn gpus_per_replica(&self) -> u64 {
        let gpus = self.limits().get(GPU_RESOURCE).and_then(|gpus| gpus.parse().ok()).unwrap_or(0);
        u64::saturating_mul(gpus, self.nodes())
    }

    /// Returns the resource limits of the main container.
    pub fn limits(&self) -> BTreeMap<String, String> {
        self.amounts("/resources/limits")
    }

    /// Returns the resource requests of the main container.
    pub fn requests(&self) -> BTreeMap<String, String> {
        self.amounts("/resources/requests")
    }

    /// Returns amounts by resource name. v1alpha1 calls the resource `nvidia.com/gpu` `gpu`.
    fn amounts(&self, pointer: &str) -> BTreeMap<String, String> {
        let owner = match self.layout {
            Layout::Listed => self.main_container().0,
            Layout::Keyed => self.spec,
        };
        let amounts = string_map(owner, pointer).into_iter();
        amounts
            .map(|(name, amount)| (if name == "gpu" { GPU_RESOURCE.into() } else { name }, amount))
            .collect()
    }

    /// Returns the pod spec. That of v1alpha1 contains only additions to the pod.
    pub fn pod_spec(&self) -> ObjectView<'a> {
        let pointer = match self.layout {
            Layout::Listed => "/podTemplate/spec",
            Layout::Keyed => "/extraPodSpec",
        };
        ObjectView::new(self.spec.document().pointer(pointer).unwrap_or(&Value::Null))
    }

    /// Returns the main container.
    pub fn main_container(&self) -> ContainerView<'a> {
        let pod = self.pod_spec();
        let container = match self.layout {
            Layout::Listed => pod.items("/containers").find(|one| one.text("/name") == Some(MAIN_CONTAINER)),
            Layout::Keyed => pod.document().get("mainContainer").map(ObjectView::new),
        };
        ContainerView(container.unwrap_or(ObjectView::new(&Value::Null)))
    }

    /// Returns the labels that the node of a pod must have.
    pub fn node_selector(&self) -> BTreeMap<String, String> {
        string_map(self.pod_spec(), "/nodeSelector")
    }

    /// Returns the tolerations of the pods, as Kubernetes objects.
    pub fn tolerations(&self) -> Vec<Value> {
        self.pod_spec().items("/tolerations").map(|one| one.document().clone()).collect()
    }

    /// Returns the Dynamo version that the component sets explicitly instead of through the image tag.
    pub fn runtime_version(&self) -> Option<&'a str> {
        self.spec.text("/runtimeVersionOverride")
    }

    /// Returns the names of the init containers.
    pub fn init_containers(&self) -> Vec<&'a str> {
        self.pod_spec().items("/initContainers").filter_map(|one| one.text("/name")).collect()
    }

    /// Returns the names of the environment variables that the component sets outside of its containers.
    pub fn env_names(&self) -> Vec<&'a str> {
        env_names(self.spec.document())
    }

    /// Returns the environment variables of the main container, as Kubernetes objects.
    pub(crate) fn env(&self) -> impl Iterator<Item = ObjectView<'a>> + use<'a> {
        self.main_container().0.items("/env").chain(self.spec.items("/envs"))
    }

    /// Returns the value of an environment variable of the main container.
    pub fn env_var(&self, name: &str) -> Option<&'a str> {
        self.env().find(|one| one.text("/name") == Some(name))?.text("/value")
    }

    /// Returns the Secret and the key of an environment variable of the main container.
    pub fn env_var_secret(&self, name: &str) -> Option<(&'a str, &'a str)> {
        let variable = self.env().find(|one| one.text("/name") == Some(name))?;
        Some((variable.text("/valueFrom/secretKeyRef/name")?, variable.text("/valueFrom/secretKeyRef/key")?))
    }

    /// Returns the Secret whose keys become environment variables.
    pub fn env_from_secret(&self) -> Option<&'a str> {
        let from_service = self.spec.text("/envFromSecret");
        from_service.or_else(|| self.main_container().0.text("/envFrom/0/secretRef/name"))
    }

    /// Returns the PVCs of the pods: those of volumes, and those that v1alpha1 mounts by name.
    pub fn pvcs(&self) -> Vec<&'a str> {
        let volumes = self.pod_spec().items("/volumes").filter_map(pvc_of_volume);
        let mounted = self.spec.items("/volumeMounts").filter_map(|mount| mount.text("/name"));
        let mounted = mounted.filter(|_| self.layout == Layout::Keyed);
        volumes.chain(mounted).collect()
    }

    /// Returns the PVCs that the main container mounts, each with its mount path.
    pub fn pvc_mounts(&self) -> Vec<(&'a str, &'a str)> {
        let of_service = self.spec.items("/volumeMounts");
        let of_service =
            of_service.filter_map(|mount| Some((mount.text("/name")?, mount.text("/mountPoint")?)));
        let pvc_of = |volume: &'a str| {
            let defined = self.pod_spec().items("/volumes").find(|one| one.text("/name") == Some(volume));
            // The operator mounts the PVC of the same name if the volume is not defined. Volumes of other types
            // do not contain a model.
            defined.map_or(Some(volume), pvc_of_volume)
        };
        let of_container = self.main_container().0.items("/volumeMounts");
        let of_container =
            of_container.filter_map(|mount| Some((pvc_of(mount.text("/name")?)?, mount.text("/mountPath")?)));
        of_service.chain(of_container).collect()
    }
}

/// A view of a container.
#[derive(Debug, Clone, Copy)]
pub struct ContainerView<'a>(ObjectView<'a>);

impl<'a> ContainerView<'a> {
    /// Creates a view of a container.
    pub fn new(container: &'a Value) -> Self {
        Self(ObjectView::new(container))
    }

    /// Returns the container as an object.
    pub(crate) fn view(self) -> ObjectView<'a> {
        self.0
    }

    /// Returns the image.
    pub fn image(self) -> Option<&'a str> {
        self.0.text("/image")
    }

    /// Returns the command and its arguments.
    pub fn command(self) -> Vec<&'a str> {
        self.0.texts("/command").chain(self.0.texts("/args")).collect()
    }
}

fn pvc_of_volume<'a>(volume: ObjectView<'a>) -> Option<&'a str> {
    volume.text("/persistentVolumeClaim/claimName")
}

/// Returns the names of the variables in `env` and `envs`, the names of the field in both API versions.
pub(super) fn env_names(spec: &Value) -> Vec<&str> {
    let spec = ObjectView::new(spec);
    spec.items("/env").chain(spec.items("/envs")).filter_map(|one| one.text("/name")).collect()
}

fn string_map(owner: ObjectView<'_>, pointer: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
    owner.map(pointer).into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}
