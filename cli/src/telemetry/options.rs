//! Where to send what: flags, and the variables that OpenTelemetry has for it.
//!
//! ```text
//!   --otlp-endpoint ▶ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, …_METRICS_ENDPOINT (as they are) ▶ OTEL_EXPORTER_OTLP_ENDPOINT (+ /v1/…)
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::span::Context;
use crate::exit::Failure;

/// A request to the collector takes so long at most.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two samples of all figures.
const INTERVAL: Duration = Duration::from_secs(60);

/// The flags of commands that can tell a collector.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TelemetryOptions {
    /// Sends spans and metrics to this OpenTelemetry collector, as OTLP over HTTP in JSON, for example http://localhost:4318
    /// [default: OTEL_EXPORTER_OTLP_ENDPOINT; nothing is sent without one].
    #[arg(long, value_name = "URL", help_heading = "Telemetry")]
    pub(crate) otlp_endpoint: Option<String>,
    /// A header of each request to it; OTEL_EXPORTER_OTLP_HEADERS keeps keys out of the list of processes.
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::arguments::key_and_value, help_heading = "Telemetry")]
    pub(crate) otlp_header: Vec<(String, String)>,
    /// What the service is called there [default: OTEL_SERVICE_NAME, or weir].
    #[arg(long, value_name = "NAME", help_heading = "Telemetry")]
    pub(crate) otlp_service: Option<String>,
}

/// What the exporter goes by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// `None`: nobody wants spans.
    pub(super) traces: Option<String>,
    /// `None`: nobody wants metrics.
    pub(super) metrics: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    /// Of the resource: who sends this.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) interval: Duration,
    /// The span that whoever started this process is in.
    pub(super) parent: Option<Context>,
}

