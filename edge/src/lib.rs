//! What runs the same on host, desk and centre.

pub mod metric;
