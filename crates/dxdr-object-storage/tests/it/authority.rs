//! A bucket behind a certificate that no system trusts.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use dxdr_object_storage::{
    S3Options, S3Storage, hints,
    s3::{S3Credentials, S3Patience},
};
use dxdr_provider::object_storage::{ObjectStorage as _, StorageErrorKind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// An authority's certificate as PEM, and a server whose certificate it has signed: each object there has five bytes.
fn serve() -> (String, SocketAddr) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "tests");
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let configuration = Arc::new(configuration.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let configuration = Arc::clone(&configuration);
            thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(configuration).unwrap(), stream);
                let (mut request, mut byte) = (Vec::new(), [0]);
                // Who does not trust the certificate hangs up.
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"e\"\r\nconnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    (pem, address)
}

fn options(address: SocketAddr, certificate_authority: Option<String>) -> S3Options {
    S3Options {
        bucket: "dx".to_owned(),
        // By the name that the certificate is for.
        endpoint: Some(format!("https://localhost:{}", address.port())),
        region: Some("us-east-1".to_owned()),
        force_path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: "key".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        }),
        certificate_authority,
        patience: S3Patience { attempts: 1, ..S3Patience::default() },
        ..S3Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_whose_authority_the_store_names_and_no_other() {
    let (pem, address) = serve();
    let named = S3Storage::connect(options(address, Some(pem.clone()))).await.unwrap();
    assert_eq!(named.stat("a").await.unwrap().size, 5);

    let (other, _) = serve();
    let stranger = S3Storage::connect(options(address, Some(other))).await.unwrap();
    let error = stranger.stat("a").await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unreachable, "{error:?}");
    assert!(hints(&error)[0].contains("spec.s3.certificateAuthority"), "{:?}", hints(&error));

    // Several follow one another, as where one takes another's place.
    let (second, _) = serve();
    let both = S3Storage::connect(options(address, Some(format!("{second}{pem}")))).await.unwrap();
    assert_eq!(both.stat("a").await.unwrap().size, 5);
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_before_anything_is_asked() {
    let address = "127.0.0.1:1".parse().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "nothing", broken] {
        let error = S3Storage::connect(options(address, Some(pem.to_owned()))).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Invalid, "{pem}");
    }
}
