use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: &str) {
    assert_eq!(masked(text), expected);
    assert_eq!(masked(expected), expected, "masking twice changes nothing");
}

#[test]
fn values_of_secret_keys_are_masked() {
    check("login password=hunter2 ok", "login password=<secret> ok");
    check("db_password: \"a b c\", port: 1", "db_password: \"<secret>\", port: 1");
    check(r#"{"api_key":"k-1","n":2}"#, r#"{"api_key":"<secret>","n":2}"#);
    check("GET /x?token=abc&user=1", "GET /x?token=<secret>&user=1");
    check("run --password hunter2 --fast", "run --password <secret> --fast");
    check("AWS_SECRET_ACCESS_KEY=wJalr/XUtn", "AWS_SECRET_ACCESS_KEY=<secret>");
    check("PASSWD='it''s'", "PASSWD='<secret>''s'");
    check("Authorization: Bearer abc", "Authorization: Bearer <secret>");
    check("pass=x", "pass=<secret>");
    check(r#"Bearer\"<pwd>\""#, r#"Bearer\"<secret>"#);
}

#[test]
fn what_separates_values_may_be_part_of_a_password() {
    check("password=a,b;c&d, user=bob", "password=<secret>, user=bob");
    check("{password=abc,user=bob}", "{password=<secret>,user=bob}");
    check("connect(user=bob, pwd=a)b)", "connect(user=bob, pwd=<secret>)");
    check("<password>hunter2</password>", "<password><secret></password>");
    check("ALTER USER bob IDENTIFIED BY 'hunter2' x", "ALTER USER bob IDENTIFIED BY '<secret>' x");
    check("CREATE ROLE bob PASSWORD 'hunter2'", "CREATE ROLE bob PASSWORD '<secret>'");
}

#[test]
fn headers_with_several_values_are_masked_whole() {
    check("Cookie: a=b; theme=c", "Cookie: <secret>");
    check("curl -H 'Cookie: a=b; c=d' -v", "curl -H 'Cookie: <secret>' -v");
    check("Authorization: Digest username=\"bob\", response=\"6629\"", "Authorization: <secret>");
    check("{\"cookie\":\"a=b; c=d\",\"n\":1}", "{\"cookie\":\"<secret>\",\"n\":1}");
}

#[test]
fn json_within_json_is_masked_too() {
    check(r#"{"log":"{\"password\":\"hunter2\",\"n\":1}"}"#, r#"{"log":"{\"password\":\"<secret>\",\"n\":1}"}"#);
    check(r#"say \"token\": \"a b\\\"c\" end"#, r#"say \"token\": \"<secret>\" end"#);
    check(r#"\"pwd\":\""#, r#"\"pwd\":\""#);
}

#[test]
fn schemes_and_tokens_are_masked() {
    check("sent Bearer abcDEF123456 to x", "sent Bearer <secret> to x");
    check("key AKIAIOSFODNN7EXAMPLE used", "key <aws-key> used");
    check("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP", "jwt <jwt>");
    check("clone with ghp_abcdefghijklmnopqrstuvwxyz0123456789", "clone with <secret>");
    check("npm_abcdefghijklmnopqrstuvwxyz0123456789 and hvs.CAESIJabcdefghijklmnop", "<secret> and <secret>");
    check("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0 in", "key <secret> in");
    check("key /JalrXUtnFEMIaK7MDENGabPxRfiCYEXAMPLEKEY0 in", "key <secret> in");
    check("key /JalrXUtnFEMI/K7MDENGabPxRfiCYEXAMPLEKEY0 in", "key <secret> in");
    check("/tmp/ghp_abcdefghijklmnopqrstuvwxyz0123456789/x", "/tmp/<secret>/x");
    check("AKIAIOSFODNN7EXAMPLE/20260101/us-east-1", "<aws-key>/20260101/us-east-1");
    check("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/<secret>");
}

#[test]
fn private_keys_addresses_and_user_information_are_masked() {
    check("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "<private-key> end");
    check("-----BEGIN PRIVATE KEY----- MIIE", "<private-key>");
    check(r"pem=\n-----BEGIN EC PRIVATE KEY-----\nMIIE\n-----END EC PRIVATE KEY-----\n", r"pem=\<private-key>\n");
    check("-----BEGIN CERTIFICATE----- MIIE", "-----BEGIN CERTIFICATE----- MIIE");
    check("mail from bob.smith+x@example.com failed", "mail from <email> failed");
    check("postgres://app:s3cr3t@db.local:5432/x", "postgres://<secret>@db.local:5432/x");
    check("amqp://u@v:w@h and x@y.zz", "amqp://<secret>@h and <email>");
}

#[test]
fn card_numbers_are_masked_by_their_check_digit() {
    check("card 4111 1111 1111 1111 declined", "card <card> declined");
    check("card=5500-0000-0000-0004", "card=<card>");
    check("order 4111111111111112 shipped", "order 4111111111111112 shipped");
    check("at 1700000000000000000 ns", "at 1700000000000000000 ns");
}

#[test]
fn account_numbers_are_masked_by_their_check_digits() {
    check("to DE89370400440532013000 sent", "to <iban> sent");
    check("to DE89 3704 0044 0532 0130 00, GB82 WEST 1234 5698 7654 32.", "to <iban>, <iban>.");
    check("part DE89370400440532013001", "part DE89370400440532013001");
}

#[test]
fn innocent_text_stays() {
    for text in [
        "GET /api/v1/items?page=2 200 12ms",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "id 123e4567-e89b-12d3-a456-426614174000",
        "user@host: error in /usr/lib/x86_64-linux-gnu/libc.so.6",
        "basic tests passed",
        "open /home/Anna/Projects2026/WebShop/src/Main01 and /opt/ORACLE/Product19c/DB_HOME1/Bin",
        "ключ не найден: файл",
    ] {
        check(text, text);
    }
}

proptest! {
    #[test]
    fn masking_is_idempotent(text in r#"(password|cookie|<pwd>|Cookie: a=|IDENTIFIED BY|DE89 3704 0044 0532 0130 00|password|token|Bearer|basic|eyJ|AKIA|a@b\.co|://|--pass|-----BEGIN|PRIVATE KEY-----|4111111111111111|<secret>|\\"|\\\\"|[ -~é\n]){0,14}"#) {
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once);
    }

    #[test]
    fn no_secret_value_survives(before in "[a-z ]{0,10}", key in "(db_)?(password|token|api_key|client_secret)", secret in "[A-Za-z0-9!#$%*^~]{6,30}", after in "( [a-z ]{0,10})?") {
        let text = format!("{before} {key}={secret}{after}");
        let out = masked(&text);
        let expected = format!("{} {key}=<secret>{}", masked(&before), masked(&after));
        prop_assert_eq!(out, expected);
    }
}
