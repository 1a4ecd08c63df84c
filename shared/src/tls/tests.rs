use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::{AlertDescription, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::*;

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;

fn named(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("CN of {name}"));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    change(&mut params);
    params
}

fn self_signed(params: CertificateParams) -> CertificateDer<'static> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn is_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Returns the error for `chain` if `trusted` is trusted, or nothing if the chain is accepted.
fn said(trusted: &[&CertificateDer<'static>], chain: &[CertificateDer<'static>], host: &str) -> String {
    let mut trust = Trust::default();
    trust.add_readable(trusted.iter().copied().cloned().collect());
    let verifier = trust.verifier(&ring::default_provider());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let name = ServerName::try_from(host.to_owned()).unwrap();
    match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) {
        Ok(_) => String::new(),
        Err(error) => words(&error),
    }
}

#[test]
fn a_trusted_ca_certificate_is_valid_for_a_server() {
    let own = self_signed(named("a.example", is_ca));
    let other = self_signed(named("a.example", is_ca));
    let expired = self_signed(named("a.example", |params| {
        is_ca(params);
        params.not_after = date_time_ymd(2029, 12, 31);
    }));
    let for_clients = self_signed(named("a.example", |params| {
        is_ca(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }));
    let for_servers = self_signed(named("a.example", |params| {
        is_ca(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }));
    for (trusted, presented, host, want) in [
        (&own, &own, "a.example", ""),
        (&for_servers, &for_servers, "a.example", ""),
        (
            &other,
            &own,
            "a.example",
            "certificate \"CN of a.example\" belongs to a CA, and is not trusted itself",
        ),
        (
            &own,
            &own,
            "b.example",
            "certificate \"CN of a.example\" is not valid for b.example, only for a.example",
        ),
        (
            &own,
            &own,
            "127.0.0.1",
            "certificate \"CN of a.example\" is not valid for 127.0.0.1, only for a.example",
        ),
        (&expired, &expired, "a.example", "certificate \"CN of a.example\" expired on 2029-12-31T00:00:00Z"),
        (
            &for_clients,
            &for_clients,
            "a.example",
            "certificate \"CN of a.example\" is not meant for a server",
        ),
    ] {
        assert_eq!(said(&[trusted], std::slice::from_ref(presented), host), want);
    }
}

#[test]
fn each_rejection_names_the_certificate_and_its_fault() {
    let plain = self_signed(named("a.example", |_| ()));
    let future = self_signed(named("a.example", |params| params.not_before = date_time_ymd(2031, 2, 3)));
    let many = self_signed(named("a0.example", |params| {
        params.subject_alt_names =
            (0..7).map(|i| rcgen::SanType::DnsName(format!("a{i}.example").try_into().unwrap())).collect();
    }));
    let ca_key = KeyPair::generate().unwrap();
    let ca = CertifiedIssuer::self_signed(named("ca.example", is_ca), ca_key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let issue = |change: fn(&mut CertificateParams)| {
        named("a.example", change).signed_by(&leaf_key, &ca).unwrap().der().clone()
    };
    let (leaf, for_clients) = (
        issue(|_| ()),
        issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
    );
    let expired_ca = CertifiedIssuer::self_signed(
        named("ca.example", |params| {
            is_ca(params);
            params.not_after = date_time_ymd(2026, 5, 4);
        }),
        KeyPair::generate().unwrap(),
    )
    .unwrap();
    let under_expired = named("a.example", |_| ()).signed_by(&leaf_key, &expired_ca).unwrap().der().clone();
    let (ca, expired_ca) = (ca.der().clone(), expired_ca.der().clone());
    let leaf_of = "certificate \"CN of a.example\"";
    for (trusted, chain, host, want) in [
        (&ca, vec![leaf.clone()], "a.example", String::new()),
        (&plain, vec![leaf.clone()], "a.example", format!("{leaf_of} was issued by \"CN of ca.example\", which is not trusted")),
        (&plain, vec![leaf.clone(), ca.clone()], "a.example", format!("{leaf_of} leads to \"CN of ca.example\", which is not trusted")),
        (&ca, vec![plain.clone()], "a.example", format!("{leaf_of} is self-signed and not trusted")),
        (&ca, vec![leaf], "b.example", format!("{leaf_of} is not valid for b.example, only for a.example")),
        (&ca, vec![for_clients], "a.example", format!("{leaf_of} is not meant for a server")),
        (&future, vec![future.clone()], "a.example", format!("{leaf_of} is not valid before 2031-02-03T00:00:00Z")),
        (
            &many, vec![many.clone()], "b.example",
            "certificate \"CN of a0.example\" is not valid for b.example, only for a0.example, a1.example, a2.example, a3.example, a4.example and 2 more".to_owned(),
        ),
        (&expired_ca, vec![under_expired.clone()], "a.example", String::new()),
        (&ca, vec![CertificateDer::from(vec![1, 2, 3])], "a.example", "certificate is malformed".to_owned()),
    ] {
        assert_eq!(said(&[trusted], &chain, host), want);
    }
    let intermediate = said(&[&ca], &[under_expired, expired_ca], "a.example");
    assert_eq!(intermediate, "certificate \"CN of ca.example\" expired on 2026-05-04T00:00:00Z");
}

#[test]
fn without_trust_every_certificate_is_rejected() {
    let own = self_signed(named("a.example", |_| ()));
    let want = "certificate \"CN of a.example\" is self-signed and not trusted";
    assert_eq!(said(&[], &[own], "a.example"), want);
}

#[test]
fn other_failures_are_worded() {
    for (error, want) in [
        (
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            "the server refused the connection: handshake failure",
        ),
        (Error::AlertReceived(AlertDescription::UnknownCA), "the server refused the connection: unknown ca"),
        (Error::AlertReceived(AlertDescription::from(0xee)), "the server refused the connection: alert 238"),
        (
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "TLS negotiation failed: no cipher suites in common",
        ),
        (
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite),
            "the server broke the TLS protocol: selected unoffered cipher suite",
        ),
        (
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            "the server's answer is not TLS: invalid content type",
        ),
        (Error::NoCertificatesPresented, "the server presented no certificate"),
        (Error::HandshakeNotComplete, "handshake not complete"),
        (
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            "the server's certificate was issued by an authority that is not trusted",
        ),
        (
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
            "the server's certificate is rejected: unknown revocation status",
        ),
    ] {
        assert_eq!(words(&error), want);
    }
}
