//! The operations that re-encryption cannot do without, on all cores, and nothing else.

use std::{
    num::NonZero,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dxdr_sealing::KeySecret;
use serde_json::Value;

use crate::measurement::Measurement;

const LABEL: &str = "bench/secret-0";
/// Long enough for the clock of a processor to settle.
const MEASURED: Duration = Duration::from_secs(5);

/// Opens with the oldest key of the file and seals with the newest, for some seconds.
pub(crate) fn bare(keys: &Path) -> Result<Measurement> {
    let text = std::fs::read(keys).with_context(|| format!("cannot read {}", keys.display()))?;
    let list: Value = serde_json::from_slice(&text).context("the keys are no JSON")?;
    let secrets = list["items"].as_array().context("the keys are no list")?;
    let mut keys = secrets.iter().map(KeySecret::read).collect::<Result<Vec<_>, _>>()?;
    keys.sort_by_key(|key| key.certificate().not_before());
    let (oldest, newest) = (keys.first().context("there is no key")?, keys.last().context("there is no key")?);
    let value = [7_u8; 64];
    let old = oldest.certificate().seal(LABEL, &value)?;
    let secret: Value = serde_json::from_str(&oldest.to_secret("bench"))?;
    let opens_old = KeySecret::read(&secret)?.into_opening_key();
    let (done, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while began.elapsed() < MEASURED {
                    let Some(plaintext) = opens_old.open(LABEL, &old) else { return };
                    let Ok(new) = newest.certificate().seal(LABEL, plaintext.expose()) else { return };
                    done.fetch_add(u64::from(new != old), Ordering::Relaxed);
                }
            });
        }
    });
    Ok(Measurement::new(began.elapsed(), done.into_inner(), 0))
}
