//! Files that people write: read into a tree that keeps positions, checked whole, all problems told at once.
