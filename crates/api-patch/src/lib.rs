//! JSON, merge and strategic-merge patch, server-side apply.
