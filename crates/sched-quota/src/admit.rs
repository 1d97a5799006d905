//! May a pod start within its quota?

use api_koord::{Amounts, names};

use crate::tree::{Tree, is_built_in};

/// Why a pod may not start. Texts are Koordinator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its quota is not there, or has no place in the tree.
    #[error("Could not find the specified ElasticQuota")]
    NoQuota,
    /// A quota above is not there.
    #[error("Could not find the elasticQuota {name}, quotaNameTopo: [{chain}]")]
    NoParent {
        /// The quota.
        name: String,
        /// From there down to the pod's.
        chain: String,
    },
    /// The quota's limit is reached.
    #[error(
        "Insufficient quotas, quotaName: {quota}, runtime: {limit}, used: {used}, pod's request: {request}, exceedDimensions: [{beyond}]"
    )]
    Full {
        /// The quota.
        quota: String,
        /// What it may use.
        limit: Amounts,
        /// What it does.
        used: Amounts,
        /// What the pod asks for.
        request: Amounts,
        /// Resources that are short.
        beyond: String,
    },
    /// The limit of firm pods, the minimum, is reached.
    #[error(
        "Insufficient non-preemptible quotas, quotaName: {quota}, min: {min}, nonPreemptibleUsed: {used}, pod's request: {request}, exceedDimensions: [{beyond}]"
    )]
    Firm {
        /// The quota.
        quota: String,
        /// Its minimum.
        min: Amounts,
        /// What firm pods use.
        used: Amounts,
        /// What the pod asks for.
        request: Amounts,
        /// Resources that are short.
        beyond: String,
    },
    /// The limit of a quota above is reached.
    #[error(
        "Insufficient quotas, quotaNameTopo: [{chain}], runtime: {limit}, used: {used}, pod's request: {request}, exceedDimensions: [{beyond}]"
    )]
    Above {
        /// From the full quota down to the pod's.
        chain: String,
        /// What it may use.
        limit: Amounts,
        /// What it does.
        used: Amounts,
        /// What the pod asks for.
        request: Amounts,
        /// Resources that are short.
        beyond: String,
    },
}

impl Tree {
    /// Whether a pod with this request may start in a quota now; `is_firm` when nobody may take its place. Costs the depth of the
    /// quota, and the sharing out of levels that changed.
    pub fn admit(&mut self, name: &str, request: &Amounts, is_firm: bool) -> Result<(), Refused> {
        if !self.is_rooted(name) && !is_built_in(name) {
            return Err(Refused::NoQuota);
        }
        let limit = self.limit(name);
        let words = self.words(name).ok_or(Refused::NoQuota)?;
        let (request, min) = (request.masked(&words.max), words.min.clone());
        let (quota, parent) = (name.to_owned(), words.parent.clone());
        let used = self.used(name);
        if let Some(beyond) = beyond(&used, &request, &limit) {
            return Err(Refused::Full { quota, limit, used, request, beyond });
        }
        if is_firm {
            let used = self.firm_used(name);
            if let Some(beyond) = beyond(&used, &request, &min) {
                return Err(Refused::Firm { quota, min, used, request, beyond });
            }
        }
        if self.settings().parents && !is_built_in(name) {
            self.admit_above(&parent, name, &request)
        } else {
            Ok(())
        }
    }

    fn admit_above(&mut self, parent: &str, name: &str, request: &Amounts) -> Result<(), Refused> {
        let (mut at, mut chain) = (parent.to_owned(), name.to_owned());
        while at != names::ROOT_QUOTA {
            chain = format!("{at} {chain}");
            let Some(above) = self.words(&at).map(|w| w.parent.clone()) else {
                return Err(Refused::NoParent { name: at, chain });
            };
            let (limit, used) = (self.limit(&at), self.used(&at));
            // Above, only what the pod asks for is judged, as upstream has it.
            if let Some(beyond) = beyond(&used.masked(request), request, &limit) {
                return Err(Refused::Above { chain, limit, used, request: request.clone(), beyond });
            }
            at = above;
        }
        Ok(())
    }

    /// What a quota's use is held against.
    pub(crate) fn limit(&mut self, name: &str) -> Amounts {
        if self.settings().runtime {
            return self.runtime(name);
        }
        self.words(name).map(|w| w.max.clone()).unwrap_or_default()
    }
}

/// Resources of which use and request together are beyond the limit, as Go prints a list. `None`: none.
fn beyond(used: &Amounts, request: &Amounts, limit: &Amounts) -> Option<String> {
    let mut sum = used.clone();
    sum.add(request);
    let short: Vec<&str> = sum.beyond(limit).collect();
    (!short.is_empty()).then(|| short.join(" "))
}
