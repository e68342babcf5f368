use super::*;
use crate::identity::BadName;

const NOW: WallTime = WallTime::from_unix_ms(1_790_000_000_000);

fn authority() -> Authority {
    Authority::create(NOW).unwrap()
}

#[test]
fn an_authority_survives_its_pem_form() {
    let made = authority();
    let loaded = Authority::load(made.certificate_pem(), &made.key_pem()).unwrap();
    assert_eq!(loaded.fingerprint(), made.fingerprint());
    assert_eq!(loaded.derived_secret("x"), made.derived_secret("x"));
    assert_ne!(loaded.derived_secret("x"), loaded.derived_secret("y"));
    let (_, csr) = request("web-1").unwrap();
    loaded.sign_host(&csr, TenantId(0), HostId([1; 16]), 7, NOW).unwrap();
}

#[test]
fn a_key_of_another_authority_is_refused() {
    let (one, other) = (authority(), authority());
    assert!(matches!(Authority::load(one.certificate_pem(), &other.key_pem()), Err(AuthorityError::Load(_))));
    assert!(matches!(Authority::load("nonsense", &one.key_pem()), Err(AuthorityError::Load(_))));
}

#[test]
fn the_name_in_a_host_certificate_is_ours_and_not_the_requested_one() {
    let (key, csr) = request("spiffe://vedette/0/host/ffffffffffffffffffffffffffffffff").unwrap();
    let chain = authority().sign_host(&csr, TenantId(3), HostId([1; 16]), 7, NOW).unwrap();
    let leaf = CertificateDer::from(chain[0].clone());
    let identity = PeerIdentity::of(&leaf).unwrap();
    assert_eq!((identity.tenant, identity.host), (TenantId(3), HostId([1; 16])));
    assert_eq!(identity.not_after, NOW.offset_by(7 * 86_400 * 1_000_000_000));
    assert!(belongs_to(&leaf, &key));
    assert!(!belongs_to(&leaf, &request("other").unwrap().0));
}

#[test]
fn an_altered_request_never_yields_a_certificate_for_another_key() {
    let (key, csr) = request("web-1").unwrap();
    let authority = authority();
    let sign = |csr: &[u8]| authority.sign_host(csr, TenantId(0), HostId([1; 16]), 7, NOW);
    sign(&csr).unwrap();
    let mut refused = 0;
    for at in 0..csr.len() {
        for bit in [1, 0x20, 0x80] {
            let mut altered = csr.clone();
            altered[at] ^= bit;
            // What is not signed, as the outermost tag, may be read leniently; the key is signed.
            match sign(&altered) {
                Ok(chain) => assert!(belongs_to(&CertificateDer::from(chain[0].clone()), &key), "byte {at}"),
                Err(AuthorityError::Request(_)) => refused += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        assert!(sign(&csr[..at]).is_err());
    }
    assert!(refused > csr.len() * 3 * 9 / 10, "{refused} of {}", csr.len() * 3);
}

#[test]
fn host_certificates_live_7_to_30_days() {
    let (_, csr) = request("web-1").unwrap();
    for days in [0, 6, 31] {
        assert!(matches!(
            authority().sign_host(&csr, TenantId(0), HostId([1; 16]), days, NOW),
            Err(AuthorityError::Issue(_))
        ));
    }
}

#[test]
fn a_certificate_without_our_name_is_no_identity() {
    let authority = authority();
    let server = authority.issue_server(&["vedette-collector".into(), "127.0.0.1".into()], NOW).unwrap();
    assert_eq!(PeerIdentity::of(&server.chain[0]), Err(BadName));
    assert_eq!(PeerIdentity::of(&CertificateDer::from(vec![0x30, 0])), Err(BadName));
}
