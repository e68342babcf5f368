//! `check`: all problems of the configuration at once.

use super::{Failure, load_config, print};
use std::path::Path;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    load_config(path)?;
    print(&format!("{}: fine\n", path.display()))
}
