//! Makes this process the parent of every descendant whose own parent exits, so that it can wait for all of them.

pub(super) use system::become_subreaper;

#[cfg(target_os = "linux")]
mod system {
    use rustix::process::{getpid, set_child_subreaper};

    /// Becomes the parent of orphaned descendants.
    pub(in crate::local::supervisor) fn become_subreaper() {
        // This fails only on kernels before 3.4; descendants that leave their group are then found by the marker.
        let _ = set_child_subreaper(Some(getpid()));
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    /// Does nothing: other operating systems do not have subreapers, and no verb starts a supervisor there.
    pub(in crate::local::supervisor) fn become_subreaper() {}
}
