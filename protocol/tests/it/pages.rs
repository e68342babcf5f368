//! What a problem says in a line, its page says at length.

use vedette_protocol::document::CODES;

#[test]
fn every_code_has_a_page() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
    for code in CODES {
        let page =
            std::fs::read_to_string(format!("{pages}/{code}.md")).unwrap_or_else(|error| panic!("{code}: {error}"));
        assert!(page.starts_with(&format!("# {code}")), "{code}: title");
        for part in ["## Why", "## Remedy", "## Example"] {
            assert!(page.contains(part), "{code}: {part}");
        }
    }
}
