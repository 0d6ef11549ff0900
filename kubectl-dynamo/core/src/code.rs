//! Every message code with its category, meaning, and exit code. This file is the only place that lists codes: other
//! code names a variant of [`MessageCode`], and only users and documents see the number.
//!
//! To add a code, add a row to the table, a section to `docs/messages.md`, and a test that triggers it. The meaning of
//! a code never changes, and the number of a removed code is not used again.

mod address;
mod category;

use std::fmt;

pub use category::MessageCategory;
use serde::{Serialize, Serializer};

use crate::exit::Exit;

/// One row of the table.
struct CodeRow {
    number: &'static str,
    category: MessageCategory,
    exit: Exit,
    meaning: &'static str,
}

/// Makes the enum and its accessors from the table.
macro_rules! message_codes {
    ($($name:ident = $number:literal, $category:ident, exit $exit:ident, $meaning:literal;)*) => {
        /// A permanent message code, such as `KD0105`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MessageCode {
            $(#[doc = $meaning] $name,)*
        }

        impl MessageCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            const fn row(self) -> CodeRow {
                match self {
                    $(Self::$name => CodeRow {
                        number: $number,
                        category: MessageCategory::$category,
                        exit: Exit::$exit,
                        meaning: $meaning,
                    },)*
                }
            }
        }
    };
}

