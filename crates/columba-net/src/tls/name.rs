//! The name in a certificate.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

const SET: u8 = 0x31;
const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
/// Kinds of strings that are ASCII or UTF-8: `UTF8String`, `PrintableString`, `IA5String`. The others are history.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The subject's first common name, else the first DNS name.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let common_name = common_name(certificate.subject());
    common_name.or_else(|| certificate.valid_dns_names().next()).map(Into::into)
}

/// The first common name in the contents of a `Name`: a sequence of sets of pairs of a key and a value.
fn common_name(mut name: &[u8]) -> Option<&str> {
    while let Some((SET, mut set)) = take(&mut name) {
        while let Some((SEQUENCE, mut pair)) = take(&mut set) {
            let (key, value) = (take(&mut pair)?, take(&mut pair)?);
            if key == (OBJECT_ID, &COMMON_NAME) && STRINGS.contains(&value.0) {
                return std::str::from_utf8(value.1).ok().filter(|text| !text.is_empty());
            }
        }
    }
    None
}

/// Takes one value of DER off the front: its tag and contents.
fn take<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    // Longer lengths than of two bytes do not occur in names that anyone would write.
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((tag, contents))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn check(names: &[(DnType, DnValue)], dns: &[&str], expected: Option<&str>) {
        let dns: Vec<String> = dns.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(of(certificate.der()).as_deref(), expected, "{names:?}");
    }

    #[test]
    fn names_are_found() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let long = "n".repeat(200);
        check(&[(DnType::CommonName, utf8("Küche"))], &["a.example"], Some("Küche"));
        check(
            &[(DnType::CommonName, DnValue::PrintableString("sensor 1".try_into().unwrap()))],
            &[],
            Some("sensor 1"),
        );
        check(&[(DnType::OrganizationName, utf8("x")), (DnType::CommonName, utf8(&long))], &[], Some(&long));
        check(&[(DnType::OrganizationName, utf8("x"))], &["a.example", "b.example"], Some("a.example"));
        check(&[(DnType::OrganizationName, utf8("x"))], &[], None);
        check(&[], &[], None);
    }

    #[test]
    fn what_is_no_der_has_no_name() {
        let name = [SET, 11, SEQUENCE, 9, OBJECT_ID, 3, 0x55, 4, 3, 0x0c, 2, b'o', b'k'];
        assert_eq!(common_name(&name), Some("ok"));
        for cut in 0..name.len() {
            assert_eq!(common_name(&name[..cut]), None);
        }
        assert_eq!(take(&mut &[SET, 0x83, 0, 0, 0][..]), None);
    }
}
