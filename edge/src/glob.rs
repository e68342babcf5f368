//! Patterns of names: `*` stands for any text, `?` for any character.

/// Whether all of `text` is as `pattern` says. Takes time in proportion to the product of their lengths at worst.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(one) if *one == '?' || *one == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                // The last star takes one character more.
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_covers_the_whole_name() {
        for (pattern, text, expected) in [
            ("system.cpu.*", "system.cpu.time{cpu.mode=\"user\"}", true),
            ("*cpu*user*", "system.cpu.time{cpu.mode=\"user\"}", true),
            ("system.cpu", "system.cpu.time", false),
            ("?pu", "cpu", true),
            ("?pu", "pu", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbXd", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!matches(&"a*".repeat(50), &"b".repeat(5_000)));
    }
}
