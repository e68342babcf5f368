//! What leaves the host, in which order.
