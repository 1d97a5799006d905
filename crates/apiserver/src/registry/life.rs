//! How long a resource is served as it is.

use std::sync::Arc;

use tokio::sync::watch;

/// Ends when the resource is served otherwise, or no more: then its watches end too, and clients begin again with what is served
/// then.
#[derive(Clone)]
pub struct Life(Arc<watch::Sender<bool>>);

impl Life {
    /// A life that has begun.
    pub fn new() -> Life {
        Life(Arc::new(watch::Sender::new(false)))
    }

    /// Whether both are one.
    pub fn is(&self, other: &Life) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends it, for everybody who has a part of it.
    pub fn end(&self) {
        self.0.send_replace(true);
    }

    /// Waits for the end; at once when it is over.
    pub async fn ended(&self) {
        let mut heard = self.0.subscribe();
        // The sender is held by `self`, so waiting ends only with the end.
        let _ = heard.wait_for(|is_over| *is_over).await;
    }
}

impl Default for Life {
    fn default() -> Life {
        Life::new()
    }
}
