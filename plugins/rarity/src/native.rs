//! The `rarity` detector as a native program.

fn main() -> std::process::ExitCode {
    vedette_sdk::native::run::<vedette_rarity::Rarity>()
}
