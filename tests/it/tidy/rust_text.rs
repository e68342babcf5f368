//! Rust source without what is not code: enough of a lexer to search for names without false finds.

/// The source with comments, strings and character literals blanked; line breaks stay, so lines keep their numbers.
pub(super) fn code(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest, &kept));
        match skipped {
            Some(length) => {
                kept.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[length..];
            }
            None => {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    kept
}

/// Length of the comment at the begin of `text`.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| {
        let (mut depth, mut at) = (0_usize, 0);
        while at < text.len() {
            if text[at..].starts_with("/*") {
                depth += 1;
                at += 2;
            } else if text[at..].starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            } else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        text.len()
    })
}

/// Length of the string or character literal at the begin of `text`; `before` tells a prefix from a name's end.
fn literal(text: &str, before: &str) -> Option<usize> {
    let in_name = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = text.len() - text.trim_start_matches(['b', 'r', 'c']).len();
    let (prefix, body) = if in_name || prefix > 2 { (0, text) } else { (prefix, &text[prefix..]) };
    let hashes = body.len() - body.trim_start_matches('#').len();
    if text[..prefix].contains('r') && body[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let content = &body[hashes + 1..];
        let length = content.find(&end).map_or(content.len(), |at| at + end.len());
        return Some(prefix + hashes + 1 + length);
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body, '"'));
    }
    // `'a` is a lifetime, `'a'` and `'\n'` are characters.
    let mut characters = body.strip_prefix('\'')?.chars();
    let (first, second) = (characters.next()?, characters.next()?);
    (first == '\\' || second == '\'').then(|| prefix + quoted(body, '\''))
}

/// Length of the literal that starts and ends with `quote`, its escapes respected.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Code (as [`code`] gives it) with the items under `#[cfg(test)]` blanked.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let length = at + item(&rest[at..]);
        kept.extend(rest[at..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    kept + rest
}

/// Length of the item at the begin of `code`: until a `;` or the closing brace of its first block.
fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let source = concat!(
        "fn a<'x>(c: &'x str) { let q = '\"'; let n = '\\''; b(\"std::fs \\\" tokio\"); } // tokio\n",
        "/* std::env /* nested */ tokio */ fn r() { s(r#\"tokio \" tokio\"#, b\"tokio\"); }\n",
        "#[cfg(test)]\nmod tests { use std::fs; fn f() { { } } }\nfn last() {}\n",
        "#[cfg(test)]\nmod more;\nstruct Number;\n",
    );
    let code = code(source);
    assert!(!code.contains("tokio") && !code.contains("std::env"), "{code}");
    assert!(code.contains("fn a<'x>(c: &'x str)") && code.contains("use std::fs"), "{code}");
    assert_eq!(code.lines().count(), source.lines().count());
    let product = without_tests(&code);
    assert!(!product.contains("std::fs") && !product.contains("more"), "{product}");
    assert!(product.contains("fn last()") && product.contains("struct Number"), "{product}");
}
