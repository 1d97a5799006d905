//! Labels, annotations, conditions and finalizers, spelled once: those of apps.kruise.io, and in [`cafe`] those of releases by cells.

/// API group.
pub const GROUP: &str = "apps.kruise.io";
/// Pod label: full name of the revision the pod was made from, or brought to.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Pod label: short form of the same.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";
/// Label of a pod and its claims: the id in the pod's name.
pub const INSTANCE_ID_LABEL: &str = "apps.kruise.io/cloneset-instance-id";
/// Pod label, any value: this pod is to be deleted, and replaced if replicas ask for it.
pub const SPECIFIED_DELETE_LABEL: &str = "apps.kruise.io/specified-delete";
/// Pod label: where the pod is in its life as its workload sees it.
pub const LIFECYCLE_STATE_LABEL: &str = "lifecycle.apps.kruise.io/state";
/// Pod annotation: since when it is in that state.
pub const LIFECYCLE_TIMESTAMP: &str = "lifecycle.apps.kruise.io/timestamp";
/// Pod annotation: what the last in-place update changed, and what ran before it.
pub const INPLACE_STATE: &str = "apps.kruise.io/inplace-update-state";
/// Pod annotation: change that is held until the grace period is over.
pub const INPLACE_GRACE: &str = "apps.kruise.io/inplace-update-grace";
/// Older spelling of [`INPLACE_STATE`], still read.
pub const INPLACE_STATE_OLD: &str = "inplace-update-state";
/// Older spelling of [`INPLACE_GRACE`], still read.
pub const INPLACE_GRACE_OLD: &str = "inplace-update-grace";
/// Pod condition and readiness gate: False while a pod is being updated in place.
pub const INPLACE_READY: &str = "InPlaceUpdateReady";
/// Pod condition and readiness gate with several writers: False while any of them holds a message in it.
pub const KRUISE_READY: &str = "KruisePodReady";
/// Pod annotation: deletion order among the pods of one workload.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Revision annotation: hash of the volume claim templates at that time.
pub const CLAIM_TEMPLATE_HASH: &str = "kruise.io/cloneset-volumeclaimtemplate-hash";
/// v1alpha1 label that v1beta1 has as `scaleStrategy.excludePreparingDelete`.
pub const EXCLUDE_PREPARING_DELETE_LABEL: &str = "apps.kruise.io/cloneset-scaling-exclude-preparing-delete";
/// v1alpha1 annotation that v1beta1 has as `imagePreDownloadParallelism`.
pub const PREDOWNLOAD_PARALLELISM: &str = "apps.kruise.io/image-predownload-parallelism";
/// v1alpha1 annotation that v1beta1 has as `imagePreDownloadTimeoutSeconds`.
pub const PREDOWNLOAD_TIMEOUT: &str = "apps.kruise.io/image-predownload-timeout-seconds";
/// v1alpha1 annotation that v1beta1 has as `imagePreDownloadMinUpdatedReadyPods`.
pub const PREDOWNLOAD_MIN_READY: &str = "apps.kruise.io/image-predownload-min-updated-ready-pods";
/// v1alpha1 annotation that keeps v1beta1's `podUpdatePolicy` while the type is `OnDelete`, which v1alpha1 cannot say together.
pub const POD_UPDATE_POLICY: &str = "knarr.dev/cloneset-pod-update-policy";

/// Words of releases by cells and groups.
pub mod cafe {
    /// API group.
    pub const GROUP: &str = "apps.cafe.cloud.alipay.com";
    /// Node label that draws a cell.
    pub const CELL_LABEL: &str = "cafe.sofastack.io/cell";
    /// Node label that draws a zone.
    pub const ZONE_LABEL: &str = "cafe.sofastack.io/zone";
    /// Node label that draws a zone where [`ZONE_LABEL`] is absent.
    pub const ZONE_LABEL_FALLBACK: &str = "topology.kubernetes.io/zone";
    /// Label of a pod set and its pods: the cell they are kept in.
    pub const UNIT_LABEL: &str = "cafe.sofastack.io/deploy-unit";
    /// Label of a pod set and its pods: name of the CafeDeployment.
    pub const NAME_LABEL: &str = "cafe.sofastack.io/cafe-deployment";
    /// Label of a pod: revision of the CafeDeployment that it was made from, or brought to.
    pub const REVISION_LABEL: &str = "cafe.sofastack.io/revision";
    /// Annotation of a CafeDeployment: `"false"` when a group is done and waits, `"true"` to go on with the next one.
    pub const CONFIRMED: &str = "cafe.sofastack.io/upgrade-confirmed";
    /// Annotation of a CafeDeployment: go back to this revision, by name, or to the `previous` one.
    pub const ROLLBACK_TO: &str = "knarr.dev/rollback-to";
    /// Annotation of a CafeDeployment: what becomes of a release whose pods fail: `Hold` (default) or `RollBack`.
    pub const ON_FAILURE: &str = "knarr.dev/on-failure";
    /// Annotation of a CafeDeployment: pods that stay available in each cell, as a number or a share (rounded up).
    pub const CELL_MIN_AVAILABLE: &str = "knarr.dev/cell-min-available";
    /// Annotation of a CafeDeployment, written by its controller: `RELEASE/GROUP`, the last group that was started. It is
    /// written together with the removal of [`CONFIRMED`], so that no crash can make one confirmation count twice.
    pub const STARTED_GROUP: &str = "knarr.dev/started-group";
    /// Annotation of a CafeDeployment, written by its controller: the revision it went back from by itself, the one it
    /// went back to, and why, as JSON `{"from", "to", "reason", "why"}`.
    pub const ROLLED_BACK: &str = "knarr.dev/rolled-back";
}
