//! Runs planners: reflectors, queues, executor, events, metrics.