impl TelemetryOptions {
    /// What flags and environment come to; `None`: nothing is sent.
    pub(crate) fn resolve(&self) -> Result<Option<Settings>, Failure> {
        self.resolve_in(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn resolve_in(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, Failure> {
        let off = |name: &str, word: &str| variable(name).is_some_and(|value| value == word);
        let base = match &self.otlp_endpoint {
            Some(url) => Some(url.clone()),
            None if off("OTEL_SDK_DISABLED", "true") => return Ok(None),
            None => variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
        };
        let endpoint = |signal: &str, exporter: &str| -> Result<Option<String>, Failure> {
            let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.to_uppercase());
            let own = variable(&own).filter(|_| self.otlp_endpoint.is_none());
            if off(exporter, "none") {
                return Ok(None);
            }
            match (own, &base) {
                (Some(own), _) => checked(own).map(Some),
                (None, Some(base)) => {
                    checked(format!("{}/v1/{signal}", base.trim_end_matches('/'))).map(Some)
                }
                (None, None) => Ok(None),
            }
        };
        let traces = endpoint("traces", "OTEL_TRACES_EXPORTER")?;
        let metrics = endpoint("metrics", "OTEL_METRICS_EXPORTER")?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        if let Some(protocol) = variable("OTEL_EXPORTER_OTLP_PROTOCOL")
            && protocol == "grpc"
            && self.otlp_endpoint.is_none()
        {
            return Err(Failure::mistake(
                "[R0100] OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and Weir speaks OTLP over HTTP: name the collector's HTTP endpoint \
                 (port 4318 as a rule) with --otlp-endpoint, or set the variable to http/json",
            ));
        }
        let milliseconds = |name: &str, default: Duration| -> Result<Duration, Failure> {
            let Some(text) = variable(name) else {
                return Ok(default);
            };
            match text.trim().parse::<u64>() {
                Ok(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
                _ => Err(Failure::mistake(format!(
                    "[R0100] {name} is `{text}`, and has to be a number of milliseconds above 0"
                ))),
            }
        };
        Ok(Some(Settings {
            traces,
            metrics,
            headers: self.headers(variable)?,
            attributes: self.attributes(variable)?,
            timeout: milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT)?,
            interval: milliseconds("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL)?,
            parent: variable("TRACEPARENT").and_then(|text| Context::parse(&text)),
        }))
    }

    /// Those of flags after those of the environment, which they win over.
    fn headers(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = BTreeMap::new();
        if let Some(text) = variable("OTEL_EXPORTER_OTLP_HEADERS") {
            // The text may hold a key: it is not repeated.
            headers.extend(pairs(&text).ok_or_else(|| {
                Failure::mistake(
                    "[R0100] OTEL_EXPORTER_OTLP_HEADERS is not a list such as `api-key=KEY,x-tenant=a`",
                )
            })?);
        }
        headers.extend(self.otlp_header.iter().cloned());
        for (name, value) in &headers {
            let fits = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && reqwest::header::HeaderValue::from_str(value).is_ok();
            if !fits {
                return Err(Failure::mistake(format!(
                    "[R0100] `{name}` with its value is no HTTP header: a name of letters, digits and hyphens, a value of one line"
                )));
            }
        }
        Ok(headers.into_iter().collect())
    }

    fn attributes(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut attributes = BTreeMap::from([
            ("service.name".to_owned(), "weir".to_owned()),
            (
                "service.version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
            ("process.pid".to_owned(), std::process::id().to_string()),
        ]);
        if let Some(text) = variable("OTEL_RESOURCE_ATTRIBUTES") {
            attributes.extend(pairs(&text).ok_or_else(|| {
                Failure::mistake(format!(
                    "[R0100] OTEL_RESOURCE_ATTRIBUTES is `{text}`, and has to be a list such as `deployment.environment=test,team=a`"
                ))
            })?);
        }
        if let Some(name) = self
            .otlp_service
            .clone()
            .or_else(|| variable("OTEL_SERVICE_NAME"))
        {
            attributes.insert("service.name".to_owned(), name);
        }
        Ok(attributes.into_iter().collect())
    }

    /// What a child's environment needs so that it tells the same collector: flags do not reach it, and would show headers.
    pub(crate) fn for_children(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        if let Some(endpoint) = &self.otlp_endpoint {
            variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.clone()));
            // A flag is the last word on where to.
            for gone in [
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_SDK_DISABLED",
            ] {
                variables.push((gone.to_owned(), String::new()));
            }
        }
        if !self.otlp_header.is_empty() {
            let inherited = std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
            let own = self.otlp_header.iter();
            let own = own.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
            let all: Vec<String> = Some(inherited)
                .filter(|text| !text.is_empty())
                .into_iter()
                .chain(own)
                .collect();
            variables.push(("OTEL_EXPORTER_OTLP_HEADERS".to_owned(), all.join(",")));
        }
        if let Some(name) = &self.otlp_service {
            variables.push(("OTEL_SERVICE_NAME".to_owned(), name.clone()));
        }
        variables
    }
}

fn checked(url: String) -> Result<String, Failure> {
    let known = reqwest::Url::parse(&url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match known {
        true => Ok(url),
        false => Err(Failure::mistake(format!(
            "[R0100] `{url}` is no URL of a collector: write it as http://localhost:4318"
        ))),
    }
}

/// `a=b,c=d`, with %XX for what cannot stand there.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pieces = text
        .split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=')?;
            let name = decoded(name.trim())?;
            (!name.is_empty()).then_some((name, decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(
        options: &TelemetryOptions,
        variables: &[(&str, &str)],
    ) -> Result<Option<Settings>, Failure> {
        options.resolve_in(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn of(variables: &[(&str, &str)]) -> Settings {
        resolved(&TelemetryOptions::default(), variables)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn nothing_is_sent_unless_somebody_names_an_endpoint() {
        let none = TelemetryOptions::default();
        assert_eq!(resolved(&none, &[]).unwrap(), None);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert_eq!(
            resolved(&none, &[endpoint, ("OTEL_SDK_DISABLED", "true")]).unwrap(),
            None
        );
        let neither = [
            endpoint,
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ];
        assert_eq!(resolved(&none, &neither).unwrap(), None);
    }

    #[test]
    fn a_base_gets_the_paths_of_the_signals_and_an_endpoint_of_a_signal_is_taken_as_it_is() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/in"),
        ]);
        assert_eq!(settings.traces.as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(settings.metrics.as_deref(), Some("https://m/in"));
        let flag = TelemetryOptions {
            otlp_endpoint: Some("http://flag:1".to_owned()),
            ..TelemetryOptions::default()
        };
        let variables = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/in")];
        let settings = resolved(&flag, &variables).unwrap().unwrap();
        assert_eq!(
            settings.metrics.as_deref(),
            Some("http://flag:1/v1/metrics")
        );
    }

    #[test]
    fn headers_attributes_and_times_come_from_the_variables_of_opentelemetry() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=a%20b%2Cc, x-tenant=t",
            ),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=rivers,service.name=other"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            (
                "TRACEPARENT",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings.headers,
            [pair("api-key", "a b,c"), pair("x-tenant", "t")]
        );
        assert!(
            settings
                .attributes
                .contains(&pair("service.name", "orders"))
        );
        assert!(settings.attributes.contains(&pair("team", "rivers")));
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.interval, INTERVAL);
        assert!(settings.parent.is_some());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_header_is_repeated() {
        let none = TelemetryOptions::default();
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
        for wrong in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%zz"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
        ] {
            let failure = format!("{:?}", resolved(&none, &[endpoint, wrong]).unwrap_err());
            assert!(failure.contains("R0100"), "{wrong:?}: {failure}");
            assert!(!failure.contains("secret"), "{failure}");
        }
    }

    #[test]
    fn a_child_is_told_by_its_environment() {
        let options = TelemetryOptions {
            otlp_endpoint: Some("http://c:4318".to_owned()),
            otlp_header: vec![("api-key".to_owned(), "a, b=c".to_owned())],
            otlp_service: Some("rivers".to_owned()),
        };
        let variables = options.for_children();
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let of_child = of(&variables);
        let own = resolved(&options, &[]).unwrap().unwrap();
        assert_eq!(of_child, own);
    }
}
