//! The policies by name.

use sched_device::{BestFit, DotProd, Fgd, GpuClustering, GpuPacking, Knarr, Mix, Policy};

/// A policy by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyName {
    /// Fragmentation gradient descent.
    Fgd,
    /// Least left.
    BestFit,
    /// Smallest product of room and request.
    DotProd,
    /// Like to like.
    GpuClustering,
    /// Devices in use first.
    GpuPacking,
    /// Ours.
    Knarr,
    /// kube-scheduler's rules alone, without an opinion about devices.
    DefaultScheduler,
}

impl PolicyName {
    /// All, in the order of tables: the published ones from the weakest to the strongest, then ours.
    pub const ALL: [PolicyName; 7] = [
        PolicyName::DefaultScheduler,
        PolicyName::DotProd,
        PolicyName::GpuClustering,
        PolicyName::GpuPacking,
        PolicyName::BestFit,
        PolicyName::Fgd,
        PolicyName::Knarr,
    ];

    /// As on the command line.
    pub fn text(self) -> &'static str {
        match self {
            PolicyName::Fgd => "FGD",
            PolicyName::BestFit => "BestFit",
            PolicyName::DotProd => "DotProd",
            PolicyName::GpuClustering => "GpuClustering",
            PolicyName::GpuPacking => "GpuPacking",
            PolicyName::Knarr => "knarr",
            PolicyName::DefaultScheduler => "default-scheduler",
        }
    }

    /// Reads a name; upper and lower case are the same.
    ///
    /// # Errors
    /// A sentence with all names.
    pub fn parse(text: &str) -> Result<PolicyName, String> {
        let found = PolicyName::ALL.into_iter().find(|p| p.text().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let all: Vec<&str> = PolicyName::ALL.iter().map(|p| p.text()).collect();
            format!("no policy {text:?}: expected {}", all.join(", "))
        })
    }

    /// The policy over devices, for this mix; nothing for the one without an opinion about devices.
    pub fn over_devices(self, mix: Mix) -> Option<AnyPolicy> {
        Some(match self {
            PolicyName::Fgd => Box::new(Fgd::new(mix)),
            PolicyName::BestFit => Box::new(BestFit),
            PolicyName::DotProd => Box::new(DotProd),
            PolicyName::GpuClustering => Box::new(GpuClustering),
            PolicyName::GpuPacking => Box::new(GpuPacking),
            PolicyName::Knarr => Box::new(Knarr::new(mix)),
            PolicyName::DefaultScheduler => return None,
        })
    }
}

/// Some policy over devices.
pub type AnyPolicy = Box<dyn Policy>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name_in_any_case() {
        for policy in PolicyName::ALL {
            assert_eq!(PolicyName::parse(&policy.text().to_uppercase()), Ok(policy));
        }
        assert!(PolicyName::parse("best").unwrap_err().contains("BestFit"));
    }
}
