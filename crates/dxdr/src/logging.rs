//! What `tracing` says, and in which form. Logs go to stderr; what a command prints is not a log.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with spans: for collectors.
    Json,
}

/// Starts logging. `RUST_LOG` wins over `-v`, and `-q` over `-v`; warnings are never quiet.
pub(crate) fn start(format: LogFormat, verbose: u8, quiet: bool, colour: bool) {
    // The clients log every attempt that fails, also those that are tried again, every place without credentials, and every certificate
    // that they do not trust; the command's own error tells it once.
    let default = match (quiet, verbose) {
        (true, _) | (false, 0) => "warn,kube_client=off,aws_config=off,rustls_platform_verifier=off",
        (false, 1) => "warn,dxdr=info",
        (false, 2) => "warn,dxdr=debug",
        _ => "info,dxdr=trace",
    };
    let default = match (format, quiet, verbose) {
        (LogFormat::Json, false, 0) => "warn,kube_client=off,aws_config=off,rustls_platform_verifier=off,dxdr=info",
        _ => default,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(verbose > 1).without_time())
            .init(),
        LogFormat::Json => registry
            .with(
                fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(true).with_writer(std::io::stderr),
            )
            .init(),
    }
}
