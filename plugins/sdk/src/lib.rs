//! For authors of detectors: implement [`Detector`] for one series at a time, say `vedette_sdk::export!(Mine);`,
//! and `vedette detector build` makes a component of it.
//!
//! The SDK keeps the table of series, checks parameters, encodes states and moves columns; a detector is only the
//! mathematics. It runs as WebAssembly in an agent and, over the same columns, as a native program in tests and in
//! `vedette detector replay`. See `plugins/README.md` for the whole way.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod detector;
#[cfg(target_arch = "wasm32")]
pub mod guest;
mod instance;
pub mod math;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod robust;
pub mod state;
pub mod steps;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use alloc::vec::Vec;
pub use detector::{
    ConfigError, Description, Detector, Explanation, Input, Kind, ParameterSpec, Parameters, Sample, Series,
    config_code,
};
pub use instance::{COLUMNS_MAX, Columns, Instance};

/// Makes a [`Detector`] the module's detector. Once per module; in a native build it only checks the type.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export {
    ($detector:ty) => {
        $crate::export_guest!($detector);
    };
}

/// Makes a [`Detector`] the module's detector. Once per module; in a native build it only checks the type.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export {
    ($detector:ty) => {
        const _: fn() -> $crate::Description = <$detector as $crate::Detector>::describe;
    };
}