// A row: variant, number, category, exit code, and meaning (the same text as in `docs/messages.md`).
//
// The exit code is the one of an error with this code. A code with `exit Ok` is only used for warnings. The error decides
// between two exit codes, in its own `Explain::exit`, for these codes:
// - KD0302: Model if a PVC is missing, else DoesNotFit
// - KD0309: DoesNotFit if a quota is exhausted, else Failed
// - KD0406, KD0410, KD0423: Access if the hub denies access, else Model
// - KD0506: Usage if the reference is in a file of `-f`, else Failed
// - KD0520: Usage if several local deployments exist and none is named, else Failed
// - KD0702, KD0703, KD0802: SmokeTest if the smoke test of `up` fails, else Failed
// - KD0941: Access if the hub denies access, else Model
message_codes! {
    InvalidCommandLine = "KD0001", CommandLine, exit Usage, "The command line is invalid: an unknown verb or flag, or an invalid value";
    ConfirmationRequired = "KD0002", CommandLine, exit Usage, "The command needs confirmation, but stdin is not a terminal and `-y` is not set";
    CompletionScriptNotInstalled = "KD0003", CommandLine, exit Failed, "kubectl's completion script cannot be installed";
    UnknownField = "KD0004", CommandLine, exit Usage, "The request does not have a field with this path or name";
    InvalidValue = "KD0005", CommandLine, exit Usage, "The value of a flag, of `--set`, of a variable, or of a field in a file is invalid";
    InvalidManifestFile = "KD0006", CommandLine, exit Usage, "The file of `-f` cannot be read, or is neither a request nor one DynamoGraphDeployment";
    ContradictingValues = "KD0007", CommandLine, exit Usage, "Two values contradict each other, or a value requires another one";
    UnreadableConfigFile = "KD0008", CommandLine, exit Usage, "A config file cannot be read";
    UnwritableConfigFile = "KD0009", CommandLine, exit Failed, "A config file cannot be written";
    InvalidStarterKitConfig = "KD0010", CommandLine, exit Usage, "The starter kit's config.json cannot be imported";
    UnwritableOutputFile = "KD0011", CommandLine, exit Failed, "An output file cannot be written";
    TemplateDoesNotFit = "KD0012", CommandLine, exit Usage, "The template of `-o jsonpath` does not fit the output";

    KubeconfigNotFound = "KD0101", Access, exit Access, "No kubeconfig was found";
    ContextNotFound = "KD0102", Access, exit Access, "The kubeconfig does not have a current context, or not the requested one";
    ApiServerUnreachable = "KD0103", Access, exit Access, "The API server cannot be reached";
    LoginFailed = "KD0104", Access, exit Access, "Login failed: no credentials, rejected credentials, or a failing login command in the kubeconfig";
    RbacDenied = "KD0105", Access, exit Access, "RBAC denies the request";
    ObjectNotFound = "KD0106", Access, exit Failed, "An object was not found";
    NamespaceNotFound = "KD0107", Access, exit Failed, "The namespace was not found";
    ApiServerError = "KD0108", Access, exit Failed, "The API server returned an error";
    UnreadableKubeconfig = "KD0109", Access, exit Access, "The kubeconfig cannot be read";
    OutputSkipped = "KD0110", Access, exit Ok, "A part of the output was skipped because a permission is missing";
    OptionalPermissionMissing = "KD0115", Access, exit Ok, "An optional permission of `up` is missing: it shows less progress or does not record a revision";

    InvalidDeploymentName = "KD0201", Platform, exit Usage, "The name of the deployment is not a DNS label, or is too long";
    UnknownRelease = "KD0202", Platform, exit Platform, "The Dynamo release is unknown";
    PlatformNotInstalled = "KD0203", Platform, exit Platform, "The cluster does not have the Dynamo platform";
    ObjectRejected = "KD0204", Platform, exit Failed, "The API server or an admission webhook rejects an object";
    FieldManagerConflict = "KD0205", Platform, exit Failed, "Another field manager owns fields of an object";
    OperatorFailure = "KD0206", Platform, exit Failed, "The Dynamo operator reports a failure";
    RolloutTimeout = "KD0207", Platform, exit NotReadyInTime, "Timed out waiting for the deployment, which is still progressing";
    DeploymentReplaced = "KD0208", Platform, exit Failed, "The deployment was deleted or replaced while `up` was waiting";
    DeletionTimeout = "KD0209", Platform, exit NotReadyInTime, "Timed out waiting for the deletion";
    InvalidObjectName = "KD0210", Platform, exit Usage, "The name of a namespace, PVC, Secret, or other object, or a label, is invalid";
    UnmanagedDeployment = "KD0211", Platform, exit Usage, "The deployment is not managed by kubectl-dynamo";
    MultinodeOrchestratorMissing = "KD0212", Platform, exit Platform, "Workers span several nodes, but the cluster has neither Grove nor LeaderWorkerSet with Volcano";
    ChildObjectNameTooLong = "KD0213", Platform, exit Usage, "A name is too long for an object that the operator creates";
    InvalidServiceName = "KD0214", Platform, exit Usage, "A name is not valid for the Services that the operator creates";
    OperatorWebhookUnavailable = "KD0215", Platform, exit Platform, "The operator's webhook does not respond";
    ComponentNotCreated = "KD0216", Platform, exit Failed, "The operator cannot create the objects of a component";
    SpecRejectedByOperator = "KD0217", Platform, exit Failed, "The operator rejects the spec after it was stored";
    ApiVersionMismatch = "KD0218", Platform, exit Platform, "The manifest uses an API version that the cluster does not store";
    InvalidGpuQuantity = "KD0219", Platform, exit Usage, "A GPU quantity in the spec is invalid";
    OperatorUnreachable = "KD0220", Platform, exit Platform, "The API server cannot reach the Dynamo operator, so it cannot write the DynamoGraphDeployment";
    DeletionBlockedByFinalizer = "KD0221", Platform, exit Ok, "A finalizer blocks the deletion of the deployment";
    NearestReleaseUsed = "KD0222", Platform, exit Ok, "The release is unknown, and the settings of the nearest known release are used";
    PredecessorTerminating = "KD0223", Platform, exit Ok, "Components or pods of an earlier deployment with the same name are still terminating";
    DeploymentNotUpdated = "KD0224", Platform, exit Failed, "The operator updated a component, but not its Deployment";
    OperatorNotReady = "KD0230", Platform, exit Platform, "The Dynamo operator is not installed, or none of its pods is ready";
    KubernetesTooOld = "KD0231", Platform, exit Ok, "The Kubernetes version is older than the Dynamo platform requires";
    RuntimeNewerThanOperator = "KD0232", Platform, exit Ok, "The runtime release is newer than the operator";
    KaiSchedulerNotInstalled = "KD0233", Platform, exit Ok, "The deployment names a KAI scheduler queue, but the KAI scheduler is not installed";
    RuntimeVersionUnknown = "KD0234", Platform, exit Platform, "The image tag is not a version, and the deployment does not set the runtime version";
    RevisionNotFound = "KD0240", Platform, exit Usage, "The requested revision does not exist in the history";
    NoPreviousRevision = "KD0241", Platform, exit Failed, "The deployment does not have a previous revision";
    RevisionNotCurrent = "KD0242", Platform, exit Failed, "The requested revision is not the current one";
    RevisionNotRecorded = "KD0243", Platform, exit Ok, "The revision could not be recorded";
    ScalingAdapterMissing = "KD0244", Platform, exit Failed, "The scaling adapter of a component is enabled but does not exist yet";
    SchemaMismatch = "KD0245", Platform, exit Failed, "An object does not match the schema that the cluster publishes";
    UnsupportedForeignDeployment = "KD0246", Platform, exit Failed, "A deployment that another tool created cannot be imported";
    AdoptionChangesDeployment = "KD0247", Platform, exit Failed, "Adopting the deployment would change what runs";
    UnmanagedField = "KD0248", Platform, exit Usage, "A field of an adopted deployment differs from what this plugin would write";
    ImmutableFields = "KD0249", Platform, exit Failed, "The request changes fields that cannot change after the deployment was created";

    QuotaExhausted = "KD0301", Capacity, exit DoesNotFit, "The namespace's quota is exhausted";
    PodUnschedulable = "KD0302", Capacity, exit DoesNotFit, "A pod cannot be scheduled";
    NotEnoughGpus = "KD0303", Capacity, exit DoesNotFit, "Not enough GPUs are free";
    NotEnoughNodeResources = "KD0304", Capacity, exit DoesNotFit, "No node has enough free CPU, memory, or disk";
    UntoleratedTaint = "KD0305", Capacity, exit DoesNotFit, "The nodes that fit have a taint that the pod does not tolerate";
    NoMatchingNode = "KD0306", Capacity, exit DoesNotFit, "No node matches the pod's node selector or affinity";
    TooManyGpusPerPod = "KD0307", Capacity, exit DoesNotFit, "A pod requests more GPUs than any node has";
    NoGpuNode = "KD0308", Capacity, exit DoesNotFit, "No node provides GPUs";
    PodsNotCreated = "KD0309", Capacity, exit Failed, "A Deployment cannot create its pods";
    QuotaTooSmall = "KD0310", Capacity, exit DoesNotFit, "The namespace's quota does not have room for the pods";
    PodSecurityViolation = "KD0311", Capacity, exit Failed, "The namespace's Pod Security Standard forbids the pods";
    LimitRangeViolation = "KD0312", Capacity, exit DoesNotFit, "A LimitRange of the namespace forbids the size of the pods";
    ServiceAccountNotFound = "KD0313", Capacity, exit Failed, "The service account of the pods was not found";
    QuotaRequiresLimit = "KD0314", Capacity, exit DoesNotFit, "A quota requires a limit that the pods do not set";
    DefaultMemoryLimit = "KD0315", Capacity, exit Ok, "A LimitRange sets a memory limit for workers that do not set one";
    NodeNotResponding = "KD0316", Capacity, exit Failed, "The node of a pod is not responding";

    InvalidModel = "KD0401", Model, exit Usage, "The model argument is neither a model ID nor a path, or its revision is invalid";
    InvalidQuantity = "KD0402", Model, exit Usage, "A size is not a Kubernetes quantity";
    ModelNotOnHub = "KD0403", Model, exit Usage, "The cluster cannot read the model, because it is a local folder or the built-in model";
    ModelFolderNotFound = "KD0404", Model, exit Model, "The model folder was not found";
    IncompleteModelFolder = "KD0405", Model, exit Model, "The model folder does not contain the configuration or the tokenizer";
    LocalModelFetchFailed = "KD0406", Model, exit Model, "The model could not be fetched to this machine";
    ModelFetchFailed = "KD0410", Model, exit Model, "The model could not be fetched";
    ModelPvcNotFound = "KD0411", Model, exit Model, "The PVC for the model was not found";
    TokenSecretNotFound = "KD0412", Model, exit Model, "The Secret with the hub token was not found or does not have the key";
    HubTokenMissing = "KD0413", Model, exit Usage, "Standard input does not contain a hub token";
    ModelCacheInUse = "KD0414", Model, exit Model, "The model cache is in use, so it was not deleted";
    TokenInEnvironment = "KD0415", Model, exit Usage, "A hub token was set as an environment variable of the pods, which would store it in plain text";
    PvcDiffersFromRequest = "KD0416", Model, exit Ok, "An existing PVC differs from the request";
    AmbiguousModelPvc = "KD0420", Model, exit Usage, "Several PVCs hold the model, and `--cache` does not select one";
    PvcBoundByFirstPod = "KD0421", Model, exit Model, "The PVC is bound only when a pod uses it, so a fetch Job must not bind it";
    ModelFilesDiffer = "KD0422", Model, exit Model, "The files of a model on its PVC differ from what was fetched";
    ModelCacheJobFailed = "KD0423", Model, exit Model, "The fetcher failed to verify or remove a model on its PVC";
    PodPvcNotFound = "KD0430", Model, exit Model, "A pod mounts a PVC that does not exist";
    PvcNotBound = "KD0431", Model, exit Model, "A PVC is not bound to a volume";
    DeploymentPvcNotFound = "KD0432", Model, exit Model, "A PVC that the deployment lists does not exist, so the operator waits";
    VolumeNotMounted = "KD0433", Model, exit Model, "A volume cannot be mounted";
    VolumeNodeMismatch = "KD0434", Model, exit Model, "The volume with the model is bound to nodes that do not fit the pod";
    DuplicateVolume = "KD0435", Model, exit Failed, "A component lists a volume twice";
    VolumeAttachedElsewhere = "KD0436", Model, exit Model, "A volume is attached to another node and supports only one";
    VolumeFull = "KD0437", Model, exit Model, "A volume ran out of space";
    StorageClassNotFound = "KD0438", Model, exit Model, "The storage class of a new PVC was not found";
    NoDefaultStorageClass = "KD0439", Model, exit Model, "A new PVC does not name a storage class, and the cluster does not have a default one";
    SingleNodeVolume = "KD0440", Model, exit Model, "A volume that only one node can mount is used by pods that can run on several nodes";
    UnknownModelArchitecture = "KD0441", Model, exit Ok, "The architecture of the model is unknown, so only its weights are counted";
    UnknownModelSize = "KD0442", Model, exit Model, "The size of the model is unknown: it has no readable config.json or no weights";
    PvcTooSmall = "KD0443", Model, exit Model, "The PVC is smaller than the model";
    EndpointNotInPods = "KD0444", Model, exit Ok, "This machine uses another hub endpoint than the pods";
    OtherRevisionInFolder = "KD0446", Model, exit Model, "The model folder holds another complete revision";
    AccessModeNotSupported = "KD0447", Model, exit Ok, "The storage class of a new PVC usually does not have volumes that several nodes can mount";

    ImagePullFailed = "KD0501", Image, exit Failed, "An image cannot be pulled";
    ContainerNotCreated = "KD0502", Image, exit Failed, "A container cannot be created";
    ImageNotFound = "KD0503", Image, exit Failed, "The image or its tag was not found in the registry";
    RegistryAccessDenied = "KD0504", Image, exit Access, "The registry denies access to the image";
    RegistryUnreachable = "KD0505", Image, exit Failed, "The node cannot reach the registry";
    InvalidImageReference = "KD0506", Image, exit Failed, "An image reference is invalid";
    PodSecretNotFound = "KD0507", Image, exit Failed, "A pod refers to a Secret that does not exist";
    SecretKeyNotFound = "KD0508", Image, exit Failed, "A pod refers to a key that its Secret or ConfigMap does not have";
    ConfigMapNotFound = "KD0509", Image, exit Failed, "A pod refers to a ConfigMap that does not exist";
    ProgramNotInImage = "KD0510", Image, exit Failed, "The image does not contain the program that the container runs";
    PythonNotFound = "KD0511", Image, exit Failed, "No Python was found for the local runtime";
    PythonTooOld = "KD0512", Image, exit Failed, "The installed Python is too old for the local runtime";
    PythonModuleMissing = "KD0513", Image, exit Failed, "The installed Python does not have the venv or ensurepip module";
    RuntimeInstallFailed = "KD0514", Image, exit Failed, "The local runtime cannot be installed";
    LocalFileError = "KD0515", Image, exit Failed, "A file or folder of the local cache or state cannot be used";
    ReleaseNeedsServices = "KD0516", Image, exit Platform, "The Dynamo release cannot run on one machine without further services";
    LocalProcessExited = "KD0517", Image, exit Failed, "A process of a local deployment failed to start or exited";
    LocalRolloutTimeout = "KD0518", Image, exit NotReadyInTime, "Timed out waiting for a local deployment";
    LocalConfigurationDiffers = "KD0519", Image, exit Failed, "A local deployment with this name runs with a different configuration";
    LocalDeploymentNotFound = "KD0520", Image, exit Failed, "The local deployment was not found, or several exist and no name is given";
    NotEnoughLocalGpus = "KD0521", Image, exit DoesNotFit, "This machine does not have enough GPUs";
    LocalDeploymentNotRunning = "KD0522", Image, exit Failed, "A local deployment is no longer running";
    ClusterFlagWithLocal = "KD0523", Image, exit Usage, "A flag that needs a cluster was used with --local";
    LocalSystemUnsupported = "KD0524", Image, exit Platform, "What the command runs on this machine needs Linux";
    ContainerOutOfMemory = "KD0530", Image, exit DoesNotFit, "A container exceeded its memory limit";
    ContainerKilled = "KD0531", Image, exit Failed, "A container was killed by Kubernetes";
    ImageArchitectureMismatch = "KD0532", Image, exit Failed, "The image is not built for the node's CPU architecture";
    NvidiaRuntimeFailure = "KD0533", Image, exit Platform, "The NVIDIA container runtime of the node fails";
    CommandNotExecutable = "KD0534", Image, exit Failed, "The command of a container cannot be executed";
    PodNetworkFailure = "KD0535", Image, exit Failed, "The node cannot set up the network of a pod";
    UnreleasedBuild = "KD0536", Image, exit Ok, "The build of the plugin is unreleased, so its default fetcher image may not exist";
    ImageNotChecked = "KD0537", Image, exit Ok, "An image is not checked, because its registry does not give this machine a usable response";

    InvalidWorkerFlags = "KD0601", Engine, exit Usage, "Flags about workers or their engine contradict each other, or a count is zero";
    ContainerCrashLoop = "KD0602", Engine, exit Failed, "A container crashes repeatedly";
    GpuOutOfMemory = "KD0603", Engine, exit DoesNotFit, "The engine ran out of GPU memory";
    KvCacheTooSmall = "KD0604", Engine, exit DoesNotFit, "The KV cache is too small for one request of maximum length";
    NoMemoryForKvCache = "KD0605", Engine, exit DoesNotFit, "The weights do not leave GPU memory for the KV cache";
    GpuMemoryInUse = "KD0606", Engine, exit DoesNotFit, "Another process uses the GPU's memory";
    AttentionHeadsNotDivisible = "KD0607", Engine, exit Usage, "The attention heads cannot be split over this number of GPUs";
    EngineArgumentRejected = "KD0608", Engine, exit Usage, "The engine rejects an argument";
    ContextTooLong = "KD0609", Engine, exit Usage, "The requested context is longer than the model supports";
    UnsupportedModelArchitecture = "KD0610", Engine, exit Model, "The engine does not support the model's architecture";
    RemoteCodeNotTrusted = "KD0611", Engine, exit Model, "The model requires `--trust-remote-code`";
    UnsupportedQuantization = "KD0612", Engine, exit DoesNotFit, "The GPU does not support the quantization of the weights";
    GpuCommunicationFailure = "KD0613", Engine, exit Failed, "GPUs cannot communicate with each other";
    NoUsableGpu = "KD0614", Engine, exit Platform, "The engine does not find a usable GPU";
    ModelFilesNotFound = "KD0615", Engine, exit Model, "The engine does not find the model's files";
    HubAccessDeniedToEngine = "KD0616", Engine, exit Access, "The hub denies the model to the engine";
    UnreadableWeights = "KD0617", Engine, exit Model, "The weights on the volume cannot be read";
    PythonModuleNotInImage = "KD0618", Engine, exit Failed, "The image does not contain a Python module";
    EngineStartFailed = "KD0619", Engine, exit Failed, "The engine failed to start for an unknown reason";
    KvOffloadNotSupported = "KD0620", Engine, exit Usage, "KV offload is not supported with this engine, release, topology, or size";
    InvalidNodeCount = "KD0621", Engine, exit Usage, "A worker cannot span this number of nodes";
    ArgumentNeedsQuotes = "KD0622", Engine, exit Usage, "The shell that starts multi-node workers would change an engine argument";
    KvOffloadDeprecated = "KD0623", Engine, exit Ok, "KV offload is deprecated in this release";
    CudaGraphsDisabled = "KD0624", Engine, exit Ok, "KV offload disables CUDA graphs in this release";
    KvTransferNotPossible = "KD0625", Engine, exit Usage, "Prefill and decode cannot transfer KV cache with this parallelism or these flags";
    UnknownKvConnector = "KD0626", Engine, exit Usage, "The release selects KV connectors in another way, or does not have this connector";
    UnknownEngineFlag = "KD0627", Engine, exit Usage, "The release's vLLM does not have this flag";
    PipelineParallelKvTransfer = "KD0628", Engine, exit Ok, "Pipeline parallelism is unlikely to work with KV transfer between prefill and decode";
    UnsupportedParallelism = "KD0629", Engine, exit Usage, "The model has no experts for expert parallelism, or too few layers for the pipeline stages";

    ServedNameNotResolvable = "KD0701", Routing, exit Usage, "The frontend of this release cannot resolve the served model name";
    ModelNotListed = "KD0702", Routing, exit Failed, "All components are ready, but the frontend does not list the model";
    TestCompletionFailed = "KD0703", Routing, exit Failed, "The model is listed, but a test completion failed";
    DiscoveryUnavailable = "KD0704", Routing, exit Platform, "A worker cannot register because the discovery service does not respond";
    KvTransferFailed = "KD0705", Routing, exit Failed, "The KV transfer between prefill and decode failed";
    ModelRequestedFromHub = "KD0707", Routing, exit Model, "Dynamo looks for the model on the hub instead of the volume";
    SingleWorkerForKvRouter = "KD0709", Routing, exit Ok, "The KV router has only one worker to choose from";
    WorkerDoesNotAnswer = "KD0710", Routing, exit SmokeTest, "A registered worker does not answer a request, or a worker is not registered";
    KvRoutingByLoadOnly = "KD0711", Routing, exit SmokeTest, "The KV router does not know what the workers have in their caches, so it routes by load only";
    KvRoutingApproximate = "KD0712", Routing, exit SmokeTest, "The KV router predicts the caches of the workers instead of receiving KV events";
    PrefixCachingOff = "KD0713", Routing, exit SmokeTest, "Workers do not reuse a prompt prefix, although the KV router relies on it";
    DisaggregationHalfUnused = "KD0714", Routing, exit SmokeTest, "One half of a disaggregated deployment, prefill or decode, is not used";
    SlowKvHandover = "KD0715", Routing, exit Ok, "The KV cache moves from prefill to decode more slowly than the prompt explains";
    PrefillTimeConstant = "KD0716", Routing, exit Ok, "The prefill time does not grow with the length of the prompt";
    SessionScattered = "KD0717", Routing, exit SmokeTest, "The requests of one session go to several workers";
    KvOffloadUnused = "KD0718", Routing, exit SmokeTest, "A host tier for KV cache is configured, and workers do not use it";
    UnknownParser = "KD0720", Routing, exit Usage, "The release does not have a tool-call or reasoning parser with this name";
    ParserNotFound = "KD0721", Routing, exit Ok, "`auto` did not find a parser for the model's tool calls or reasoning, so none is used";
    SecondParserVersion = "KD0722", Routing, exit Ok, "The parser only works with the second version of Dynamo's parsers";
    ToolCallsNotParsed = "KD0723", Routing, exit SmokeTest, "A tool call of the model is not returned in `tool_calls`, or not with valid JSON";
    ReasoningNotParsed = "KD0724", Routing, exit SmokeTest, "The model's reasoning is not separated from its answer";
    SchemaNotFollowed = "KD0725", Routing, exit SmokeTest, "A structured answer does not follow the JSON schema of its request";

    NoReadyFrontendPod = "KD0801", Network, exit Failed, "No frontend pod is ready for a port-forward";
    EndpointUnreachable = "KD0802", Network, exit Failed, "The endpoint cannot be reached";
    LocalAddressUnavailable = "KD0803", Network, exit Failed, "A local address cannot be listened on";
    InvalidEndpointUrl = "KD0804", Network, exit Usage, "The URL of the endpoint is not an HTTP address";
    EndpointAccessDenied = "KD0805", Network, exit Access, "The endpoint denies access";
    EndpointRequestRejected = "KD0806", Network, exit Failed, "The endpoint rejects the request";
    EndpointWithoutModel = "KD0807", Network, exit Failed, "The endpoint does not serve a model";
    EndpointModelNotSelected = "KD0808", Network, exit Usage, "The endpoint does not list the model, or lists several and none is selected";
    AnswerFailed = "KD0809", Network, exit Failed, "The endpoint reported an error during an answer";
    AnswerInterrupted = "KD0810", Network, exit Failed, "The connection closed during an answer";
    NotAnOpenAiEndpoint = "KD0811", Network, exit Failed, "The endpoint does not implement the OpenAI API";
    ChatInputMissing = "KD0812", Network, exit Usage, "An input of `chat` is missing: a name, a prompt, or the variable that holds the key";
    PodPortInUse = "KD0813", Network, exit Failed, "A port inside a pod is already in use";
    RdmaNotAvailable = "KD0814", Network, exit Ok, "Nodes do not provide RDMA, so the KV cache is transferred over TCP";
    PodConnectionRefused = "KD0820", Network, exit Failed, "A pod does not accept connections on the forwarded port";
    ForwardedConnectionLost = "KD0821", Network, exit Failed, "A forwarded connection broke";
    FrontendsDiffer = "KD0822", Network, exit SmokeTest, "The frontends of a deployment do not list the same models";
    AnswerShapeDiffers = "KD0823", Network, exit SmokeTest, "Unary and streamed answers differ, or do not follow the OpenAI API";
    InvalidRequestNotRejected = "KD0824", Network, exit SmokeTest, "An invalid request is not rejected with a 4xx status and a message";
    ConcurrentStreamsFailed = "KD0825", Network, exit SmokeTest, "Concurrent streams fail or end early, although single requests are answered";
    MetricsPortSilent = "KD0826", Network, exit SmokeTest, "The metrics port of a frontend or worker does not answer";
    PodMonitorMismatch = "KD0827", Network, exit SmokeTest, "No PodMonitor selects a pod of the deployment";
    MetricsNotReadable = "KD0828", Network, exit Failed, "The metrics of a frontend or worker cannot be read";

    GatewayUnreachable = "KD0901", Integration, exit Failed, "The gateway cannot be reached";
    GatewayKeyRejected = "KD0902", Integration, exit Access, "The gateway requires an API key, or rejects it";
    NotALiteLlmGateway = "KD0903", Integration, exit Failed, "The URL is not the address of a LiteLLM proxy";
    GatewayEntryMissing = "KD0904", Integration, exit SmokeTest, "The gateway does not have an entry for the deployment";
    GatewayBasePathWrong = "KD0905", Integration, exit SmokeTest, "The base URL of a gateway entry does not end in `/v1`";
    GatewayServedNameWrong = "KD0906", Integration, exit SmokeTest, "A gateway entry names a model that the deployment does not serve";
    GatewayRequestFailed = "KD0907", Integration, exit SmokeTest, "A request through the gateway failed";
    GatewayRequestElsewhere = "KD0908", Integration, exit SmokeTest, "A request through the gateway did not reach the deployment";
    CompromisedGateway = "KD0909", Integration, exit Ok, "The gateway runs a compromised LiteLLM version";
    GatewayCannotConnect = "KD0910", Integration, exit SmokeTest, "The gateway cannot connect to the deployment";
    GatewayTextNotEditable = "KD0911", Integration, exit Failed, "The gateway's configuration in the ConfigMap cannot be edited without changing other parts of it";
    DataKeyMissing = "KD0912", Integration, exit Usage, "A ConfigMap or Secret does not have the key, or its value is not text";

    BenchRunExists = "KD0920", Integration, exit Usage, "A benchmark run with this name already exists";
    BenchRunNotFound = "KD0921", Integration, exit Failed, "The benchmark run was not found";
    BenchFileError = "KD0922", Integration, exit Failed, "The files of a benchmark run cannot be read or written";
    AiperfFailed = "KD0923", Integration, exit Failed, "AIPerf failed, or did not measure until the end";
    BenchRequestsFailed = "KD0924", Integration, exit Failed, "Requests of a benchmark run failed";
    BenchRequestsMissing = "KD0925", Integration, exit Failed, "AIPerf did not record every request of a benchmark run";
    OutputLengthDiffers = "KD0926", Integration, exit Failed, "Answers of a benchmark run do not have the requested length";
    BenchClientBound = "KD0927", Integration, exit Failed, "The load generator was slower than the deployment";
    TokenCountsDiffer = "KD0928", Integration, exit Ok, "The server and AIPerf count tokens differently";
    TokenizerNotFound = "KD0929", Integration, exit Usage, "The folder with the tokenizer of the model was not found";
    WorkloadsDiffer = "KD0930", Integration, exit Usage, "Two benchmark runs cannot be compared, because their workloads differ";
    BenchLimitExceeded = "KD0931", Integration, exit Changes, "A benchmark run exceeds a limit of `--fail-if`";
    BenchRunWithoutResults = "KD0932", Integration, exit Failed, "The benchmark run does not contain a result";
    TraceUnreadable = "KD0933", Integration, exit Usage, "The trace file cannot be read";
    BenchJobFailed = "KD0934", Integration, exit Failed, "The Job of a benchmark run cannot start, failed, or was deleted";
    BenchResultsIncomplete = "KD0935", Integration, exit Failed, "The log of a benchmark's pod does not contain all results";
    BenchDeploymentChanged = "KD0936", Integration, exit Failed, "The deployment was changed during the benchmark run";
    RecommendationUnreadable = "KD0937", Integration, exit Usage, "The recommendation of `--against` cannot be read";

    PredictionGpuUnknown = "KD0940", Integration, exit Usage, "aiconfigurator does not have measurements of the GPU";
    PredictionModelUnreadable = "KD0941", Integration, exit Model, "The configuration of the model cannot be read, which a prediction needs";
    LatencyNotReachable = "KD0942", Integration, exit DoesNotFit, "No predicted deployment meets the latency limits";
    PredictionFailed = "KD0943", Integration, exit Failed, "aiconfigurator failed";
    PredictionFileInvalid = "KD0944", Integration, exit Failed, "A file of aiconfigurator is missing or cannot be used";
    NotEnoughGpusForLoad = "KD0945", Integration, exit DoesNotFit, "The load needs more GPUs than there are";
    PredictedMemoryDiffers = "KD0946", Integration, exit Ok, "A prediction and `fit` disagree about memory";
}

impl MessageCode {
    /// The code as users see it, such as `KD0105`.
    pub const fn as_str(self) -> &'static str {
        self.row().number
    }

    pub const fn category(self) -> MessageCategory {
        self.row().category
    }

    /// What the code means, in one line.
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// The exit code of an error with this code, unless the error decides otherwise.
    pub const fn exit(self) -> Exit {
        self.row().exit
    }
}

impl fmt::Display for MessageCode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for MessageCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_start_with_their_category() {
        let numbers: Vec<&str> = MessageCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for code in MessageCode::ALL {
            let position = MessageCategory::ALL.iter().position(|category| *category == code.category());
            let digits = position.map(|position| format!("KD{position:02}"));
            assert_eq!(Some(&code.as_str()[..4]), digits.as_deref(), "{code}");
            assert!(
                code.as_str().len() == 6 && code.as_str()[2..].bytes().all(|b| b.is_ascii_digit()),
                "{code}"
            );
        }
    }

    #[test]
    fn prints_and_serializes_its_number() {
        let code = MessageCode::RbacDenied;
        assert_eq!(code.to_string(), "KD0105");
        assert_eq!(serde_json::to_value(code).expect("a string"), "KD0105");
    }
}
