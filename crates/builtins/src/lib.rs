//! Planners of the built-in controllers.
