//! The SDK's client, with limits on everything that can wait.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, environment::region::EnvironmentVariableRegionProvider, identity::IdentityCache,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
    },
};
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use dxdr_provider::object_storage::{StorageError, StorageErrorKind};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::options::{S3Checksums, S3Options, S3Patience};
use crate::failure::Call;

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Slowest upload that is waited for, in bytes a second; one that stands still ends sooner.
const SLOWEST_UPLOAD: u64 = 32 * 1024;

/// The client, and the endpoint as people know it.
pub(super) async fn connect(options: &S3Options) -> Result<(Client, String), StorageError> {
    let call = Call { action: "read", key: options.prefix.clone(), store: format!("s3://{}", options.bucket) };
    if options.bucket.is_empty() || options.bucket.contains(['/', ' ']) {
        return Err(call.fails_by(StorageErrorKind::Invalid, "this is not the name of a bucket"));
    }
    if let Some(endpoint) = &options.endpoint
        && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
    {
        return Err(call
            .fails_by(StorageErrorKind::Invalid, format!("the endpoint `{endpoint}` does not begin with http:// or https://")));
    }
    let patience = &options.patience;
    let mut profile_region = ProfileFileRegionProvider::builder();
    if let Some(profile) = &options.profile {
        profile_region = profile_region.profile_name(profile);
    }
    let mut regions = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile_region.build());
    if options.endpoint.is_none() {
        regions = regions.or_else(aws_config::imds::region::ImdsRegionProvider::builder().build());
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(regions.or_else(Region::new("us-east-1")))
        .identity_cache(IdentityCache::lazy().load_timeout(patience.credentials).build())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(patience.attempts)
                .with_initial_backoff(patience.pause)
                .with_max_backoff(LONGEST_PAUSE),
        )
        .timeout_config(timeouts(patience, patience.answer))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(patience.stall).build());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint.trim_end_matches('/'));
    }
    if let Some(given) = &options.credentials {
        loader = loader.credentials_provider(Credentials::new(
            &given.access_key_id,
            &given.secret_access_key,
            given.session_token.clone(),
            None,
            "given",
        ));
    }
    let configuration = tokio::time::timeout(patience.credentials, loader.load())
        .await
        .map_err(|_| call.fails_by(StorageErrorKind::TimedOut, "the region could not be found out"))?;
    let region = configuration.region().map_or("us-east-1", |region| region.as_ref()).to_owned();
    let endpoint = configuration.endpoint_url().map_or_else(|| format!("https://s3.{region}.amazonaws.com"), str::to_owned);
    let mut builder = Builder::from(&configuration);
    if let Some(pem) = &options.certificate_authority {
        // Of the store alone: where credentials come from has other certificates.
        builder = builder.http_client(trusting(pem, &call)?);
    }
    let configuration = builder
        .force_path_style(options.force_path_style)
        .request_checksum_calculation(match options.checksums {
            S3Checksums::WhenSupported => RequestChecksumCalculation::WhenSupported,
            S3Checksums::WhenRequired => RequestChecksumCalculation::WhenRequired,
        })
        // Asked for with each download.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_classifier(TooManyRequests)
        .build();
    Ok((Client::from_conf(configuration), endpoint))
}

/// A client that accepts what these authorities have signed, and nothing else.
fn trusting(pem: &str, call: &Call) -> Result<SharedHttpClient, StorageError> {
    let invalid =
        |why: String| call.fails_by(StorageErrorKind::Invalid, format!("its certificate authority cannot be used: {why}"));
    let mut roots = RootCertStore::empty();
    // Looked at here: what the client cannot read ends the program.
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(invalid("there is no certificate in it".to_owned()));
    }
    let store = TrustStore::empty().with_pem_certificate(pem.as_bytes());
    let context = TlsContext::builder().with_trust_store(store).build().map_err(|error| invalid(error.to_string()))?;
    // As the SDK's own client is, proxies of the environment included, but for whom it trusts.
    Ok(aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let provider = tls::Provider::rustls(CryptoMode::AwsLc);
        let mut connector = Connector::builder().tls_provider(provider).tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    }))
}

/// For a request that sends `length` bytes: the time for an answer, and the time for the bytes.
pub(super) fn patient(patience: &S3Patience, length: usize) -> Builder {
    let transfer = Duration::from_secs(length as u64 / SLOWEST_UPLOAD);
    Builder::new().timeout_config(timeouts(patience, patience.answer + transfer))
}

fn timeouts(patience: &S3Patience, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(patience.connect).operation_attempt_timeout(attempt).build()
}

/// Amazon throttles with 503, which the SDK knows; other servers, and proxies before them, with 429.
#[derive(Debug)]
struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(response) if response.status().as_u16() == 429 => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "429 Too Many Requests"
    }
}
