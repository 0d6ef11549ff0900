//! The engine settings of a worker of a deployment: its flags, and what the deployment's features change.

use super::engine_flag_error::EngineFlagError;
use super::engine_memory::{EngineMemory, SlidingWindows};
use crate::intent::engine_flags::has_flag;
use crate::intent::{RouterMode, ServingIntent, Topology, WorkerGroup, WorkerRole};
use crate::release::{MemoryRules, WindowLimits};

impl EngineMemory {
    /// Parses the engine flags of a worker group, and applies what the deployment's features change.
    ///
    /// # Errors
    /// A value that the engine would reject, or whose memory use is not known.
    pub fn of_worker(
        intent: &ServingIntent,
        role: WorkerRole,
        group: &WorkerGroup,
        rules: &MemoryRules,
    ) -> Result<Self, EngineFlagError> {
        let args = [&intent.engine_args[..], &group.engine_args[..]].concat();
        let mut memory = Self::from_args(&args)?;
        let has_transfer = matches!(intent.topology, Topology::Disaggregated { .. })
            || has_flag(&args, "--kv-transfer-config");
        let has_events = has_flag(&args, "--kv-events-config")
            || (intent.router.mode == RouterMode::Kv
                && intent.router.kv_events
                && role != WorkerRole::Decode);
        let has_no_windows = match rules.window_limits {
            WindowLimits::TransferAndEvents => has_transfer || has_events,
            WindowLimits::Transfer => has_transfer,
            WindowLimits::None => false,
        };
        // KVBM works only without the hybrid manager, and decode workers do not use it.
        let has_offload = intent.kv_offload.is_some() && role != WorkerRole::Decode;
        if (has_no_windows || has_offload) && memory.windows == SlidingWindows::Bounded {
            memory.windows = SlidingWindows::Unbounded;
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::request::{MergedSettings, SettingSource, SettingsLayer};
    use crate::intent::{Backend, Fallback, resolve};
    use crate::release::CATALOG;

    fn intent(fields: &[&str]) -> ServingIntent {
        let mut layer = SettingsLayer::new(SettingSource::Flag);
        for field in ["model=acme/tiny"].iter().chain(fields) {
            layer.set(field).expect("a valid setting");
        }
        let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
        resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request")
    }

    /// The releases in which a worker of the first role stores every token in layers with a window.
    fn releases_without_windows(fields: &[&str]) -> Vec<&'static str> {
        let intent = intent(fields);
        let (role, group) = intent.topology.groups()[0];
        let is_unbounded = |rules: &MemoryRules| {
            let memory = EngineMemory::of_worker(&intent, role, group, rules).expect("valid flags");
            memory.windows == SlidingWindows::Unbounded
        };
        let all = CATALOG.iter().filter(|release| is_unbounded(&release.memory));
        all.map(|release| release.version).collect()
    }

    #[test]
    fn features_turn_off_windows_in_some_releases() {
        let first: Vec<&str> = CATALOG.iter().map(|release| release.version).collect();
        assert!(releases_without_windows(&[]).is_empty());
        assert_eq!(releases_without_windows(&["router.mode=kv"]), first[..3]);
        assert_eq!(releases_without_windows(&["mode=disagg"]), first[..4]);
        assert_eq!(releases_without_windows(&["kvOffload.cpu=1Gi"]), first);
    }
}
