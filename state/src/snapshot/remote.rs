//! Stores of the network: how they are reached, and what of that the environment says.
//!
//! ```text
//!   s3://bucket/path      AWS_*      and whatever speaks S3: MinIO, Ceph, R2, …, by 'checkpoint.storage.endpoint'
//!   gs://bucket/path      GOOGLE_*
//!   az://container/path   AZURE_*    (abfs:, abfss: and adl: mean the same)
//! ```
//!
//! Credentials come from the environment (or from the machine's role) and from nowhere else: settings are written into
//! checkpoints. Settings win over the environment.
//!
//! # Invariants
//! 1. Of the environment only names that begin with the provider's own prefix are read: a `TIMEOUT` or `TOKEN` of another
//!    program means nothing here.
//! 2. A request that fails for a reason that passes is tried again for less than half a minute; then the checkpoint fails,
//!    and the next one takes up what was left.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;

use super::object::ObjectPlace;
use crate::{Error, Result};

/// How a store of the network is reached: what is no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSettings {
    /// 'checkpoint.storage.endpoint': another server than the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// 'checkpoint.storage.region'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// 'checkpoint.storage.allow-http': without TLS.
    #[serde(default)]
    pub allow_http: bool,
    /// 'checkpoint.storage.conditional-put' is `disabled`: the server has no create-if-absent.
    #[serde(default)]
    pub unconditional: bool,
}

/// Whether this names something of the network: a URL, and not one of a local folder.
pub fn is_remote(text: &str) -> bool {
    matches!(
        super::location::parse(text, std::path::Path::new("")),
        Ok(super::location::Location::Network(_))
    )
}

/// Opens the part of a store that is below the URL's path and `part`.
pub(crate) fn open(
    url: &Url,
    part: &str,
    settings: &StorageSettings,
    patience: Duration,
) -> Result<ObjectPlace> {
    let (store, path) = store_of(url, settings)?;
    let prefix = match part {
        "" => path,
        part => ObjectPath::from_iter(path.parts().chain([part.into()])),
    };
    let mut shown = url.clone();
    // What a person put before the @ is theirs alone, unless it is the container of an Azure account.
    let _ = shown.set_password(None);
    if url.password().is_some() || url.scheme() == "s3" || url.scheme() == "gs" {
        let _ = shown.set_username("");
    }
    let shown = format!("{}/{part}", shown.as_str().trim_end_matches('/'));
    let place = ObjectPlace::new(
        store,
        prefix,
        shown.trim_end_matches('/').to_owned(),
        patience,
    )?;
    Ok(match settings.unconditional {
        true => place.without_conditions(),
        false => place,
    })
}

/// A builder with what the environment and the settings say.
macro_rules! built {
    ($builder:expr, $prefixes:expr, $url:expr, $settings:expr) => {{
        let mut builder = $builder.with_url($url.as_str()).with_retry(retries());
        for (key, value) in options(&$prefixes, $settings) {
            // A name that the provider does not know is meant for another program.
            if let Ok(key) = key.parse() {
                builder = builder.with_config(key, value);
            }
        }
        builder
            .build()
            .map(|store| std::sync::Arc::new(store) as std::sync::Arc<dyn ObjectStore>)
    }};
}

fn store_of(
    url: &Url,
    settings: &StorageSettings,
) -> Result<(std::sync::Arc<dyn ObjectStore>, ObjectPath)> {
    let scheme = url.scheme();
    let unreachable = || {
        Error::Incompatible(format!(
            "this build cannot keep state in '{scheme}:' storage: s3:, gs: and az: are possible"
        ))
    };
    let (kind, path) = ObjectStoreScheme::parse(url).map_err(|_| unreachable())?;
    let store = match kind {
        ObjectStoreScheme::AmazonS3 => {
            built!(AmazonS3Builder::new(), ["aws_"], url, settings)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            built!(GoogleCloudStorageBuilder::new(), ["google_"], url, settings)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            built!(MicrosoftAzureBuilder::new(), ["azure_"], url, settings)
        }
        // A plain web server has neither create-if-absent nor uploads in parts.
        _ => return Err(unreachable()),
    };
    let store = store.map_err(|error| {
        Error::Incompatible(format!("the storage '{scheme}:' cannot be opened: {error}"))
    })?;
    Ok((store, path))
}

/// What the builder is told: the environment's names first, so that settings win.
fn options(prefixes: &[&str], settings: &StorageSettings) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .filter(|(key, value)| {
            prefixes.iter().any(|prefix| key.starts_with(prefix)) && !value.is_empty()
        })
        .collect();
    let mut set = |key: &str, value: &str| options.push((key.to_owned(), value.to_owned()));
    if let Some(endpoint) = &settings.endpoint {
        // Each of the names that a builder may know; the others are passed over.
        set("aws_endpoint", endpoint);
        set("azure_storage_endpoint", endpoint);
        set("google_base_url", endpoint);
    }
    if let Some(region) = &settings.region {
        set("aws_region", region);
    }
    if settings.allow_http {
        set("allow_http", "true");
    }
    options
}

/// How often, and how soon, a request is made again that failed for a reason that passes.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_network_are_remote() {
        for remote in ["s3://bucket/a", "gs://bucket", "az://container/a"] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in ["a/b", "/a", "file:///a", "memory:", "job/name", "C:\\x"] {
            assert!(!is_remote(local), "{local}");
        }
    }

    #[test]
    fn settings_win_over_the_environment_and_secrets_are_no_settings() {
        let settings = StorageSettings {
            endpoint: Some("http://localhost:9000".to_owned()),
            region: Some("eu-north-1".to_owned()),
            allow_http: true,
            unconditional: false,
        };
        let found = options(&["aws_"], &settings);
        let last = |key: &str| {
            let mut values = found.iter().filter(|(name, _)| name == key);
            values.next_back().map(|(_, value)| value.as_str())
        };
        assert_eq!(last("aws_endpoint"), Some("http://localhost:9000"));
        assert_eq!(last("aws_region"), Some("eu-north-1"));
        assert!(
            found
                .iter()
                .all(|(key, _)| key.starts_with("aws_") || !key.starts_with("path")),
            "another program's variables are not read"
        );
        let text = serde_json::to_string(&settings).unwrap();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn a_url_names_bucket_and_prefix_and_hides_what_is_before_the_at() {
        let settings = StorageSettings {
            region: Some("eu-north-1".to_owned()),
            ..StorageSettings::default()
        };
        let url = Url::parse("s3://me:secret@bucket/a/b/").unwrap();
        let place = open(&url, "job", &settings, Duration::from_secs(1)).unwrap();
        assert_eq!(place.shown("x"), "s3://bucket/a/b/job/x");
    }
}
